"""Starlette's `SessionMiddleware` where plans answer in its place.

What a session is, and what it adds to an answer, the middleware's own code says, around nothing. A request that has no
session, or whose session nobody looked at, does without.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any

Headers = list[tuple[bytes, bytes]]


def open_session(middleware: Any, scope: dict[str, Any]) -> None:
    """Sets `session` in the scope, from the cookie that came."""

    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    _at_once(_around(middleware, application)(scope, None, None))


def add_headers(middleware: Any, scope: dict[str, Any], headers: Headers, given: Any) -> Headers:
    """The headers of an answer with what the session in the scope adds. `given`: those of the request."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def application(inner: Any, receive: Any, send: Any) -> None:
        inner["session"] = scope["session"]
        await send({"type": "http.response.start", "headers": headers})

    _at_once(_around(middleware, application)({**scope, "headers": given}, None, send))
    found: Headers = messages[0]["headers"]
    return found


class Reopened:
    """Stands in a chain of middleware for one that has opened its session already."""

    def __init__(self, middleware: Any) -> None:
        self.app: Any = None
        self._middleware = middleware

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI application."""
        inner, session = self.app, scope.get("session")

        async def application(scope: Any, receive: Any, send: Any) -> None:
            if session is not None:
                scope["session"] = session
            await inner(scope, receive, send)

        await _around(self._middleware, application)(scope, receive, send)


def _around(middleware: Any, application: Callable[[Any, Any, Any], Awaitable[None]]) -> Any:
    link = copy.copy(middleware)
    link.app = application
    return link


def _at_once(coroutine: Any) -> None:
    """Runs what waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("Starlette's middleware waits for something")
