"""The mounted applications, in one with a root path and a limit of bodies."""

from __future__ import annotations

from .mounts import app

app.root_path = "/proxy"
