"""The engine, written in Rust: HTTP and WebSocket inside an asyncio loop, behind one file descriptor."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import Context, ContextVar
from typing import Any, Protocol, TypeVar, final

Result = TypeVar("Result")

__version__: str

class Record(Protocol):
    """What a test client says of one request, and is told of it. Called on the loop's thread."""

    method: str | None
    """The method, if it is none that HTTP could carry."""
    headers: list[tuple[bytes, bytes]] | None
    """The headers, if they are none that HTTP could carry just so."""
    root_path: str
    context: Context
    """What the request's task runs in; not a copy of it."""

    @property
    def scheme(self) -> str:
        """The scope's."""

    def fill(self, scope: dict[str, Any], /) -> None:
        """Changes the scope that the engine has made."""

    def began(self, number: int | None, /) -> None:
        """The request's task makes its first step, and this is called within it. `number`: what stalls call the request
        by, if it is watched."""

    def started(self, has_length: bool, has_encoding: bool, has_trailers: bool, /) -> None:
        """The application's answer has begun; whether `content-length` and `transfer-encoding` are of its making, and
        whether trailers follow."""

    def completed(self) -> None:
        """The application has sent the last of its answer, or can send no more."""

    def message(self, message: dict[str, Any], /) -> None:
        """`http.response.debug`, `http.response.trailers`, or a `websocket.close` that refuses a WebSocket."""

    def ended(self, error: BaseException | None, answered_by: str, /) -> None:
        """The application's coroutine has ended. Not called for a request that the engine has refused.

        answered_by: "plan", "asgi", or "asgi: " and why no plan answers.
        """

class SideChannel(Protocol):
    """Hands over what belongs to a request besides its bytes."""

    def take(self, name: bytes, /) -> Record | None:
        """The record that a request names in its header `overdrive-side-channel`."""

@final
class EngineSettings:
    """What an `Engine` needs to know, checked once and never changed afterwards.

    Times are in seconds, sizes in bytes. A value that makes no sense raises `ValueError` and names the setting.
    """

    def __new__(
        cls,
        *,
        root_path: str = "",
        headers: list[tuple[bytes, bytes]] = ...,
        date_header: bool = True,
        trusted_proxies: list[str] | None = None,
        limit_concurrency: int | None = None,
        limit_connections: int | None = None,
        limit_max_requests: int | None = None,
        timeout_keep_alive: float = 5.0,
        timeout_header_read: float = 30.0,
        max_header_size: int = 65536,
        max_headers: int = 100,
        access_log: bool = True,
        reset_contextvars: bool = False,
        ws_max_size: int = 16777216,
        ws_max_queue: int = 32,
        ws_ping_interval: float | None = 20.0,
        ws_ping_timeout: float | None = 20.0,
        ws_per_message_deflate: bool = True,
    ) -> EngineSettings:
        """
        root_path: prefix put before the path in every scope, as uvicorn's `--root-path`.
        headers: added to every response, `server` among them; names in lower case.
        trusted_proxies: addresses, networks ("10.0.0.0/8"), literals or "*" whose `X-Forwarded-For` and
            `X-Forwarded-Proto` are believed; None: these headers are never looked at.
        limit_concurrency: open connections or running requests from which on the answer is 503.
        limit_connections: open connections from which on nothing more is accepted (they wait in the backlog).
        limit_max_requests: calls `on_request_limit` once, after this many answered requests.
        ws_ping_interval, ws_ping_timeout: None turns the pings, or the wait for their answer, off.
        """

@final
class Engine:
    """Serves one ASGI application on one running asyncio loop. All but `abandon()` belongs to the loop's thread."""

    def __new__(
        cls,
        app: Callable[..., Any],
        loop: asyncio.AbstractEventLoop,
        settings: EngineSettings,
        *,
        context: Context,
        state: dict[str, Any] | None = None,
        on_request_limit: Callable[[], object] | None = None,
        side_channel: SideChannel | None = None,
        watch: Watch | None = None,
    ) -> Engine:
        """
        app: an ASGI 3 callable.
        context: every request runs in a fresh copy of it.
        state: the lifespan state; each scope gets a shallow copy. None: scopes have no "state".
        side_channel: a test client's, see `overdrive.testing`. Never in production: requests may name their own client.
        """

    def attach(self) -> None:
        """Registers the engine with its loop. Must be called once, inside the running loop."""

    def fileno(self) -> int:
        """The one descriptor behind which everything happens; readable when the engine has work."""

    def listen(self, fd: int) -> None:
        """Accepts connections on a bound and listening TCP or Unix socket. The engine works on a duplicate of `fd`."""

    def share(self, fd: int, slot: int, slots: int) -> None:
        """Joins the workers that share a listener: `fd` is a file of at least `8 * slots` bytes mapped by all of them,
        `slot` this worker's place. A worker with more than its share of connections leaves new ones to the others."""

    def set_plans(self, plans: Plans | None) -> None:
        """Lets compiled routes answer from now on; requests under way go on as they began."""

    def drain(self) -> asyncio.Future[None]:
        """Stops accepting, closes idle connections, lets each running request finish and then closes its connection;
        WebSockets are closed with 1012. The future is done when nothing is left, neither connections nor tasks."""

    def cancel(self, message: str) -> int:
        """Cancels the running requests, as the end of a grace period does. Returns how many there were."""

    def close(self) -> None:
        """Closes every connection at once and leaves the loop. Harmless when repeated."""

    def abandon(self) -> None:
        """Lets what is left of the engine die on any thread. To be called after the loop's own has ended."""

    @property
    def connections(self) -> int:
        """Open connections."""

    @property
    def tasks(self) -> int:
        """Requests whose application coroutine has not ended."""

    @property
    def thread_waits(self) -> tuple[int, float, float]:
        """Calls that plans have made on threads, and how long they waited for a token of the limiter and for a thread:
        calls, seconds in all, seconds at the longest."""

    @property
    def total_requests(self) -> int:
        """Requests answered since the start."""

