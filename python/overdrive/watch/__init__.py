"""The watch: what the event loop does, and who blocks it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from overdrive._overdrive import Watch
from overdrive.watch.endpoints import describe
from overdrive.watch.faults import Faults
from overdrive.watch.origin import ORIGIN
from overdrive.watch.pool import PoolWatch, Shortage
from overdrive.watch.reporter import Reporter
from overdrive.watch.stacks import libraries
from overdrive.watch.stalls import Stalls
from overdrive.watch.telemetry import measure
from overdrive.watch.verdict import Verdict


class LoopWatch:
    """Watches one event loop.

    threshold: seconds; from there on a silence of the loop is a stall.
    strict: stalls are errors, and it is known where a coroutine was made that nobody awaited.
    """

    def __init__(self, threshold: float, *, strict: bool = False) -> None:
        self.threshold = threshold
        self.strict = strict
        self.stalls = Stalls(strict=strict)
        self.engine = Watch(
            threshold=threshold, describe=describe, on_stall=self.stalls.add, origin=ORIGIN, libraries=libraries()
        )
        self.faults = Faults(self.engine, traces_origins=strict)
        self._pool: PoolWatch | None = None
        self._reporter: Reporter | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watches what the engine does not see. To be called on the loop's thread."""
        self.faults.install(loop)
        self._pool = PoolWatch(self.engine, loop)
        self._pool.start()
        self._reporter = Reporter(self.engine, self._pool, self._note_shortage)
        self._reporter.start()

    def stop(self) -> None:
        """Ends what `start` has begun; what is known stays known."""
        self.faults.remove()
        if self._reporter is not None:
            self._reporter.stop()
            self._reporter = None
        if self._pool is not None:
            self._pool.stop()
            self._pool = None

    def measure(self) -> None:
        """Has the application's OpenTelemetry, if it has one, read the numbers."""
        measure(self.engine)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Lets the server itself keep the loop meanwhile."""
        self.engine.suspend()
        try:
            yield
        finally:
            self.engine.resume()

    def verdicts(self) -> list[Verdict]:
        """The verdict on each endpoint so far."""
        return [Verdict(**verdict) for verdict in self.engine.verdicts()]

    def report(self, *, colors: bool = False) -> str:
        """The verdicts as a table."""
        return self.engine.report(colors=colors)

    def _note_shortage(self, shortage: Shortage) -> None:
        where = shortage.holders[0] if shortage.holders else None
        place = f"; most of them in {where.function} at {where.line}" if where is not None else ""
        self.faults.note(
            f"the thread pool was full{place}",
            "more threads (the total_tokens of anyio's default limiter), or `async def` with an async driver",
        )
