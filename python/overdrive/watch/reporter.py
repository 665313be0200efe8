"""The thread that tells of what does not end: a stall that goes on, a pool that stays full.

It may wait for the GIL, or for a lock of the log's that the loop's thread holds: nothing depends on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from overdrive._overdrive import Watch
from overdrive.watch.pool import PoolWatch, Shortage
from overdrive.watch.stalls import still
from overdrive.watch.telling import Telling

# Seconds between two looks.
PERIOD = 0.5
# From so many seconds on a stall that goes on is told of, and again whenever it has lasted twice as long.
ENDLESS = 2.0

logger = logging.getLogger("overdrive.watch")


class Reporter:
    """Looks until it is stopped. `on_shortage` hears of each shortage once, when it is first told of."""

    def __init__(self, watch: Watch, pool: PoolWatch, on_shortage: Callable[[Shortage], object]) -> None:
        self._watch = watch
        self._pool = pool
        self._on_shortage = on_shortage
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="overdrive-report", daemon=True)
        self._next_stall = ENDLESS
        self._told: Shortage | None = None
        self._telling = Telling()

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more. Waits a moment at most: the thread may be at a lock that is never released."""
        self._stop.set()
        self._watch.end_pauses()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._watch.pause(PERIOD)
            for look in (self._look_at_stall, self._look_at_pool):
                try:
                    look()
                except Exception:
                    # What goes wrong in one look is not to silence those to come.
                    if self._telling.due(look.__name__) is not None:
                        logger.exception("the watch has failed to look, and goes on")

    def _look_at_stall(self) -> None:
        stall = self._watch.under_way()
        if stall is None or stall["seconds"] < ENDLESS:
            self._next_stall = ENDLESS
        elif stall["seconds"] >= self._next_stall:
            self._next_stall = stall["seconds"] * 2
            logger.warning("%s", still(stall))

    def _look_at_pool(self) -> None:
        found = self._pool.look()
        told, self._told = self._told, found
        if found is None:
            return
        if told is None:
            self._on_shortage(found)
            logger.warning("%s", found)
        elif found.is_stuck and not told.is_stuck:
            logger.warning("%s%s", found, _stack_text(found))


def _stack_text(found: Shortage) -> str:
    # There is none of the user's where functions in C were given to the pool.
    if not found.holders:
        return ""
    lines = (f"\n  {file}:{line}, in {function}" for file, line, function in found.holders[0].stack[:30])
    return "\nThe stack of one of its threads, innermost first:" + "".join(lines)
