"""The built middleware stack: whether plans may answer in its place, and the way of an exception through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette._exception_handler import wrap_app_handling_exceptions
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware

from overdrive._overdrive import Plans
from overdrive.compiler import limits
from overdrive.compiler.dispatch import make_native
from overdrive.compiler.middleware import App, Layer, Passage, around, layers
from overdrive.compiler.planned import Planned
from overdrive.compiler.spec import NotCompiled
from overdrive.compiler.within import within

try:
    from fastapi.telemetry._asgi import ExceptionTelemetryMiddleware
except ImportError:
    # Before FastAPI 0.142.
    HAS_TELEMETRY = False
else:
    HAS_TELEMETRY = True

RAISED = "overdrive.raised"
# Where the router waits that a scope names, for as long as an exception is on its way in.
ROUTER = "overdrive.router"
# More than anybody has: a chain that goes round.
MAX_MIDDLEWARE = 1000

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# Whether a response has begun, as those next to the route know, and as the server knows.
Progress = tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Stack:
    """A built stack, with what plans need of it.

    handlers: the tables of exception handlers, by class and by status.
    limit: of the size of all bodies, in bytes.
    foreign: the middleware of the user's and of instruments, the outermost first.
    layers: the same as layers that plans apply themselves; None if there is one among them that only Python can run.
    exits: the innermost middleware, around the router.
    is_observed: whoever stands around the stack, or around FastAPI's own middleware in it, has to see each request.
    own: FastAPI's own middleware that exceptions meet, the innermost first.
    raise_through: sends an exception through a copy of the stack; for a stack with layers.
    raise_within, raise_outermost: the same through what stands below the user's middleware, and around it.
    passage: sends what a plan does not send itself through copies of the user's middleware.
    dispatches: Starlette's `BaseHTTPMiddleware` is the code we know.
    inside: what stands within FastAPI's own middleware that only exceptions and instruments meet.
    observer: an application that does what instruments around all of it do, and knows what to do of the rest.
    """

    handlers: tuple[dict[Any, Any], dict[int, Any]]
    limit: int | None
    foreign: list[Any]
    layers: list[Layer] | None
    exits: AsyncExitStackMiddleware
    is_observed: bool
    own: tuple[Any, ...]
    raise_through: Callable[..., Awaitable[None]]
    raise_within: Callable[..., Awaitable[None]]
    raise_outermost: Callable[..., Awaitable[None]]
    passage: Passage
    dispatches: bool
    inside: Any
    observer: Any = None

    @property
    def outermost(self) -> Any:
        """Where requests may enter, the middleware of the user's; None if plans apply it, or if more is around it."""
        if self.observer is not None:
            return self.observer
        return self.foreign[0] if self.foreign and self.layers is None and not self.is_wrapped else None

    @property
    def is_wrapped(self) -> bool:
        """Whether something around the middleware of the user's has a part in each request."""
        return self.is_observed or self.limit is not None

    def install(self, plans: Plans) -> None:
        """Lets plans answer below the user's middleware, and middleware that dispatches do so without a detour."""
        if self.dispatches and not self.is_observed:
            for middleware in self.foreign:
                make_native(middleware)
        if type(self.inside) is Planned:
            self.inside.plans = plans
        if self.foreign and not self.is_observed:
            try:
                _stand_in(self.foreign[-1], handles=True).plans = plans
                return
            except (AttributeError, TypeError):
                # It does not let go of what it stands around.
                pass
        _stand_in(self.exits, handles=False).plans = plans


def _stand_in(middleware: Any, *, handles: bool) -> Planned:
    inner = middleware.app
    if isinstance(inner, Planned):
        return inner
    planned = Planned(inner, handles=handles)
    middleware.app = planned
    is_kept: bool = middleware.app is planned
    if not is_kept:
        raise AttributeError("its app is not what it was set to")
    return planned


