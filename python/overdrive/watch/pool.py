"""The thread pool: who holds its threads while others wait for one.

Calls of `def` functions take a token of anyio's default limiter, the plans' as well as Starlette's: that gets full.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from overdrive._overdrive import Watch
from overdrive.watch import origin
from overdrive.watch.limiter import LimiterWatch
from overdrive.watch.stacks import Frame, blame, frames

# Seconds: from then on a pool that is full is told of, and one in which nothing has moved may be a deadlock.
FULL = 1.0
STUCK = 5.0

# What the threads of anyio's pool, and of the plans', are called.
THREAD_NAME = "AnyIO worker thread"


@dataclass(frozen=True)
class Holder:
    """What some threads of the pool are at: at which line of the user's, and in which function they began."""

    line: str
    function: str
    threads: int
    stack: tuple[Frame, ...]


@dataclass(frozen=True)
class Shortage:
    """A pool that is full. Times are in seconds.

    waiting: calls that wait for a thread; seconds: for how long the pool has been full, as far as it was looked at.
    is_stuck: not one thread was given back meanwhile.
    requests: for which requests the threads work, and how many for each.
    """

    threads: int
    waiting: int
    seconds: float
    is_stuck: bool
    holders: tuple[Holder, ...]
    requests: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        text = f"the thread pool is full: {self.threads} thread{_s(self.threads)} taken"
        text += f", {self.waiting} call{_s(self.waiting)} waiting"
        text += f", for {self.seconds:.1f} s now"
        if self.is_stuck:
            text += ", and nothing has moved: it may be a deadlock"
        for request, count in self.requests[:3]:
            text += f"; {count} for {request}"
        for holder in self.holders[:3]:
            text += f"; {holder.threads} in {holder.function} at {holder.line}"
        return text


class PoolWatch:
    """Looks at the pool now and then, from a thread that may wait for the GIL."""

    def __init__(self, watch: Watch, loop: asyncio.AbstractEventLoop) -> None:
        self._watch = watch
        self._loop = loop
        self._limiter: Any = None
        self._limiter_watch = LimiterWatch()
        self._is_asked = False
        self._full_since: float | None = None
        self._moved: float = 0.0
        self._holding: frozenset[int] = frozenset()

    def start(self) -> None:
        """Finds the limiter, if there is anyio already."""
        self._find()

    def stop(self) -> None:
        """Leaves the limiter alone. To be called on the loop's thread."""
        self._limiter_watch.end()

    def look(self) -> Shortage | None:
        """The shortage there is, if it has lasted for `FULL`."""
        now = time.monotonic()
        limiter = self._find()
        waiting = self._waiting(limiter) if limiter is not None else 0
        if not waiting:
            self._full_since = None
            return None
        borrowers = list(limiter._borrowers)
        holding = frozenset(map(id, borrowers))
        if self._full_since is None:
            self._full_since = self._moved = now
        elif self._holding - holding:
            self._moved = now
        self._holding = holding
        lasted = now - self._full_since
        if lasted < FULL:
            return None
        requests = Counter(found.text for task in borrowers if (found := origin.of_task(self._watch, task)))
        return Shortage(
            threads=len(borrowers),
            waiting=waiting,
            seconds=lasted,
            is_stuck=now - self._moved >= STUCK,
            holders=holders(),
            requests=tuple(requests.most_common()),
        )

    def _waiting(self, limiter: Any) -> int:
        try:
            found = limiter.statistics()
        except RuntimeError:
            # The loop's thread has changed it meanwhile: the next look will tell.
            return 0
        # It may be infinite.
        limit = int(min(found.total_tokens, sys.maxsize))
        self._watch.note_threads(limit, found.borrowed_tokens, found.tasks_waiting)
        return int(found.tasks_waiting)

    def _find(self) -> Any:
        # The limiter belongs to the loop, which alone can say which it is; nobody has a thread before anyio is there.
        if self._limiter is None and not self._is_asked and "anyio" in sys.modules:
            self._is_asked = True
            asyncio.run_coroutine_threadsafe(self._note(), self._loop)
        return self._limiter

    async def _note(self) -> None:
        from anyio.to_thread import current_default_thread_limiter

        self._limiter = current_default_thread_limiter()
        self._limiter_watch.begin(self._limiter)


def holders() -> tuple[Holder, ...]:
    """What the pool's threads are at, the most frequent first; idle ones are left out."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    groups: dict[tuple[str, str], list[tuple[Frame, ...]]] = {}
    for ident, frame in sys._current_frames().items():
        if names.get(ident) != THREAD_NAME:
            continue
        stack = tuple(frames(frame))
        found = blame(stack, strict=True)
        if found is not None:
            groups.setdefault((str(found), found.outermost[2]), []).append(stack)
    counted = [Holder(line, function, len(stacks), stacks[0]) for (line, function), stacks in groups.items()]
    return tuple(sorted(counted, key=lambda holder: -holder.threads))


def _s(number: int) -> str:
    return "" if number == 1 else "s"
