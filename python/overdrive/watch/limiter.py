"""anyio's default limiter of threads, with the calls that take its tokens on the clocks of their requests.

anyio tells nobody when a call on a thread begins and ends. Each one, whoever makes it, takes a token of a limiter for
as long as it lasts, and the default one is where nearly all of them come by: Starlette's and FastAPI's, and the
application's own. The limiter stays the object that it is; while it is watched its class is one that notes the two
moments besides.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any

from overdrive._overdrive import thread_wanted

if TYPE_CHECKING:
    from overdrive._overdrive import BorrowedThread


class LimiterWatch:
    """Watches the default limiter of one event loop. All of it belongs to the loop's thread."""

    def __init__(self) -> None:
        self._limiter: Any = None
        self._class: type[Any] | None = None

    def begin(self, limiter: Any) -> None:
        """Watches `limiter`, if its class is anyio's own: what others have made of it is theirs."""
        from anyio import CapacityLimiter

        of_anyio = type(limiter)
        if self._limiter is None and of_anyio.__module__.startswith("anyio.") and issubclass(of_anyio, CapacityLimiter):
            limiter.__class__ = _watched(of_anyio)
            self._limiter, self._class = limiter, of_anyio

    def end(self) -> None:
        """Leaves the limiter as it was. Calls that are under way are not counted."""
        if self._limiter is not None:
            self._limiter.__class__ = self._class
            self._limiter = self._class = None


def _watched(of_anyio: Any) -> type[Any]:
    calls: dict[asyncio.Task[Any] | None, BorrowedThread] = {}

    class Watched(of_anyio):  # type: ignore[misc]
        __slots__ = ()

        async def __aenter__(self) -> None:
            task = asyncio.current_task()
            call = thread_wanted(task)
            await super().__aenter__()
            if call is not None:
                call.began()
                calls[task] = call

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
        ) -> None:
            call = calls.pop(asyncio.current_task(), None)
            if call is not None:
                call.ended()
            await super().__aexit__(kind, error, traceback)

    Watched.__name__, Watched.__qualname__, Watched.__module__ = (
        of_anyio.__name__,
        of_anyio.__qualname__,
        of_anyio.__module__,
    )
    return Watched
