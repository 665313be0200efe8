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
        # Requests that have been checked.
        self._checked: set[int] = set()
        self.stalls.listeners.append(self._blocked.append)

    async def settle(self) -> None:
        """Waits on the loop until whatever has happened so far was told of."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def check(self, number: int | None = None) -> None:
        """Raises the first stall of a request since the last check, or one of nobody's.

        number: the request's; None where there will be no others: a stall is raised then whoever has caused it.

        Raises:
            EventLoopBlocked: there was one.
        """
        if number is not None:
            self._checked.add(number)
        told = [stall for stall in self._blocked[:] if number is None or self._is_due(stall)]
        self._blocked[:] = [stall for stall in self._blocked if stall not in told]
        if told:
            raise blocked(next((stall for stall in told if stall["request"] == number), told[0]))

    def _is_due(self, stall: dict[str, Any]) -> bool:
        """Whether nobody else is to hear of it: a request that has not ended yet will, when it does."""
        return stall["request"] is None or stall["request"] in self._checked


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