def examine(stack: Any, router: Any, off: Mapping[str, str], *, is_observed: bool) -> Stack:
    """Reads a built stack.

    off: the features that are, see `known`.
    is_observed: see `Stack`.

    Raises:
        NotCompiled: there is something in it that plans do not know.
    """
    errors = _expect(stack, ServerErrorMiddleware)
    inner, outer = errors.app, [errors]
    foreign: list[Any] = []
    if HAS_TELEMETRY:
        inner = _pass(inner, ExceptionTelemetryMiddleware, foreign)
        if not foreign:
            outer.append(inner)
        inner = inner.app
    limit = None
    if limits.HAS_LIMITS:
        limit, inner = limits.limited_inside(_expect(inner, limits.AppBodyLimitMiddleware).app)
    exceptions = inner = _pass(inner, ExceptionMiddleware, foreign)
    exits = _expect(exceptions.app, AsyncExitStackMiddleware)
    inside = exits.app.app if type(exits.app) is Planned else exits.app
    if inside is not router:
        raise NotCompiled("the application's router is wrapped")
    known = layers(foreign, off) if not is_observed else None
    passage = Passage(foreign if known is not None else [])
    around_routes = around([exceptions], _raise)
    # The exceptions that no handler takes pass the user's middleware by; the answers of handlers go through it.
    unanswered = around(outer, around_routes)
    answered = around(outer, _Within(passage, around_routes))
    outside = around(outer, _raise_outside)

    async def raise_through(
        scope: Scope, receive: Any, send: Send, request: Any, error: Exception, progress: Progress, headers: Any
    ) -> None:
        started, sent = progress
        _enter(scope, router, (request, error, started, headers))
        if sent or not foreign:
            await unanswered(scope, receive, without_first(send) if started else send)
        else:
            await answered(scope, receive, send)

    async def raise_within(
        scope: Scope, receive: Any, send: Send, request: Any, error: Exception, started: bool
    ) -> None:
        _enter(scope, router, (request, error, started, None))
        await around_routes(scope, receive, without_first(send) if started else send)

    async def raise_outermost(scope: Scope, receive: Any, send: Send, error: Exception, started: bool) -> None:
        _enter(scope, router, (error, started))
        await outside(scope, receive, without_first(send) if started else send)

    handlers = (exceptions._exception_handlers, exceptions._status_handlers)
    own = (exceptions, *reversed(outer))
    return Stack(
        handlers,
        limit,
        foreign,
        known,
        exits,
        is_observed,
        own,
        raise_through,
        raise_within,
        raise_outermost,
        passage,
        "dispatch" not in off,
        # A copy for what plans leave to the router: in the original, plans are asked again.
        foreign[0] if foreign else Planned(around([exceptions, exits], router), handles=True),
    )


def _pass(middleware: Any, known: type, foreign: list[Any]) -> Any:
    """The middleware of the class `known` in a stack; what stands around it is added to `foreign`."""
    while type(middleware) is not known:
        if isinstance(middleware, Planned):
            middleware = middleware.app
            continue
        foreign.append(middleware)
        following = within(middleware)
        if following is None or len(foreign) > MAX_MIDDLEWARE:
            raise NotCompiled(f"middleware that hides what it stands around: {type(middleware).__name__}")
        middleware = following
    return middleware


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


def _enter(scope: Scope, router: Any, raised: tuple[Any, ...]) -> None:
    """Makes a scope what it was before the router had seen it: by the router Sentry names a request that enters."""
    if scope.get("router") is router:
        scope[ROUTER] = scope.pop("router")
    scope[RAISED] = raised


def _raised(scope: Scope) -> Any:
    """What is to be raised; the scope is again what it is at the end of a request."""
    if ROUTER in scope:
        scope["router"] = scope.pop(ROUTER)
    return scope.pop(RAISED)


async def _raise(scope: Scope, receive: Any, send: Send) -> None:
    """The innermost application of the copied stack: raises as the route would."""
    request, error, started, _ = _raised(scope)
    async with scope["fastapi_middleware_astack"]:
        await raise_innermost(scope, receive, send, request, error, started)


async def _raise_outside(scope: Scope, receive: Any, send: Send) -> None:
    """Raises as the user's middleware has."""
    error, started = _raised(scope)
    if started:
        # For those who note that a response has begun; the client has it already.
        await send({"type": "http.response.start", "status": 200, "headers": []})
    raise error


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
