"""The built middleware stack: whether plans may answer in its place, and the way of an exception through it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi._body_limit import AppBodyLimitMiddleware
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.telemetry._asgi import ExceptionTelemetryMiddleware
from starlette._exception_handler import wrap_app_handling_exceptions
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware

from overdrive._overdrive import Plans
from overdrive.answering import answering
from overdrive.compiler.middleware import App, Layer, Passage, around, layers
from overdrive.compiler.spec import NotCompiled

RAISED = "overdrive.raised"
# More than anybody has: a chain that goes round.
MAX_MIDDLEWARE = 1000

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# Whether a response has begun, as those next to the route know, and as the server knows.
Progress = tuple[bool, bool]


class PlannedRouter:
    """Stands in the router's place below middleware of the user's: plans answer there, or the router itself."""

    def __init__(self, router: Any) -> None:
        self.router = router
        self.plans: Plans | None = None

    def __call__(self, scope: Scope, receive: Any, send: Send) -> Awaitable[None]:
        """An ASGI application. Plans belong to asyncio; on any other loop the router answers."""
        if (
            self.plans is not None
            and scope["type"] in ("http", "websocket")
            and asyncio._get_running_loop() is not None
        ):
            planned = self.plans.call(scope, receive, send)
            if (told := answering.get()) is not None:
                told("asgi: FastAPI's own router" if planned is None else "plan")
            if planned is not None:
                return planned
        answer: Awaitable[None] = self.router(scope, receive, send)
        return answer


@dataclass(frozen=True, slots=True)
class Stack:
    """A built stack, with what plans need of it.

    handlers: the tables of exception handlers, by class and by status.
    limit: of the size of all bodies, in bytes.
    foreign: the middleware of the user's, as classes, the outermost first.
    layers: the same as layers that plans apply themselves; None if there is one among them that only Python can run.
    exits: the innermost middleware, around the router.
    raise_through: sends an exception through a copy of the stack; for a stack with layers.
    passage: sends what a plan does not send itself through copies of the user's middleware.
    """

    handlers: tuple[dict[Any, Any], dict[int, Any]]
    limit: int | None
    foreign: list[type]
    layers: list[Layer] | None
    exits: AsyncExitStackMiddleware
    raise_through: Callable[..., Awaitable[None]]
    passage: Passage


def examine(stack: Any, router: Any, off: Mapping[str, str]) -> Stack:
    """Reads a built stack. `off`: the features that are, see `known`.

    Raises:
        NotCompiled: there is something in it that plans do not know.
    """
    errors = _expect(stack, ServerErrorMiddleware)
    telemetry = _expect(errors.app, ExceptionTelemetryMiddleware)
    inner: Any = _expect(telemetry.app, AppBodyLimitMiddleware).app
    limit = None
    if type(inner) is RequestBodyLimitMiddleware:
        limiter: Any = inner
        limit = limiter.max_body_size
        # Within it FastAPI's own turns groups of errors into one.
        inner = limiter.app.app
    foreign: list[Any] = []
    while type(inner) is not ExceptionMiddleware:
        foreign.append(inner)
        following = getattr(inner, "app", None)
        if following is None or len(foreign) > MAX_MIDDLEWARE:
            raise NotCompiled(f"middleware that hides what it stands around: {type(inner).__name__}")
        inner = following
    exceptions = inner
    exits = _expect(exceptions.app, AsyncExitStackMiddleware)
    inside = exits.app.router if type(exits.app) is PlannedRouter else exits.app
    if inside is not router:
        raise NotCompiled("the application's router is wrapped")
    known = layers(foreign, off)
    passage = Passage(foreign if known is not None else [])
    around_routes = around([exceptions], _raise)
    # The exceptions that no handler takes pass the user's middleware by; the answers of handlers go through it.
    unanswered = around([errors, telemetry], around_routes)
    answered = around([errors, telemetry], _Within(passage, around_routes))

    async def raise_through(
        scope: Scope, receive: Any, send: Send, request: Any, error: Exception, progress: Progress, headers: Any
    ) -> None:
        started, sent = progress
        scope[RAISED] = (request, error, started, headers)
        if sent or not foreign:
            await unanswered(scope, receive, without_first(send) if started else send)
        else:
            await answered(scope, receive, send)

    handlers = (exceptions._exception_handlers, exceptions._status_handlers)
    kinds = [type(one) for one in foreign]
    return Stack(handlers, limit, kinds, known, exits, raise_through, passage)


class _Within:
    """An application within the user's middleware."""

    def __init__(self, passage: Passage, app: App) -> None:
        self.passage = passage
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        _, _, started, headers = scope[RAISED]

        async def application(scope: Scope, receive: Any, send: Send) -> None:
            # Those next to the route think that a response has begun; the layers, and the client, know of none.
            await self.app(scope, receive, without_first(send) if started else send)

        await self.passage(scope, receive, send, headers, application, [])


def _expect(middleware: Any, known: type) -> Any:
    if type(middleware) is not known:
        raise NotCompiled(f"{known.__name__} replaced by {type(middleware).__name__}")
    return middleware


async def _raise(scope: Scope, receive: Any, send: Send) -> None:
    """The innermost application of the copied stack: raises as the route would."""
    request, error, started, _ = scope.pop(RAISED)
    async with scope["fastapi_middleware_astack"]:
        await raise_innermost(scope, receive, send, request, error, started)


async def raise_innermost(
    scope: Scope, receive: Any, send: Send, request: Any, error: Exception, started: bool
) -> None:
    """Gives an exception to the handlers that stand next to a route. Raises what they do not handle."""

    async def application(scope: Scope, receive: Any, send: Send) -> None:
        if started:
            # For those who note that a response has begun; the client has it already.
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    await wrap_app_handling_exceptions(application, request)(scope, receive, send)


def without_first(send: Send) -> Send:
    """`send` that drops its first message."""
    pending = True

    async def sender(message: MutableMapping[str, Any]) -> None:
        nonlocal pending
        if pending:
            pending = False
            return
        await send(message)

    return sender
