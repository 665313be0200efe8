"""The mounted applications, in one with a root path."""

from __future__ import annotations

from .mounts import app

app.root_path = "/proxy"
