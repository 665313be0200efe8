"""The application without tracing, with middleware of the user's between Sentry and the routes."""

from __future__ import annotations

from typing import Any

import sentry_sdk
from fastapi import Request
from recorder import record
from with_sentry_untraced import app


class Outer:
    """Plain ASGI; raises for one path."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            current = sentry_sdk.get_current_scope()
            record("outer", name=current._transaction, tags=sentry_sdk.get_isolation_scope()._tags)
            if scope["query_string"] == b"fail":
                raise LookupError("in middleware")
        await self.app(scope, receive, send)


@app.middleware("http")
async def inner(request: Request, following: Any) -> Any:
    """Adds a header."""
    response = await following(request)
    response.headers["inner"] = "yes"
    return response


app.add_middleware(Outer)
