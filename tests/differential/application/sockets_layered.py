"""The WebSocket routes below middleware."""

from __future__ import annotations

from .layer import Layer
from .sockets import app

app.add_middleware(Layer)
