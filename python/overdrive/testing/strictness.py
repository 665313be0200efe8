"""Strict clients: whoever blocks the loop of a test fails it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from overdrive.config import WATCH_MODES
from overdrive.watch import LoopWatch
from overdrive.watch.blocked import blocked

# What a client does that is not told: "off", or "strict".
VARIABLE = "OVERDRIVE_WATCH"
# A stall is told of some turns after its end.
TURNS = 8


class Strictness(LoopWatch):
    """The watch on one loop of a client's. Its methods are for the test's thread, but for `settle`."""

    def __init__(self, threshold: float) -> None:
        super().__init__(threshold, strict=True)
        self._blocked: list[dict[str, Any]] = []
        self.stalls.listeners.append(self._blocked.append)

    async def settle(self) -> None:
        """Waits on the loop until whatever has happened so far was told of."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def check(self) -> None:
        """Raises the first stall since the last check.

        Raises:
            EventLoopBlocked: there was one.
        """
        told, self._blocked[:] = self._blocked[:], []
        if told:
            raise blocked(told[0])


def is_strict(mode: str | None) -> bool:
    """Whether a client is, by its argument or else by the environment, which may be meant for a server.

    Raises:
        ValueError: no mode of the watch's.
    """
    chosen = os.environ.get(VARIABLE) or "off" if mode is None else mode
    if chosen not in WATCH_MODES:
        where = "watch" if mode is not None else VARIABLE
        raise ValueError(f"{where}: one of {', '.join(WATCH_MODES)}, not {chosen!r}")
    return chosen == "strict"
