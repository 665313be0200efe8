"""Which kind of application it is, and how to call it as ASGI 3."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from overdrive.errors import StartupError

ASGI3 = Callable[[Any, Any, Any], Awaitable[None]]

INTERFACES = ("auto", "asgi3", "asgi2", "wsgi")


def is_factory(app: Callable[..., Any]) -> bool:
    """Whether `app` can be called without arguments: then it is no application, but makes one."""
    try:
        inspect.signature(app).bind()
    except (TypeError, ValueError):
        return False
    return True


def detect(app: Callable[..., Any]) -> str:
    """"asgi3" or "asgi2", by how `app` is to be called; WSGI looks like neither.

    Raises:
        StartupError: it takes two arguments, as WSGI applications do.
    """
    call = app if inspect.isfunction(app) or inspect.ismethod(app) or inspect.isclass(app) else type(app).__call__
    if asyncio.iscoroutinefunction(call):
        return "asgi3"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return "asgi3"
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return "asgi3"
    if len(positional) == 1:
        return "asgi2"
    if len(positional) == 2:
        raise StartupError("The application takes two arguments, as WSGI applications do: serve it with --interface wsgi.")
    return "asgi3"


def adapt(app: Any, interface: str) -> ASGI3:
    """`app` as an ASGI 3 application."""
    if interface == "wsgi":
        try:
            from a2wsgi import WSGIMiddleware
        except ImportError:
            raise StartupError("--interface wsgi needs the a2wsgi package: pip install 'overdrive[standard]'.") from None
        return cast(ASGI3, WSGIMiddleware(app))
    if interface == "auto":
        interface = detect(app)
    return asgi2_to_asgi3(app) if interface == "asgi2" else cast(ASGI3, app)


def asgi2_to_asgi3(app: Callable[[Any], Callable[[Any, Any], Awaitable[None]]]) -> ASGI3:
    """ASGI 2 takes the scope first, and then, as a second call, receive and send."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        await app(scope)(receive, send)

    return call
