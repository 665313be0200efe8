"""Keeps `--workers` processes alive on one socket.

SIGTERM and SIGINT drain and end, SIGHUP replaces the workers one by one, SIGTTIN and SIGTTOU add and remove one, and
SIGUSR1 has each print its verdicts.
Nothing is shared with the workers but the listening sockets and the file of connection counters, so that a crash
corrupts nothing.

A worker is in one of three places: `_workers` serve or are starting, `_replacement` is starting in order to take the
place of the first of `_to_replace`, `_leaving` have been told to end. Whoever is dead is taken out by `_bury` alone.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from multiprocessing.connection import wait

from overdrive.config import Config
from overdrive.errors import STALLED
from overdrive.inspection import Inspection
from overdrive.listener import Listener
from overdrive.share import SLOTS, SharedCounters
from overdrive.signals import SignalQueue
from overdrive.workers import Worker

# Seconds within which a worker's death is held against the application, and not against a request: the next one is then
# started later and later.
YOUNG = 5.0
FIRST_DELAY = 0.25
LONGEST_DELAY = 15.0
# Seconds between two pings of a worker.
PING_INTERVAL = 1.0
# A rolling restart has as many again for a moment.
MOST_WORKERS = SLOTS // 2

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU)

logger = logging.getLogger("overdrive.error")


class Supervisor:
    """Starts, watches and replaces workers."""

    def __init__(self, config: Config, listener: Listener) -> None:
        self.config = config
        self._listener = listener
        self._shared = SharedCounters()
        self._signals = SignalQueue()
        self._wanted = min(config.workers or 1, MOST_WORKERS)
        self._workers: list[Worker] = []
        self._leaving: list[Worker] = []
        self._to_replace: deque[Worker] = deque()
        self._replacement: Worker | None = None
        self._any_was_ready = False
        self._stopping = False
        self._exit_code = 0
        self._delay = 0.0
        self._start_after = 0.0
        self._ping_at = 0.0
        self._inspection: Inspection | None = None

    def run(self) -> int:
        """Runs until told to end; gives the exit code."""
        logger.info("Started parent process [%d]", os.getpid())
        with self._signals.collecting(SIGNALS):
            try:
                if self.config.inspect_address is not None:
                    self._inspection = Inspection.open(self.config)
                # The first alone: an application that cannot start says so once, not once a worker.
                self._workers.append(self._spawn())
                while not self._stopping:
                    self._wait()
                    self._obey()
                    self._bury()
                    self._check_health()
                    self._roll()
                    self._fill()
                self._stop_all()
            finally:
                for worker in self._all():
                    worker.kill()
                if self._inspection is not None:
                    self._inspection.close()
        logger.info("Stopping parent process [%d]", os.getpid())
        return self._exit_code

    def _wait(self) -> None:
        """Until something happens or is due."""
        due = self._ping_at
        if len(self._workers) < self._wanted and self._may_start_more():
            due = min(due, self._start_after)
        workers = self._all()
        sources = [source for worker in workers for source in worker.sources]
        wait([self._signals.fileno(), *sources], max(0.0, due - time.monotonic()))
        for worker in workers:
            worker.read_messages()
        if not self._any_was_ready and any(worker.ready for worker in workers):
            self._any_was_ready = True

    def _all(self) -> list[Worker]:
        return [*self._workers, *self._leaving, *([self._replacement] if self._replacement else [])]

    def _obey(self) -> None:
        for number in self._signals.take():
            logger.info("Received %s", number.name)
            if number in (signal.SIGINT, signal.SIGTERM):
                self._stopping = True
            elif number == signal.SIGHUP:
                self._to_replace.extend(worker for worker in self._workers if worker not in self._to_replace)
            elif number == signal.SIGUSR1:
                for worker in self._workers:
                    worker.report()
            elif number == signal.SIGTTIN:
                self._change_wanted(+1)
            else:
                self._change_wanted(-1)

    def _change_wanted(self, by: int) -> None:
        if not 1 <= self._wanted + by <= MOST_WORKERS:
            logger.info("The number of workers stays %d.", self._wanted)
            return
        self._wanted += by
        logger.info("The number of workers is %d now.", self._wanted)

    def _bury(self) -> None:
        """Takes out the dead."""
        for worker in self._all():
            if worker.is_alive:
                continue
            # Its last words may have come after `_wait` looked.
            worker.read_messages()
            self._any_was_ready = self._any_was_ready or worker.ready
            self._shared.clear(worker.slot)
            if worker.exit_code == STALLED and self.config.watch == "strict":
                self._exit_code = STALLED
            if worker is self._replacement:
                self._replacement = None
                self._to_replace.clear()
                logger.error("The new worker [%d] ended %s; the old ones stay.", worker.pid, _manner(worker))
            elif worker in self._leaving:
                self._leaving.remove(worker)
            else:
                self._workers.remove(worker)
                if worker in self._to_replace:
                    self._to_replace.remove(worker)
                self._mourn(worker)
            worker.close()

    def _mourn(self, worker: Worker) -> None:
        """A worker has ended that was not told to by us."""
        code = worker.exit_code
        if not self._any_was_ready:
            logger.error("No worker can start: the first ended %s. See its error above.", _manner(worker))
            self._exit_code = code if code is not None and code > 0 else 1
            self._stopping = True
        elif code != 0 and (not worker.ready or time.monotonic() - worker.started_at < YOUNG):
            self._delay = min(max(self._delay * 2, FIRST_DELAY), LONGEST_DELAY)
            self._start_after = time.monotonic() + self._delay
            logger.error(
                "Worker [%d] ended %s soon after its start; the next starts in %g s.",
                worker.pid,
                _manner(worker),
                self._delay,
            )
        else:
            self._delay = 0.0
            logger.info("Worker [%d] ended %s; starting another.", worker.pid, _manner(worker))

    def _check_health(self) -> None:
        now = time.monotonic()
        if now < self._ping_at:
            return
        self._ping_at = now + PING_INTERVAL
        for worker in self._all():
            if not worker.ping(now, self.config.timeout_worker_healthcheck):
                logger.error("Worker [%d] does not respond; killing it.", worker.pid)
                worker.kill()

    def _roll(self) -> None:
        """One step of a rolling restart: the new worker serves before the old one is told to end."""
        if self._replacement is not None and self._replacement.ready:
            self._workers.append(self._replacement)
            self._replacement = None
            if self._to_replace:
                self._dismiss(self._to_replace[0])
        if self._replacement is None and self._to_replace:
            self._replacement = self._spawn()

    def _fill(self) -> None:
        """Has as many workers as are wanted."""
        while len(self._workers) > self._wanted:
            self._dismiss(self._workers[-1])
        if self._may_start_more() and time.monotonic() >= self._start_after:
            while len(self._workers) < self._wanted:
                self._workers.append(self._spawn())

    def _may_start_more(self) -> bool:
        return self._any_was_ready and not self._stopping

    def _spawn(self) -> Worker:
        taken = {worker.slot for worker in self._all()}
        slot = next(slot for slot in range(SLOTS) if slot not in taken)
        return Worker(self.config, self._listener.sockets, self._shared.at(slot), self._inspection)

    def _dismiss(self, worker: Worker) -> None:
        self._workers.remove(worker)
        if worker in self._to_replace:
            self._to_replace.remove(worker)
        self._leaving.append(worker)
        worker.terminate()

    def _stop_all(self) -> None:
        """Tells all to end and waits until they have; another SIGINT ends the waiting."""
        # While this process has them open, the kernel goes on taking connections, which then nobody serves.
        self._listener.close()
        self._leaving, self._workers, self._replacement = self._all(), [], None
        self._to_replace.clear()
        for worker in self._leaving:
            worker.terminate()
        while self._leaving:
            self._wait()
            if signal.SIGINT in self._signals.take():
                for worker in self._leaving:
                    worker.kill()
            self._check_health()
            self._bury()


def _manner(worker: Worker) -> str:
    code = worker.exit_code
    if code is not None and code < 0:
        try:
            return f"by {signal.Signals(-code).name}"
        except ValueError:
            return f"by signal {-code}"
    return f"with exit code {code}"
