"""The built middleware stack: whether plans may answer in its place, and the way of an exception through it."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi._body_limit import AppBodyLimitMiddleware
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.telemetry._asgi import ExceptionTelemetryMiddleware
from starlette._exception_handler import wrap_app_handling_exceptions
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware

from overdrive.compiler.spec import NotCompiled

RAISED = "overdrive.raised"

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of an application without middleware of its own.

    handlers: the tables of exception handlers, by class and by status.
    limited: the application limits the size of all bodies.
    raise_through: sends an exception through a copy of the stack.
    """

    handlers: tuple[dict[Any, Any], dict[int, Any]]
    limited: bool
    raise_through: Callable[..., Awaitable[None]]


def examine(stack: Any, router: Any) -> Stack:
    """Reads a built stack.

    Raises:
        NotCompiled: there is something in it that plans do not know.
    """
    errors = _expect(stack, ServerErrorMiddleware)
    telemetry = _expect(errors.app, ExceptionTelemetryMiddleware)
    limit = _expect(telemetry.app, AppBodyLimitMiddleware)
    limited = type(limit.app) is not ExceptionMiddleware
    exceptions = limit.app
    if limited and hasattr(limit.app, "max_body_size"):
        exceptions = limit.app.app.app
    exceptions = _expect(exceptions, ExceptionMiddleware)
    exits = _expect(exceptions.app, AsyncExitStackMiddleware)
    if exits.app is not router:
        raise NotCompiled("the application's router is wrapped")
    chain: Any = _raise
    for middleware in (exceptions, telemetry, errors):
        chain_link = copy.copy(middleware)
        chain_link.app = chain
        chain = chain_link

    async def raise_through(
        scope: Scope, receive: Any, send: Send, request: Any, error: Exception, started: bool
    ) -> None:
        scope[RAISED] = (request, error, started)
        await chain(scope, receive, _without_first(send) if started else send)

    return Stack((exceptions._exception_handlers, exceptions._status_handlers), limited, raise_through)


def _expect(middleware: Any, known: type) -> Any:
    if type(middleware) is not known:
        raise NotCompiled(f"middleware: {type(middleware).__name__}")
    return middleware


async def _raise(scope: Scope, receive: Any, send: Send) -> None:
    """The innermost application of the copied stack: raises as the route would."""
    request, error, started = scope.pop(RAISED)

    async def application(scope: Scope, receive: Any, send: Send) -> None:
        if started:
            # For those who note that a response has begun; the client has it already.
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    async with scope["fastapi_middleware_astack"]:
        await wrap_app_handling_exceptions(application, request)(scope, receive, send)


def _without_first(send: Send) -> Send:
    pending = True

    async def sender(message: dict[str, Any]) -> None:
        nonlocal pending
        if pending:
            pending = False
            return
        await send(message)

    return sender
