"""The same below another one, and around a middleware that has something to do afterwards."""

from __future__ import annotations

from starlette.middleware.base import BaseHTTPMiddleware

from .dispatching import Noting, app, counted, dispatch, outside

__all__ = ["app", "counted"]

app.user_middleware.clear()
app.add_middleware(Noting)
app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
app.add_middleware(BaseHTTPMiddleware, dispatch=outside)
