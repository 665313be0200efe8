"""anyio's default limiter of threads, with the calls that take its tokens on the clocks of their requests.

anyio tells nobody when a call on a thread begins and ends. Each one, whoever makes it, takes a token of a limiter for
as long as it lasts, and the default one is where nearly all of them come by: Starlette's and FastAPI's, and the
application's own. The limiter stays the object that it is; while it is watched its class is one that notes the two
moments besides.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from overdrive._overdrive import thread_wanted

if TYPE_CHECKING:
    from overdrive._overdrive import BorrowedThread


class LimiterWatch:
    """Watches the default limiter of one event loop. All of it belongs to the loop's thread.

    Servers on one loop share its limiter, and the class that watches it: the last of them to end puts back anyio's.
    """

    def __init__(self) -> None:
        self._limiter: Any = None
        self._shared: _Shared | None = None
        self._has_ended = False

    def begin(self, limiter: Any) -> None:
        """Watches `limiter`, if its class is anyio's own: what others have made of it is theirs."""
        from anyio import CapacityLimiter

        if self._has_ended or self._limiter is not None:
            return
        found = type(limiter)
        shared: _Shared | None = vars(found).get(SHARED)
        if shared is None and found.__module__.startswith("anyio.") and issubclass(found, CapacityLimiter):
            shared = _Shared(found)
            limiter.__class__ = _watched(shared)
        if shared is not None:
            shared.watchers += 1
            self._limiter, self._shared = limiter, shared

    def end(self) -> None:
        """Leaves the limiter as it was, unless another server watches it. Calls that are under way are not counted."""
        self._has_ended = True
        limiter, shared, self._limiter, self._shared = self._limiter, self._shared, None, None
        if shared is not None:
            shared.watchers -= 1
            if not shared.watchers and vars(type(limiter)).get(SHARED) is shared:
                limiter.__class__ = shared.of_anyio


# Where the class of a watched limiter keeps what is known of it.
SHARED = "_overdrive_shared"


@dataclass
class _Shared:
    """A limiter's own class, and how many servers watch it."""

    of_anyio: Any
    watchers: int = 0


def _watched(shared: _Shared) -> type[Any]:
    of_anyio = shared.of_anyio
    calls: dict[asyncio.Task[Any] | None, BorrowedThread] = {}

    class Watched(of_anyio):  # type: ignore[misc, valid-type]
        __slots__ = ()

        # Neither asks `super()`: a call that is under way when the watch ends goes on with a limiter of anyio's class.

        async def __aenter__(self) -> None:
            task = asyncio.current_task()
            call = thread_wanted(task)
            try:
                await of_anyio.__aenter__(self)
            except BaseException:
                # Whoever keeps the exception keeps this frame, and would keep the call in the queue.
                del call
                raise
            if call is not None:
                call.began()
                calls[task] = call

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
        ) -> None:
            call = calls.pop(asyncio.current_task(), None)
            if call is not None:
                call.ended()
            await of_anyio.__aexit__(self, kind, error, traceback)

    Watched.__name__, Watched.__qualname__, Watched.__module__ = (
        of_anyio.__name__,
        of_anyio.__qualname__,
        of_anyio.__module__,
    )
    setattr(Watched, SHARED, shared)
    return Watched