@final
class Watch:
    """What an engine's loop does and who blocks it. All but making it may be done on any thread."""

    def __new__(
        cls,
        *,
        threshold: float,
        describe: Callable[[Any], tuple[str, str, int, str]],
        on_stall: Callable[[dict[str, Any]], object],
        origin: ContextVar[int | tuple[str, int, object]],
        libraries: tuple[list[str], list[str], list[str]],
    ) -> Watch:
        """
        threshold: seconds from which on a silence of the loop is a stall.
        describe: gives name, file, line and pattern ("async", "def", "") of an endpoint.
        on_stall: called on the loop's thread with each stall, some turns of the loop after its end.
        origin: set in the context of each request: to the place of its route, or to its line and number where that is
            not known yet.
        libraries: folders of overdrive, of Python's library, and of installed packages; all other code is the user's.
        """

    def routes(self) -> list[dict[str, Any]]:
        """What each route's requests have cost so far; times in seconds."""

    def route_name(self, place: int) -> tuple[str, str, str] | None:
        """Method, path and endpoint of a route, by its place."""

    def found_route(self, request: int) -> int | None:
        """The place of the route that a request has found, by its number, while it is remembered."""

    def collector(self) -> Callable[[str, dict[str, int]], None]:
        """What `gc.callbacks` is to call, so that pauses are known."""

    @staticmethod
    def unawaited(warn: Callable[[Any], object], note: Callable[[Any], object]) -> Callable[[Any], None]:
        """
        What `warnings._warn_unawaited_coroutine` is to be: it does what that does, `warn`, blaming the same line, and
        calls `note`.
        """

    def collections(self) -> tuple[int, float, float]:
        """How often the garbage collector ran, for how many seconds in all, and at the longest."""

    def note_threads(self, limit: int, taken: int, wanted: int) -> None:
        """What anyio's limiter has: calls that may run on threads at a time, those that do, those that wait."""

    def totals(self) -> dict[str, Any]:
        """What the loop as a whole has come to, whatever the route; times in seconds."""

    def note_fault(self, text: str, remedy: str) -> None:
        """Counts something that went wrong in silence, for the report."""

    def faults(self) -> list[tuple[str, str, int]]:
        """Text, remedy and count of each."""

    def verdicts(self) -> list[dict[str, Any]]:
        """The verdict on each endpoint, the worst first; see `overdrive.watch.verdict.Verdict`."""

    def report(self, *, colors: bool = False) -> str:
        """The verdicts and the faults as a table, for a terminal."""

    def pause(self, seconds: float) -> None:
        """Waits without the GIL, and leaves it to those who look at a stall; until `end_pauses` at the longest."""

    def end_pauses(self) -> None:
        """Ends a pause that is under way on another thread, and all that are to come."""

    def under_way(self) -> dict[str, Any] | None:
        """The stall that is going on, as far as it is known."""

    def suspend(self) -> None:
        """Nobody is to be blamed from now on: the server itself keeps the loop."""

    def resume(self) -> None:
        """Ends what `suspend` began."""

    @property
    def slow_machine(self) -> int:
        """How often the machine kept the watch from running, so that a silence of the loop meant nothing."""

@final
class Inspector:
    """The inspect page and its data, from a thread of its own without the GIL. It serves from when it is made."""

    def __new__(cls, sockets: Sequence[int], *, token: str, nonce: str, watch: Watch | None = None) -> Inspector:
        """
        sockets: descriptors that listen already; duplicates are kept.
        token: nothing is answered without it. nonce: unguessable, for the page's content security policy.
        watch: this process's own; None where workers have theirs.
        """

    def add_worker(self, fd: int, number: int) -> None:
        """Hears a worker's news from one end of a pair of sockets, until it ends; `number` names it."""

    def close(self) -> None:
        """Stops serving, and waits for the thread's end."""

