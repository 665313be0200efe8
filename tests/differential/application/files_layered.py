"""Files as responses, below middleware."""

from __future__ import annotations

from .files import app
from .layer import Layer

app.add_middleware(Layer)
