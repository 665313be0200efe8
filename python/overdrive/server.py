"""The server of one process: lifespan, engine, signals."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from overdrive._overdrive import Engine
from overdrive.config import Config
from overdrive.errors import STARTUP_FAILURE, StartupError
from overdrive.lifespan import Lifespan
from overdrive.share import SharedCounters

HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How long cancelled requests may take to end before they are left behind.
CANCEL_GRACE = 1.0

logger = logging.getLogger("overdrive.error")


class Server:
    """Serves the application of a `Config` on one event loop.

    `started` is True while requests are served. `should_exit` and `force_exit` may be set from any thread and act at once:
    the first shuts down gracefully, the second does not wait for what still runs.
    """

    def __init__(self, config: Config, *, shared: SharedCounters | None = None) -> None:
        self.config = config
        self.started = False
        self.engine: Engine | None = None
        self.lifespan: Lifespan | None = None
        self._shared = shared
        self._should_exit = False
        self._force_exit = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._captured_signals: list[int] = []
        self._sockets: list[socket.socket] = []

    @property
    def should_exit(self) -> bool:
        """Whether the server is to stop, or has been told to."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        self._notify()

    @property
    def force_exit(self) -> bool:
        """Whether a stop waits for nothing."""
        return self._force_exit

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        self._force_exit = value
        self._notify()

    def run(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serves until told to stop, on a loop of its own."""
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self.serve(sockets))

    async def serve(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serves on the running loop until told to stop. `sockets` are bound already, and closed at the end.

        In the main thread SIGINT and SIGTERM are handled meanwhile, and raised again afterwards.

        Raises:
            StartupError: the application cannot be imported, or the address not be had.
            SystemExit: the application's start-up failed (code 3).
        """
        with self._capture_signals():
            await self._serve(sockets)

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Starts the application, then listens."""
        config = self.config
        loop = asyncio.get_running_loop()
        bound = list(sockets) if sockets is not None else config.bind_sockets()
        self._sockets = bound
        self.lifespan = Lifespan(config.loaded_app, config.lifespan)
        await self.lifespan.startup()
        if self.lifespan.failed:
            raise SystemExit(STARTUP_FAILURE)
        try:
            config.listen(bound)
        except StartupError:
            await self.lifespan.shutdown()
            raise
        limit = config.limit_max_requests
        if limit is not None:
            limit += random.randint(0, config.limit_max_requests_jitter)
        self.engine = Engine(
            config.loaded_app,
            loop,
            config.engine_settings(limit),
            context=contextvars.copy_context(),
            state=self.lifespan.state,
            on_request_limit=self._request_limit_reached,
        )
        self.engine.attach()
        if self._shared is not None:
            self.engine.share(*self._shared.place)
        for sock in bound:
            self.engine.listen(sock.fileno())
        if sockets is None:
            address = f"socket {bound[0].getsockname()}" if config.fd is not None else config.address
            logger.info(
                "Overdrive running on %s (Press CTRL+C to quit)",
                address,
                extra={"color_message": "Overdrive running on \x1b[1m%s\x1b[0m (Press CTRL+C to quit)"},
            )
        self.started = True

    async def main_loop(self) -> None:
        """Waits until the server is told to stop."""
        while not self._should_exit:
            self._changed.clear()
            await self._changed.wait()

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Stops accepting, lets requests finish, tells the application.

        Requests that run longer than `timeout_graceful_shutdown` are cancelled. `sockets` is for callers used to uvicorn.
        """
        logger.info("Shutting down")
        for sock in (*self._sockets, *(sockets or ())):
            sock.close()
        if self.engine is not None and not self._force_exit:
            await self._drain(self.engine)
        if self.lifespan is not None and not self._force_exit:
            await self.lifespan.shutdown()

    async def _serve(self, sockets: Sequence[socket.socket] | None) -> None:
        config = self.config
        self._loop = asyncio.get_running_loop()
        # Anew for each loop, as an event belongs to the loop it was waited for on.
        self._changed = asyncio.Event()
        if not config.loaded:
            config.load()
        process = os.getpid()
        logger.info(
            "Started server process [%d]",
            process,
            extra={"color_message": "Started server process [\x1b[36m%d\x1b[0m]"},
        )
        try:
            await self.startup(sockets)
            await self.main_loop()
            await self.shutdown()
        finally:
            self.started = False
            if self.engine is not None:
                self.engine.close()
            for sock in self._sockets:
                sock.close()
            self._loop = None
        logger.info(
            "Finished server process [%d]",
            process,
            extra={"color_message": "Finished server process [\x1b[36m%d\x1b[0m]"},
        )

    async def _drain(self, engine: Engine) -> None:
        drained = engine.drain()
        if engine.connections and not drained.done():
            logger.info("Waiting for connections to close. (CTRL+C to force quit)")
        elif engine.tasks:
            logger.info("Waiting for background tasks to complete. (CTRL+C to force quit)")
        timeout = self.config.timeout_graceful_shutdown
        if await self._wait_unless_forced(drained, timeout) or self._force_exit:
            return
        message = "Task cancelled, timeout graceful shutdown exceeded"
        logger.error("Cancel %d running task(s), timeout graceful shutdown exceeded", engine.tasks)
        engine.cancel(message)
        await self._wait_unless_forced(drained, CANCEL_GRACE)

    async def _wait_unless_forced(self, future: asyncio.Future[None], timeout: float | None) -> bool:
        """Waits for `future`, `force_exit` or the timeout; True when the future is done."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not future.done() and not self._force_exit:
                    self._changed.clear()
                    changed = asyncio.ensure_future(self._changed.wait())
                    try:
                        await asyncio.wait([future, changed], return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        changed.cancel()
        return future.done()

    def _request_limit_reached(self) -> None:
        logger.info("Maximum request limit of %d exceeded. Terminating process.", self.config.limit_max_requests)
        self.should_exit = True

    def _notify(self) -> None:
        loop = self._loop
        if loop is not None:
            # A loop that was closed meanwhile has nothing left to be told.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._changed.set)

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: the first signal stops gracefully, a second SIGINT at once."""
        self._captured_signals.append(number)
        if self._should_exit and number == signal.SIGINT:
            self.force_exit = True
        else:
            self.should_exit = True

    @contextlib.contextmanager
    def _capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        # Raised again, so that the process ends as one that was signalled, and an embedding program hears of it.
        for number in reversed(self._captured_signals):
            signal.raise_signal(number)


def fail(error: StartupError) -> int:
    """Prints why the server cannot start, and gives the exit code."""
    if error.traceback:
        print(error.traceback, file=sys.stderr)
    logger.error(str(error))
    return error.exit_code
