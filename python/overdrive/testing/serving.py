"""An engine on a loop of its own, for one request or for a whole `with` block."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread

from overdrive._overdrive import Engine, EngineSettings
from overdrive.testing.compiled import CompiledApplication
from overdrive.testing.records import Records
from overdrive.testing.strictness import Strictness

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from anyio.abc import TaskStatus

    from overdrive.interface import ASGI3

# As of an application that is called directly: without limits, deadlines and headers of a server's.
SETTINGS = EngineSettings(
    date_header=False,
    max_header_size=1 << 24,
    max_headers=4096,
    timeout_keep_alive=86400,
    timeout_header_read=86400,
    access_log=False,
    ws_max_size=1 << 40,
    ws_max_queue=1 << 40,
    ws_ping_interval=None,
    ws_ping_timeout=None,
    ws_per_message_deflate=False,
)


class SharedServing:
    """The engine of a client's open WebSockets, which may want to talk to each other, and of what is done meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serving: Serving | None = None
        self._users = 0

    @contextlib.contextmanager
    def joined(self, make: Callable[[], Serving] | None) -> Iterator[Serving | None]:
        """The engine that there is, or that `make` makes; it ends with the last who has joined it."""
        with self._lock:
            if self._serving is None and make is not None:
                with contextlib.ExitStack() as exits:
                    serving = exits.enter_context(make())
                    serving.start()
                    exits.pop_all()
                self._serving = serving
            joined = self._serving
            self._users += joined is not None
        try:
            yield joined
        finally:
            if joined is not None:
                self._leave(joined)

    def _leave(self, serving: Serving) -> None:
        with self._lock:
            self._users -= 1
            is_last = not self._users
            if is_last:
                self._serving = None
        if is_last:
            serving.__exit__(None, None, None)


class Serving:
    """Within its `with` block there is a loop in a thread of its own; from `start` on it serves at `address`."""

    address: tuple[str, int]
    portal: anyio.from_thread.BlockingPortal

    def __init__(
        self,
        app: ASGI3,
        compiled: CompiledApplication | None,
        records: Records,
        options: dict[str, Any],
        watch: Strictness | None = None,
    ) -> None:
        self._app = app
        self._compiled = compiled
        self._records = records
        self._options = options
        self._engine: Engine | None = None
        self._watch = watch
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            exits.callback(self._abandon)
            self.portal = exits.enter_context(anyio.from_thread.start_blocking_portal("asyncio", self._options))
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, error, traceback)

    def start(self) -> None:
        """Begins to serve."""
        served, stop = self.portal.start_task(self._serve)
        self._exits.callback(served.result)
        self._exits.callback(self.portal.call, stop)

    def refresh(self) -> None:
        """Compiles again what has changed; before a request."""
        if self._compiled is not None and self._compiled.is_stale:
            with self._watch.suspended() if self._watch is not None else contextlib.nullcontext():
                self.portal.call(self._compile)

    def watch_lifespan(self) -> None:
        """Has a strict client's watch look from now on, before anything is served."""
        if self._watch is not None:
            self.portal.call(self._attach)
            self._exits.callback(self.portal.call, self._close)

    def check(self, number: int | None = None) -> None:
        """After a request, which has that number; or after all that was done.

        Raises:
            EventLoopBlocked: the loop was, and the client is strict.
        """
        if self._watch is not None:
            self.portal.call(self._watch.settle)
            self._watch.check(number)

    async def _serve(self, *, task_status: TaskStatus[Callable[[], None]]) -> None:
        engine = await self._attach()
        try:
            with self._watch.suspended() if self._watch is not None else contextlib.nullcontext():
                self._compile()
            with socket.create_server(("127.0.0.1", 0)) as listener:
                engine.listen(listener.fileno())
                self.address = listener.getsockname()
            with anyio.CancelScope() as scope:
                task_status.started(scope.cancel)
                await anyio.sleep_forever()
        finally:
            # Also when the loop breaks down: nobody is to wait for an answer then.
            self._close()

    async def _attach(self) -> Engine:
        """The engine on the running loop, made if there is none yet."""
        if self._engine is None:
            self._engine = Engine(
                self._app,
                asyncio.get_running_loop(),
                SETTINGS,
                context=contextvars.copy_context(),
                side_channel=self._records,
                watch=self._watch.engine if self._watch is not None else None,
            )
            self._engine.attach()
        return self._engine

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _compile(self) -> None:
        if self._compiled is not None and self._engine is not None:
            self._compiled.compile_for(self._engine)

    def _abandon(self) -> None:
        # What an exception's frames still hold of a request would otherwise wait for a thread that is no more.
        if self._engine is not None:
            self._engine.abandon()
