"""Tells everybody who watches what became of an order."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel

from .models import Order

# Changes that may wait for one watcher. Who is further behind is let go, and gets the whole picture on coming back.
BEHIND = 256


class News(BaseModel):
    """A message of the feed: first all orders on the board, then each order as it changes."""

    kind: Literal["all", "change"]
    orders: list[Order]


class Watcher:
    """One client's place in the feed: iterating gives the changes, and ends when the client fell too far behind."""

    def __init__(self, behind: int) -> None:
        self._waiting: asyncio.Queue[Order] = asyncio.Queue(behind)
        self._lost = False

    def tell(self, order: Order) -> None:
        """Never waits: a slow client must not hold up the kitchen."""
        try:
            self._waiting.put_nowait(order)
        except asyncio.QueueFull:
            self._lost = True

    async def __aiter__(self) -> AsyncIterator[Order]:
        while not self._lost:
            yield await self._waiting.get()


class Feed:
    """The watchers of this process."""

    def __init__(self, behind: int = BEHIND) -> None:
        self._behind = behind
        self._watchers: set[Watcher] = set()

    def publish(self, order: Order) -> None:
        """Tells every watcher how an order stands now."""
        for watcher in self._watchers:
            watcher.tell(order)

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """A place in the feed for as long as the block runs."""
        watcher = Watcher(self._behind)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
