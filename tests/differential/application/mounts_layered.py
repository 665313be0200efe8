"""The mounted applications, in one below middleware."""

from __future__ import annotations

from .layer import Layer
from .mounts import app

app.add_middleware(Layer)
