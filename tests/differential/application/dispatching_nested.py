"""The same below another one, with nothing in between."""

from __future__ import annotations

from starlette.middleware.base import BaseHTTPMiddleware

from .dispatching import app, counted, dispatch, outside

__all__ = ["app", "counted"]

app.user_middleware.clear()
app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
app.add_middleware(BaseHTTPMiddleware, dispatch=outside)
