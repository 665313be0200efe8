"""Keeps `--workers` processes alive on one socket.

SIGTERM and SIGINT drain and end, SIGHUP replaces the workers one by one, SIGTTIN and SIGTTOU add and remove one. Nothing is
shared with the workers but the listening sockets and the file of connection counters, so that a crash corrupts nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import wait
from types import FrameType

from overdrive.config import Config
from overdrive.share import SLOTS, SharedCounters
from overdrive.workers import Worker

# A worker that dies younger than this did not die of its requests: the next one is started later and later.
YOUNG = 5.0
FIRST_DELAY = 0.25
LONGEST_DELAY = 15.0
# How often the workers are pinged.
PING_INTERVAL = 1.0

logger = logging.getLogger("overdrive.error")


class Supervisor:
    """Starts, watches and replaces workers. `exit_code` is what the process should end with."""

    def __init__(self, config: Config, sockets: Sequence[socket.socket]) -> None:
        self.config = config
        self.exit_code = 0
        self._sockets = sockets
        self._shared = SharedCounters()
        self._wanted = config.workers or 1
        self._workers: list[Worker] = []
        # Workers told to end, until they have.
        self._leaving: list[Worker] = []
        # Those still to be replaced by a rolling restart.
        self._to_replace: deque[Worker] = deque()
        self._replacement: Worker | None = None
        self._ever_ready = False
        self._stopping = False
        self._signals: deque[signal.Signals] = deque()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._delay = 0.0
        self._start_after = 0.0
        self._pinged = 0.0

    def run(self) -> int:
        """Runs until told to end; gives the exit code."""
        logger.info("Started parent process [%d]", os.getpid())
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, self._signalled) for number in handled}
        try:
            # The first alone: an application that cannot start says so once, not once a worker.
            self._start_worker()
            while not self._stopping:
                self._wait()
                self._take_signals()
                self._bury()
                self._check_health()
                self._roll()
                self._fill()
            self._stop_all()
        finally:
            for worker in (*self._workers, *self._leaving, *([self._replacement] if self._replacement else [])):
                worker.kill()
            for number, handler in before.items():
                signal.signal(number, handler)
        logger.info("Stopping parent process [%d]", os.getpid())
        return self.exit_code

    def _wait(self) -> None:
        """Until something happens, or something is due."""
        watched = self._all()
        now = time.monotonic()
        timeout = max(0.0, self._pinged + PING_INTERVAL - now)
        if len(self._workers) < self._wanted and self._may_start_more():
            timeout = min(timeout, max(0.0, self._start_after - now))
        sources: list[object] = [self._wake_read]
        for worker in watched:
            sources += [worker.sentinel, worker.connection]
        ready = wait(sources, timeout)  # type: ignore[arg-type]
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        for worker in watched:
            if worker.connection in ready:
                was_ready = worker.ready
                worker.read_messages()
                if worker.ready and not was_ready:
                    self._ever_ready = True
                    self._delay = 0.0

    def _all(self) -> list[Worker]:
        return [*self._workers, *self._leaving, *([self._replacement] if self._replacement else [])]

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(signal.Signals(number))
        try:
            os.write(self._wake_write, b"s")
        except BlockingIOError:
            # So many signals wait that the main loop wakes anyway.
            pass

    def _take_signals(self) -> None:
        while self._signals:
            number = self._signals.popleft()
            logger.info("Received %s", number.name)
            if number in (signal.SIGINT, signal.SIGTERM):
                self._stopping = True
            elif number == signal.SIGHUP:
                self._to_replace.extend(worker for worker in self._workers if worker not in self._to_replace)
            elif number == signal.SIGTTIN:
                if self._wanted < SLOTS // 2:
                    self._wanted += 1
                    logger.info("%d workers now", self._wanted)
            elif self._wanted > 1:
                self._wanted -= 1
                logger.info("%d workers now", self._wanted)
                while len(self._workers) > self._wanted:
                    self._dismiss(self._workers[-1])
            else:
                logger.info("One worker is left; it stays.")

    def _bury(self) -> None:
        """Takes note of the dead."""
        for worker in self._all():
            if worker.is_alive:
                continue
            worker.read_messages()
            code = worker.exit_code
            self._shared.clear(worker.slot)
            if worker is self._replacement:
                self._replacement = None
                self._to_replace.clear()
                logger.error("The new worker [%d] ended with code %s; the old ones stay.", worker.pid, code)
            elif worker in self._leaving:
                self._leaving.remove(worker)
            else:
                self._workers.remove(worker)
                if worker in self._to_replace:
                    self._to_replace.remove(worker)
                self._mourn(worker, code)
            worker.close()

    def _mourn(self, worker: Worker, code: int | None) -> None:
        """A worker has died that was to live."""
        if not self._ever_ready:
            # Its own error stands above; the same would befall all others.
            logger.error("No worker could start; see the error above. Giving up.")
            self.exit_code = code if code is not None and code > 0 else 1
            self._stopping = True
            return
        how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
        young = not worker.ready or time.monotonic() - worker.started_at < YOUNG
        if young and code != 0:
            self._delay = min(max(self._delay * 2, FIRST_DELAY), LONGEST_DELAY)
            logger.error("Worker [%d] died %s; another is started in %.2f s.", worker.pid, how, self._delay)
        else:
            self._delay = 0.0
            logger.info("Worker [%d] ended %s; another is started.", worker.pid, how)
        self._start_after = time.monotonic() + self._delay

    def _check_health(self) -> None:
        now = time.monotonic()
        if now - self._pinged < PING_INTERVAL:
            return
        self._pinged = now
        for worker in self._workers:
            if not worker.ping(now, self.config.timeout_worker_healthcheck):
                logger.error("Worker [%d] does not respond; killing it.", worker.pid)
                worker.kill()

    def _roll(self) -> None:
        """One step of a rolling restart: the new worker serves before the old one is told to end."""
        if self._replacement is not None:
            if not self._replacement.ready:
                return
            self._workers.append(self._replacement)
            self._replacement = None
            if self._to_replace:
                self._dismiss(self._to_replace.popleft())
        while self._to_replace and self._to_replace[0] not in self._workers:
            self._to_replace.popleft()
        if self._to_replace:
            self._replacement = self._spawn()

    def _fill(self) -> None:
        if self._stopping or not self._may_start_more() or time.monotonic() < self._start_after:
            return
        while len(self._workers) < self._wanted:
            self._start_worker()

    def _may_start_more(self) -> bool:
        return self._ever_ready or not self._workers

    def _start_worker(self) -> None:
        self._workers.append(self._spawn())

    def _spawn(self) -> Worker:
        taken = {worker.slot for worker in self._all()}
        slot = next(slot for slot in range(SLOTS) if slot not in taken)
        self._shared.clear(slot)
        return Worker(self.config, self._sockets, self._shared.at(slot))

    def _dismiss(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._leaving.append(worker)
        worker.terminate()

    def _stop_all(self) -> None:
        everyone = self._all()
        for worker in everyone:
            worker.terminate()
        waiting = everyone
        while waiting:
            wait([self._wake_read, *(worker.sentinel for worker in waiting)])
            waiting = [worker for worker in waiting if worker.is_alive]
            if signal.SIGINT in self._signals and waiting:
                # A second Ctrl+C: no more patience.
                for worker in waiting:
                    worker.kill()
            self._signals.clear()
            self._drain_wake_pipe()
        for worker in everyone:
            worker.join()

    def _drain_wake_pipe(self) -> None:
        while wait([self._wake_read], 0):
            os.read(self._wake_read, 4096)
