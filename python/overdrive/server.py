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
from collections.abc import Awaitable, Iterator, Sequence
from types import FrameType

from overdrive._overdrive import Engine, InspectorFeed
from overdrive.config import Config
from overdrive.errors import STALLED, STARTUP_FAILURE, StartupError
from overdrive.inspection import Inspection
from overdrive.lifespan import Lifespan
from overdrive.listener import Listener
from overdrive.plans import CompiledRoutes
from overdrive.share import SharedCounters
from overdrive.watch import LoopWatch

HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds that cancelled requests get to end, before they are left behind.
CANCEL_GRACE = 1.0

logger = logging.getLogger("overdrive.error")


class Server:
    """Serves the application of a `Config` on one event loop.

    `started` is True while requests are served. `should_exit` and `force_exit` may be set from any thread and act at
    once: the first shuts down gracefully, the second does not wait for what still runs.
    """

    def __init__(self, config: Config, *, shared: SharedCounters | None = None) -> None:
        self.config = config
        self.started = False
        self.engine: Engine | None = None
        self.lifespan: Lifespan | None = None
        self.routes: CompiledRoutes | None = None
        self.watch: LoopWatch | None = None
        self._shared = shared
        self._inspection: Inspection | InspectorFeed | None = None
        # Above a printed report, where there may be several.
        self.report_title = ""
        self._listener: Listener | None = None
        self._request_limit: int | None = None
        self._should_exit = False
        self._force_exit = False
        self._loop: asyncio.AbstractEventLoop | None = None
        # The two flags as the loop sees them; made anew for each loop.
        self._exit = asyncio.Event()
        self._force = asyncio.Event()
        self._captured_signals: list[int] = []

    @property
    def should_exit(self) -> bool:
        """Whether the server has been told to stop."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        self._pass_on()

    @property
    def force_exit(self) -> bool:
        """Whether a stop waits for nothing."""
        return self._force_exit

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        self._force_exit = value
        self._pass_on()

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The sockets that are listened on, with the port that was taken for port 0."""
        return tuple(self._listener.sockets) if self._listener is not None else ()

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
        with self.capture_signals():
            await self._serve(sockets)

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Binds, starts the application, then listens."""
        config = self.config
        self._listener = listener = Listener(sockets, "") if sockets is not None else config.bind()
        self.lifespan = Lifespan(config.loaded_app, config.lifespan)
        engine = self._attach(self.lifespan)
        await self._unless_forced(self.lifespan.startup())
        if self._force_exit:
            return
        if self.lifespan.startup_failed:
            raise SystemExit(STARTUP_FAILURE)
        try:
            listener.listen(config.backlog)
        except StartupError:
            await self._unless_forced(self.lifespan.shutdown())
            raise
        self.routes = CompiledRoutes(config.loaded_app, engine, config.compile)
        try:
            with self.watch.suspended() if self.watch is not None else contextlib.nullcontext():
                self.routes.start()
        except StartupError:
            await self._unless_forced(self.lifespan.shutdown())
            raise
        if self.watch is not None:
            self.watch.measure()
        if self._shared is not None:
            engine.share(*self._shared.place)
        for sock in listener.sockets:
            engine.listen(sock.fileno())
        if sockets is None:
            log_address(listener.address)
        self.started = True

    def _attach(self, lifespan: Lifespan) -> Engine:
        """The engine on the running loop: before the application starts, as that is watched, too."""
        config = self.config
        if config.limit_max_requests is not None:
            self._request_limit = config.limit_max_requests + random.randint(0, config.limit_max_requests_jitter)
        if config.watch != "off":
            self.watch = LoopWatch(config.watch_threshold, strict=config.watch == "strict")
        # Kept before anything can fail: it has threads that are to be ended.
        self.engine = engine = Engine(
            config.loaded_app,
            asyncio.get_running_loop(),
            config.engine_settings(self._request_limit),
            # Not the lifespan task's: what it sets there, requests do not see under uvicorn either.
            context=contextvars.copy_context(),
            state=lifespan.state,
            on_request_limit=self._request_limit_reached,
            watch=self.watch.engine if self.watch is not None else None,
        )
        engine.attach()
        if self.watch is not None:
            self.watch.start(asyncio.get_running_loop())
            self._inspection = self._inspect(self.watch)
        return engine

    def _inspect(self, watch: LoopWatch) -> Inspection | InspectorFeed | None:
        """What shows the watch to those who look; a worker's supervisor has the page."""
        return Inspection.open(self.config, watch) if self.config.inspect_address is not None else None

    async def main_loop(self) -> None:
        """Waits until the server is told to stop."""
        await self._exit.wait()

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Stops accepting, lets requests finish, tells the application.

        Requests that run longer than `timeout_graceful_shutdown` are cancelled. `sockets` is for callers used to
        uvicorn: they are closed, too.
        """
        logger.info("Shutting down")
        if self._listener is not None:
            self._listener.close()
        for sock in sockets or ():
            sock.close()
        if self.engine is not None and not self._force_exit:
            await self._drain(self.engine)
            self._log_counts(self.engine)
        if self.lifespan is not None and not self._force_exit:
            await self._unless_forced(self.lifespan.shutdown())
        if self.engine is not None and self._force_exit:
            # The loop would cancel them, too, but then they would look like failures.
            self.engine.cancel("Task cancelled, exit was forced")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles SIGINT and SIGTERM meanwhile, in the main thread, and raises those that came again afterwards.

        So the process ends as one that was signalled, and an embedding program hears of it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        if (
            self.config.watch != "off"
            and hasattr(signal, "SIGUSR1")
            and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        ):
            before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda number, frame: self.print_report())
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        while self._captured_signals:
            signal.raise_signal(self._captured_signals.pop())

    def print_report(self) -> None:
        """Prints the verdict on each endpoint to standard error."""
        if self.watch is None:
            print("There is no report: the watch is off.", file=sys.stderr)
            return
        colors = self.config.use_colors if self.config.use_colors is not None else sys.stderr.isatty()
        print(self.report_title + self.watch.report(colors=colors), file=sys.stderr, flush=True)

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: the first signal stops gracefully, a second SIGINT at once."""
        self._captured_signals.append(number)
        if self._should_exit and number == signal.SIGINT:
            self.force_exit = True
        else:
            self.should_exit = True

    async def _serve(self, sockets: Sequence[socket.socket] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._exit, self._force = asyncio.Event(), asyncio.Event()
        # They may have been set before there was a loop.
        self._set_events()
        if not self.config.loaded:
            self.config.load()
        process = os.getpid()
        _log_process("Started server process [%s]", process)
        try:
            await self.startup(sockets)
            if self.started:
                await self.main_loop()
                await self.shutdown()
        finally:
            was_started, self.started = self.started, False
            if self.routes is not None:
                self.routes.stop()
            if self.engine is not None:
                self.engine.close()
            if self._inspection is not None:
                self._inspection.close()
            if self.watch is not None:
                self.watch.stop()
            if self.lifespan is not None:
                self.lifespan.cancel()
            if self._listener is not None:
                self._listener.close()
            self._loop = None
        if was_started and self.config.report:
            # Once nothing blocks any more: what the application did at its end is a part of it.
            self.print_report()
        if was_started:
            _log_process("Finished server process [%s]", process)
        if self.watch is not None and self.watch.strict and self.watch.stalls.count:
            logger.error(
                "%d stall(s) of the event loop, which --watch strict takes for an error.", self.watch.stalls.count
            )
            raise SystemExit(STALLED)

    def _log_counts(self, engine: Engine) -> None:
        """What would explain a slow application, on level debug."""
        compilation = self.routes.compilation if self.routes is not None else None
        if compilation is not None:
            answered, handed_over = compilation.counts()
            logger.debug("Plans answered %d request(s)", answered)
            for reason, count in sorted(handed_over.items(), key=lambda item: -item[1]):
                logger.debug("FastAPI's own code was given %d request(s): %s", count, reason)
        calls, waited, longest = engine.thread_waits
        if calls:
            logger.debug(
                "%d call(s) on threads waited %.3f s in all, %.3f s at the longest, before they began",
                calls,
                waited,
                longest,
            )

    async def _drain(self, engine: Engine) -> None:
        drained = engine.drain()
        if drained.done():
            return
        if engine.connections:
            logger.info("Waiting for connections to close. (CTRL+C to force quit)")
        else:
            logger.info("Waiting for background tasks to complete. (CTRL+C to force quit)")
        if await self._unless_forced(drained, self.config.timeout_graceful_shutdown):
            return
        logger.error("Cancel %d running task(s), timeout graceful shutdown exceeded", engine.tasks)
        engine.cancel("Task cancelled, timeout graceful shutdown exceeded")
        await self._unless_forced(drained, CANCEL_GRACE)

    async def _unless_forced(self, awaitable: Awaitable[None], seconds: float | None = None) -> bool:
        """Waits for `awaitable`, or until `force_exit` is set; False when neither came within the time."""
        awaited = asyncio.ensure_future(awaitable)
        forced = asyncio.ensure_future(self._force.wait())
        try:
            await asyncio.wait((awaited, forced), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if awaited.done():
                await awaited
            return awaited.done() or forced.done()
        finally:
            forced.cancel()
            # The engine's future is not ours to end; a coroutine that nobody waits for is.
            if awaited is not awaitable:
                awaited.cancel()

    def _request_limit_reached(self) -> None:
        logger.info("Maximum request limit of %d exceeded. Terminating process.", self._request_limit)
        self.should_exit = True

    def _pass_on(self) -> None:
        loop = self._loop
        if loop is not None:
            # A loop that was closed meanwhile has nothing left to be told.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._set_events)

    def _set_events(self) -> None:
        # A forced exit is an exit.
        if self._should_exit or self._force_exit:
            self._exit.set()
        if self._force_exit:
            self._force.set()


def log_address(address: str) -> None:
    """The line that says where the server is to be reached."""
    logger.info(
        "Overdrive running on %s (Press CTRL+C to quit)",
        address,
        extra={"color_message": "Overdrive running on \x1b[1m%s\x1b[0m (Press CTRL+C to quit)"},
    )


def fail(error: StartupError) -> int:
    """Tells why the server cannot start: the user's traceback, if any, and one line. Gives the exit code."""
    if error.traceback:
        print(error.traceback, file=sys.stderr)
    if logger.hasHandlers() and logger.isEnabledFor(logging.ERROR):
        logger.error("%s", error)
    else:
        # Logging is not set up yet, or shows nothing; the user still needs to know.
        print(f"ERROR:    {error}", file=sys.stderr)
    return error.exit_code


def _log_process(message: str, process: int) -> None:
    logger.info(message, process, extra={"color_message": message.replace("%s", "\x1b[36m%s\x1b[0m")})
