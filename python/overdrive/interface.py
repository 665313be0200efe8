"""Which kind of application it is, and how to call it as ASGI 3."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from overdrive.errors import StartupError
from overdrive.extras import require

ASGI3 = Callable[[Any, Any, Any], Awaitable[None]]

INTERFACES = ("auto", "asgi3", "asgi2", "wsgi")


def is_factory(app: Callable[..., Any]) -> bool:
    """Whether `app` makes the application: it can be called without arguments, which no application can."""
    if inspect.iscoroutinefunction(_called(app)):
        return False
    try:
        inspect.signature(app).bind()
    except (TypeError, ValueError):
        return False
    return True


def detect(app: Callable[..., Any]) -> str:
    """Which it is of "asgi3" and "asgi2", by how `app` is to be called.

    Raises:
        StartupError: it takes two arguments, as WSGI applications do.
    """
    if inspect.iscoroutinefunction(_called(app)):
        return "asgi3"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return "asgi3"
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return "asgi3"
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.kind in by_position and p.default is p.empty]
    if len(needed) == 1:
        return "asgi2"
    if len(needed) == 2:
        raise StartupError("The application takes two arguments, as WSGI does. Serve it with --interface wsgi.")
    return "asgi3"


def adapt(app: Any, interface: str) -> ASGI3:
    """`app` as an ASGI 3 application."""
    if interface == "wsgi":
        return cast(ASGI3, require("a2wsgi", "a2wsgi", "--interface wsgi").WSGIMiddleware(app))
    if interface == "auto":
        interface = detect(app)
    return asgi2_to_asgi3(app) if interface == "asgi2" else cast(ASGI3, app)


def asgi2_to_asgi3(app: Callable[[Any], Callable[[Any, Any], Awaitable[None]]]) -> ASGI3:
    """ASGI 2 takes the scope first, and then, in a second call, receive and send (asgiref: legacy applications)."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        scope = {**scope, "asgi": {**scope["asgi"], "version": "2.0"}}
        await app(scope)(receive, send)

    return call


def _called(app: Callable[..., Any]) -> Any:
    """The function that calling `app` runs."""
    return app if inspect.isroutine(app) or inspect.isclass(app) else type(app).__call__
