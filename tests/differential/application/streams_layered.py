"""Responses in pieces below middleware."""

from __future__ import annotations

from .layer import Layer
from .streams import app

app.add_middleware(Layer)
