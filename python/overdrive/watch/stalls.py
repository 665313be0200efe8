"""Stalls, gathered by the place that caused them, and told in the log."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from overdrive.watch.stacks import Blame, Frame, blame

# A place that stalls again and again is told of once in so many seconds.
QUIET = 10.0
# Places that are kept apart; whatever comes later is counted only.
MOST_PLACES = 1000

logger = logging.getLogger("overdrive.watch")


@dataclass
class Place:
    """A place that has stalled the loop. Times are in seconds.

    where: the endpoint's route, or the task; `blame`: None where nobody could look, as C code kept the GIL.
    waited: requests that had to wait, at the most so many; delayed: for how long, together.
    """

    where: str
    blame: Blame | None
    stack: Sequence[Frame]
    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    waited: int = 0
    delayed: float = 0.0
    told: float = 0.0
    untold: int = 0


class Stalls:
    """All stalls since the start. Called on the loop's thread, read on any."""

    def __init__(self) -> None:
        self.places: dict[Any, Place] = {}
        self.count = 0
        self._lock = threading.Lock()

    def snapshot(self) -> list[Place]:
        """The places so far, each a copy."""
        with self._lock:
            return [replace(place) for place in self.places.values()]

    def add(self, stall: dict[str, Any]) -> None:
        """Counts a stall that the engine tells of, and logs it unless the place was told of just now."""
        stack = usual_stack([stack for _, stack in stall["samples"]])
        found = blame(stack)
        route = stall["route"]
        where = f"{route[0]} {route[1]}" if route else "a WebSocket" if stall["line"] else outside(stall["task"])
        key = (where, found.frame[:2] if found else None)
        with self._lock:
            self.count += 1
            place = self.places.get(key)
            if place is None:
                if len(self.places) >= MOST_PLACES:
                    return
                place = self.places[key] = Place(where, found, stack)
            place.count += 1
            place.total += stall["seconds"]
            place.longest = max(place.longest, stall["seconds"])
            place.waited += stall["waited"]
            place.delayed += stall["delayed"]
            now = time.monotonic()
            if place.told and now - place.told < QUIET:
                place.untold += 1
                return
            place.told = now
            untold, place.untold = place.untold, 0
        logger.warning("%s", line(stall, found, untold))


def outside(task: str | None) -> str:
    """What is to be said of a stall outside of requests."""
    return f"the task {task}" if task else "a callback outside of requests"


def line(stall: dict[str, Any], found: Blame | None, untold: int) -> str:
    """A stall in one line: who, for how long, who waited, and where."""
    who = stall["line"] or outside(stall["task"])
    endpoint = f" ({stall['route'][2]})" if stall["route"] and stall["route"][2] else ""
    text = f"{who}{endpoint} blocked the event loop for {stall['seconds'] * 1000:.0f} ms"
    waited = stall["waited"]
    text += f"; {waited} request{'s' if waited != 1 else ''} waited" if waited else ""
    text += f"; {found}" if found else f"; {unseen(stall)}"
    if untold:
        text += f" ({untold} more since this was last told)"
    return text


def unseen(stall: dict[str, Any]) -> str:
    """Why there is no line."""
    if stall["samples"]:
        return "in a C function that the loop called itself"
    return "in C code that kept the GIL, so that nobody could see where"


def usual_stack(stacks: Sequence[Sequence[Frame]]) -> Sequence[Frame]:
    """The stack that was seen most often, as far as the user's line goes."""
    if not stacks:
        return ()
    blames = [found.frame[:2] if (found := blame(stack)) else None for stack in stacks]
    most, _ = Counter(blames).most_common(1)[0]
    return stacks[blames.index(most)]
