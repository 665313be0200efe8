"""A worker process, seen from inside (`run_worker`) and from the supervisor (`Worker`)."""

from __future__ import annotations

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

from overdrive.config import Config
from overdrive.errors import StartupError
from overdrive.server import Server, fail
from overdrive.share import SharedCounters

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

# Spawned, not forked: a fork would carry the supervisor's threads' locks and the user's half-used modules along.
_SPAWN = multiprocessing.get_context("spawn")

PING = b"ping"
PONG = b"pong"
READY = b"ready"


class Worker:
    """One worker process.

    It says "ready" when it serves and answers pings from a thread of its own, so that an answer means that its
    interpreter runs, even while its loop is busy.
    """

    def __init__(self, config: Config, sockets: Sequence[socket.socket], shared: SharedCounters | None) -> None:
        self.slot = shared.slot if shared is not None else 0
        self.ready = False
        # Told to end: its end is no news.
        self.stopping = False
        self.started_at = time.monotonic()
        self.connection, theirs = _SPAWN.Pipe()
        self._pinged_at: float | None = None
        self._process: SpawnProcess = _SPAWN.Process(
            target=run_worker, args=(config, list(sockets), shared, theirs), name="overdrive-worker"
        )
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid or 0

    @property
    def sentinel(self) -> int:
        """Readable when the process has ended."""
        return self._process.sentinel

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.exitcode

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def read_messages(self) -> None:
        """Takes what the worker has sent."""
        try:
            while self.connection.poll():
                message = self.connection.recv_bytes()
                if message == READY:
                    self.ready = True
                elif message == PONG:
                    self._pinged_at = None
        except (EOFError, OSError):
            # It is ending; its sentinel tells the rest.
            pass

    def ping(self, now: float, timeout: float) -> bool:
        """Sends a ping unless one is under way. False when that has waited longer than `timeout` seconds."""
        if self._pinged_at is not None:
            return now - self._pinged_at <= timeout
        try:
            self.connection.send_bytes(PING)
            self._pinged_at = now
        except OSError:
            pass
        return True

    def terminate(self) -> None:
        """Asks it to end gracefully."""
        self.stopping = True
        if self.is_alive:
            self._process.terminate()

    def kill(self) -> None:
        """Ends it at once."""
        if self.is_alive:
            self._process.kill()

    def join(self, timeout: float | None = None) -> bool:
        """Waits for its end; False when it did not come."""
        self._process.join(timeout)
        return not self._process.is_alive()

    def close(self) -> None:
        """Gives its resources back, after its end."""
        self.connection.close()
        self._process.close()


def run_worker(
    config: Config, sockets: list[socket.socket], shared: SharedCounters | None, connection: Connection
) -> None:
    """The worker's main function."""
    # What `Config` did in the supervisor has to be done again here: logging belongs to a process.
    config.__post_init__()
    server = _WorkerServer(config, shared, connection)
    threading.Thread(target=server.answer_supervisor, name="overdrive-health", daemon=True).start()
    try:
        server.run(sockets)
    except StartupError as error:
        sys.exit(fail(error))
    except KeyboardInterrupt:
        # Ctrl+C goes to the whole group of processes; the supervisor tells its end.
        pass


class _WorkerServer(Server):
    """Tells the supervisor when it serves, and ends when that has vanished."""

    def __init__(self, config: Config, shared: SharedCounters | None, connection: Connection) -> None:
        super().__init__(config, shared=shared)
        self._connection = connection
        self._sending = threading.Lock()

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._send(READY)

    def answer_supervisor(self) -> None:
        """Answers pings; when the supervisor is gone, nobody would ever stop this worker, so it stops itself."""
        try:
            while True:
                if self._connection.recv_bytes() == PING:
                    self._send(PONG)
        except (EOFError, OSError):
            if self.started:
                self.should_exit = True
            else:
                os.kill(os.getpid(), signal.SIGTERM)

    def _send(self, message: bytes) -> None:
        with self._sending:
            try:
                self._connection.send_bytes(message)
            except OSError:
                pass
