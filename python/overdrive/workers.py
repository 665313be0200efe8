"""A worker process, seen from inside (`run_worker`) and from its supervisor (`Worker`).

They talk over one pipe, in single bytes: the worker says that it lives, and later that it serves; the supervisor pings,
and a thread of the worker's answers. So an answer means that its interpreter runs, even while its loop is busy, and the
pipe's end means that the other side is gone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from overdrive._overdrive import InspectorFeed
from overdrive.config import Config
from overdrive.errors import StartupError
from overdrive.inspection import Inspection
from overdrive.server import Server, fail
from overdrive.share import SharedCounters

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from overdrive.watch import LoopWatch

# Spawned, not forked: a fork would carry the locks of the supervisor's threads and the user's half-used modules along.
_SPAWN = multiprocessing.get_context("spawn")

ALIVE = b"a"
READY = b"r"
PING = b"?"
PONG = b"!"
REPORT = b"#"


class Worker:
    """One worker process. `ready` is True from when it serves."""

    def __init__(
        self,
        config: Config,
        sockets: Sequence[socket.socket],
        shared: SharedCounters | None = None,
        inspection: Inspection | None = None,
    ) -> None:
        self.slot = shared.slot if shared is not None else 0
        self.ready = False
        self.started_at = time.monotonic()
        self._connection, theirs = _SPAWN.Pipe()
        news = _news(inspection, self.slot + 1)
        # Before that it imports the user's main module, as spawned processes do, and cannot answer.
        self._answers = False
        self._gone = False
        self._pinged_at: float | None = None
        self._process: SpawnProcess = _SPAWN.Process(
            target=run_worker, args=(config, list(sockets), shared, theirs, news), name="overdrive-worker"
        )
        self._process.start()
        theirs.close()
        if news is not None:
            news.close()
        # Kept, as a closed process knows it no more.
        self.pid = self._process.pid or 0

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal, None while it runs."""
        return self._process.exitcode

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    @property
    def sources(self) -> list[int | Connection]:
        """What becomes readable when the worker says something or ends."""
        return [self._process.sentinel] if self._gone else [self._process.sentinel, self._connection]

    def read_messages(self) -> None:
        """Takes what the worker has said."""
        try:
            while not self._gone and self._connection.poll():
                message = self._connection.recv_bytes()
                self._answers = True
                if message == READY:
                    self.ready = True
                elif message == PONG:
                    self._pinged_at = None
        except (EOFError, OSError):
            # It is ending; the sentinel tells when it has.
            self._gone = True

    def ping(self, now: float, patience: float) -> bool:
        """Sends a ping unless one is under way. False when that has waited longer than `patience` seconds."""
        if not self._answers or self._gone:
            return True
        if self._pinged_at is not None:
            return now - self._pinged_at <= patience
        self._pinged_at = now
        with contextlib.suppress(OSError):
            self._connection.send_bytes(PING)
        return True

    def report(self) -> None:
        """Has it print its verdicts, even while its loop is blocked."""
        with contextlib.suppress(OSError):
            self._connection.send_bytes(REPORT)

    def terminate(self) -> None:
        """Asks it to end gracefully."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def join(self) -> None:
        """Waits for its end."""
        self._process.join()

    def close(self) -> None:
        """Gives its resources back, after its end."""
        self._connection.close()
        self._process.close()


def run_worker(
    config: Config,
    sockets: list[socket.socket],
    shared: SharedCounters | None,
    connection: Connection,
    news: socket.socket | None,
) -> None:
    """The worker's main function. `news`: where the supervisor wants to hear what the watch sees."""
    # Logging belongs to a process. The rest of the configuration came along.
    config.configure_logging()
    # multiprocessing has put /dev/null there; a debugger in the user's code needs the terminal.
    with contextlib.suppress(OSError):
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    server = _WorkerServer(config, shared, connection, news)
    threading.Thread(target=server.answer_supervisor, name="overdrive-health", daemon=True).start()
    try:
        server.run(sockets)
    except StartupError as error:
        sys.exit(fail(error))
    except KeyboardInterrupt:
        # Ctrl+C goes to the whole group of processes; the supervisor tells of its end.
        pass


def _news(inspection: Inspection | None, number: int) -> socket.socket | None:
    """A worker's end of a pair of sockets, over which it tells its news."""
    if inspection is None:
        return None
    ours, theirs = socket.socketpair()
    inspection.add_worker(ours, number)
    ours.close()
    return theirs


class _WorkerServer(Server):
    """Tells the supervisor when it serves, and ends when that has vanished."""

    def __init__(
        self, config: Config, shared: SharedCounters | None, connection: Connection, news: socket.socket | None
    ) -> None:
        super().__init__(config, shared=shared)
        self._connection = connection
        self._news = news
        self.report_title = f"Worker [{os.getpid()}]:\n"
        self._sending = threading.Lock()

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._send(READY)

    def _inspect(self, watch: LoopWatch) -> Inspection | InspectorFeed | None:
        return InspectorFeed(self._news.fileno(), watch.engine) if self._news is not None else super()._inspect(watch)

    def answer_supervisor(self) -> None:
        """Answers pings, and prints reports.

        Without a supervisor nobody would ever stop this worker, so then it stops itself.
        """
        self._send(ALIVE)
        try:
            while True:
                message = self._connection.recv_bytes()
                if message == PING:
                    self._send(PONG)
                elif message == REPORT and self.watch is not None:
                    self.print_report()
        except (EOFError, OSError):
            if self.started:
                self.should_exit = True
            else:
                os.kill(os.getpid(), signal.SIGTERM)

    def _send(self, message: bytes) -> None:
        # A supervisor that is gone is noticed where it is read from.
        with self._sending, contextlib.suppress(OSError):
            self._connection.send_bytes(message)
