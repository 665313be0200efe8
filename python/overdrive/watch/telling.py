"""How often the log hears of what happens again and again."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass

# The same thing is told once in so many seconds.
QUIET = 10.0
# Things that are kept apart; whatever comes later is never told of.
MOST_THINGS = 1000


@dataclass
class _Thing:
    told: float
    untold: int = 0


class Telling:
    """Says when a thing is to be told of again. For one thread at a time."""

    def __init__(self) -> None:
        self._things: dict[Hashable, _Thing] = {}

    def due(self, key: Hashable) -> int | None:
        """How often the thing was passed over since it was last told of; None: it is to be passed over now."""
        now = time.monotonic()
        thing = self._things.get(key)
        if thing is None:
            if len(self._things) >= MOST_THINGS:
                return None
            self._things[key] = _Thing(now)
            return 0
        if now - thing.told < QUIET:
            thing.untold += 1
            return None
        thing.told = now
        untold, thing.untold = thing.untold, 0
        return untold


def again(untold: int) -> str:
    """What a line adds for those that were passed over."""
    return f" ({untold} more since this was last told)" if untold else ""
