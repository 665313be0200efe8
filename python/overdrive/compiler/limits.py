"""Limits of the size of bodies, which releases before FastAPI 0.165 do without."""

from __future__ import annotations

from typing import Any

try:
    from fastapi._body_limit import AppBodyLimitMiddleware, _BodyLimitExceptionMiddleware, get_body_limit_error
    from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY, RequestBodyLimitMiddleware
except ImportError:
    HAS_LIMITS = False
    MAX_BODY_SIZE_SCOPE_KEY = "starlette.max_body_size"
else:
    HAS_LIMITS = True


def limited_inside(app: Any) -> tuple[int | None, Any]:
    """The limit that FastAPI has put around an application, in bytes, and the application inside."""
    if HAS_LIMITS and type(app) is RequestBodyLimitMiddleware and type(app.app) is _BodyLimitExceptionMiddleware:
        return app.max_body_size, app.app.app
    return None, app


def least(*sizes: int | None) -> int | None:
    """The least of several limits, of which some may be none."""
    return min((size for size in sizes if size is not None), default=None)


def limit_exceeded(scope: Any, error: Exception) -> Exception | None:
    """What FastAPI raises in the place of an error that stands for a body over its limit; None for any other error."""
    if HAS_LIMITS and MAX_BODY_SIZE_SCOPE_KEY in scope:
        found: Exception | None = get_body_limit_error(error)
        return found
    return None


__all__ = [
    "HAS_LIMITS",
    "MAX_BODY_SIZE_SCOPE_KEY",
    "AppBodyLimitMiddleware",
    "least",
    "limit_exceeded",
    "limited_inside",
]