@final
class InspectorFeed:
    """Tells the supervisor's `Inspector` what a worker's watch sees, from a thread of its own without the GIL."""

    def __new__(cls, fd: int, watch: Watch) -> InspectorFeed: ...
    def close(self) -> None:
        """Tells nothing more, and waits for the thread's end."""

@final
class HttpChannel:
    """Whose methods are the `receive` and `send` of a request straight from the engine."""

    def receive(self) -> Awaitable[MutableMapping[str, Any]]:
        """The next message."""

    def send(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        """Sends a message."""

class OpenMessages:
    """What a WebSocket's class has before Starlette's among its bases: methods that speak with the engine themselves
    where an `await` calls them, while the connection is open. Otherwise it is the next class's turn."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        """The class has `_connected`, what both states are on an open connection, and `_ended(message)`, which raises
        what comes of a message that tells its end."""

    async def receive_text(self) -> str:
        """As Starlette's; where an `await` calls it, what it returns is no coroutine."""

    async def receive_bytes(self) -> bytes:
        """Likewise."""

    async def send_text(self, data: str) -> None:
        """Likewise."""

    async def send_bytes(self, data: bytes) -> None:
        """Likewise."""

def request_part(awaitable: Awaitable[Result], scope: MutableMapping[str, Any]) -> Awaitable[Result]:
    """`awaitable`, with its steps on the loop added to those of the request in whose context this is called.

    For what is awaited in another task than the request's own. `scope`: the request's, where its route will be found.
    """

@final
class BorrowedThread:
    """A call on a thread of which the loop's side alone is seen."""

    def began(self) -> None:
        """There is a thread for it."""

    def ended(self) -> None:
        """It has come back. Without this, it counts as a wait alone."""

def thread_wanted(task: asyncio.Task[Any] | None) -> BorrowedThread | None:
    """A call on a thread, as a part of the request whose context or task this is.

    None if it is nobody's, or nobody watches.
    """

@final
class Plans:
    """The compiled routes of one FastAPI application; see `overdrive.compiler`. Made once, never changed."""

    def __new__(
        cls,
        *,
        runtime: Any,
        entries: Sequence[Any],
        application: Any,
        root_path: str,
        redirects: bool,
        body_limit: int | None,
        router: Any,
        handlers: tuple[dict[Any, Any], dict[int, Any]],
        default_http_handler: Callable[..., Any] | None,
        default_validation_handler: Callable[..., Any] | None,
        raise_through: Callable[..., Any],
        raise_within: Callable[..., Any],
        raise_outermost: Callable[..., Any],
        outermost: Any | None,
        observer: Any | None,
        layers: Sequence[Any],
        passage: Callable[..., Any],
        route_lists: Sequence[tuple[list[Any], list[Any]]],
        stack: Any,
        globals: Sequence[tuple[dict[str, Any], str, Any, str]],
        providers: Sequence[tuple[dict[str, Any], str, Any]],
        on_change: Callable[[], object],
    ) -> Plans:
        """
        runtime: an `overdrive.compiler.runtime.Runtime`.
        entries: of `overdrive.compiler.spec.Entry`, in FastAPI's order.
        handlers: the exception handlers by class and by status.
        default_http_handler, default_validation_handler: FastAPI's own handlers, where they are in charge.
        raise_through: `async (scope, receive, send, request, error, (started, sent), headers)`, the way of an exception
            through the application's middleware.
        raise_within: `async (scope, receive, send, request, error, started)`, the same through what stands below the
            user's middleware.
        raise_outermost: `async (scope, receive, send, error, started)`, the same through what stands around it.
        outermost: the middleware of the user's where requests enter; None if plans do what it does, or if something
            stands around it that has a say.
        observer: an `overdrive.compiler.sentry.Observer`, if plans may enter it themselves.
        layers: of `overdrive.compiler.middleware.Layer`, the outermost first; plans do what these do.
        passage: an `overdrive.compiler.middleware.Passage`, the way of any other answer through the same middleware.
        route_lists: of all routers, each with what was in it; plans hold as long as that is so.
        stack: the application's `middleware_stack`, which must stay the same, too.
        globals: `(globals, name, value, reason)` of variables that must be what they were for plans to answer, and
            what it means if they are not.
        on_change: called once when a request finds that the routes or the stack have changed.
        """

    def call(self, scope: Any, receive: Any, send: Any, handles: bool) -> Awaitable[None] | None:
        """What answers an ASGI request when it is awaited; None if FastAPI's own code has to.

        handles: the plan stands in the place of the exception handlers, not in the router's.
        """

    def counts(self) -> tuple[int, dict[str, int]]:
        """How many requests plans have answered, and how many were handed to FastAPI's own code, by reason."""
