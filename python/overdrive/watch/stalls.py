"""Stalls, told in the log."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from overdrive.watch.origin import route_text
from overdrive.watch.stacks import Frame, blame
from overdrive.watch.telling import Telling, again

logger = logging.getLogger("overdrive.watch")


class Stalls:
    """All stalls since the start. Called on the loop's thread, read on any."""

    def __init__(self, *, strict: bool = False) -> None:
        self._level = logging.ERROR if strict else logging.WARNING
        self.count = 0
        # Called with each stall, as the engine tells of it.
        self.listeners: list[Callable[[dict[str, Any]], object]] = []
        self._lock = threading.Lock()
        self._telling = Telling()

    def add(self, stall: dict[str, Any]) -> None:
        """Counts a stall that the engine tells of, and logs it unless the place was told of just now."""
        for listener in self.listeners:
            listener(stall)
        found = None if is_collectors(stall) else blame(usual_stack([stack for _, stack in stall["samples"]]))
        key = (stall["culprit"], is_collectors(stall), found.frame[:2] if found else None)
        with self._lock:
            self.count += 1
            untold = self._telling.due(key)
        if untold is not None:
            logger.log(self._level, "%s", line(stall, untold))


def is_collectors(stall: dict[str, Any]) -> bool:
    """Whether the garbage collector was most of a stall, and the line where it happened to run need not be to blame."""
    return bool(stall["collected"] * 2 > stall["seconds"])


def who(stall: dict[str, Any]) -> str:
    """Who has stalled the loop, with the endpoint if there is one."""
    route = stall["route"]
    if not stall["line"]:
        return (
            route_text(route)
            if route
            else "a request"
            if stall["request"]
            else stall["task"] or "a callback outside of requests"
        )
    return f"{stall['line']} ({route[2]})" if route and route[2] else str(stall["line"])


def line(stall: dict[str, Any], untold: int) -> str:
    """A stall in one line: who, for how long, who waited, and where."""
    found = blame(usual_stack([stack for _, stack in stall["samples"]]))
    text = f"{who(stall)} blocked the event loop for {stall['seconds'] * 1000:.0f} ms"
    text += f"; started by {stall['started_by']}" if stall["started_by"] else ""
    waited = stall["waited"]
    text += f"; {waited} request{'s' if waited != 1 else ''} waited" if waited else ""
    if is_collectors(stall):
        text += f"; {stall['collected'] * 1000:.0f} ms of it were the garbage collector's"
    text += f"; {found}" if found else f"; {unseen(stall)}"
    if not found and stall["beside"]:
        text += f"; {stall['beside']} was on a thread then"
    return text + again(untold)


def still(stall: dict[str, Any]) -> str:
    """A stall that goes on, in one line."""
    stack = usual_stack([stack for _, stack in stall["samples"]])
    text = f"{who(stall)} has been blocking the event loop for {stall['seconds']:.1f} s and goes on"
    found = blame(stack)
    return f"{text}; {found}" if found else f"{text}; {unseen(stall)}"


def unseen(stall: dict[str, Any]) -> str:
    """Why there is no line."""
    if stall["samples"]:
        return "in no Python code of the loop's: a C function that it called, or another thread that kept the GIL"
    return "in C code that kept the GIL, so that nobody could see where"


def usual_stack(stacks: Sequence[Sequence[Frame]]) -> Sequence[Frame]:
    """The stack that was seen most often, as far as the user's line goes."""
    if not stacks:
        return ()
    blames = [found.frame[:2] if (found := blame(stack)) else None for stack in stacks]
    most, _ = Counter(blames).most_common(1)[0]
    return stacks[blames.index(most)]
