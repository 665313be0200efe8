"""What can happen to an order, and who does it: guests place and cancel, cooks cook.

This module alone changes orders. Each change and its announcement happen under one lock, so that the feed tells the
changes in the order in which the database saw them.
"""

import asyncio

from .database import Database
from .feed import Feed
from .models import NewOrder, Order, State

# Finished orders that stay on the board, so that it keeps its size however long the kitchen is open.
FINISHED = 30


class NoSuchOrder(Exception):
    """There is no order of this number."""


class TooLate(Exception):
    """The order has left the state in which it could be cancelled."""


class Orders:
    """The orders of a kitchen, and their feed."""

    def __init__(self, database: Database) -> None:
        self.feed = Feed()
        self._database = database
        self._changing = asyncio.Condition()

    async def after(self, number: int, limit: int) -> list[Order]:
        """At most `limit` orders with numbers above `number`, the oldest first."""
        return await self._database.after(number, limit)

    async def current(self) -> list[Order]:
        """What the kitchen's board shows: orders that are still to move and the last finished ones, oldest first."""
        return await self._database.current(FINISHED)

    async def get(self, number: int) -> Order:
        """One order, or `NoSuchOrder`."""
        order = await self._database.get(number)
        if order is None:
            raise NoSuchOrder(number)
        return order

    async def place(self, new: NewOrder) -> Order:
        """Takes an order and wakes a cook."""
        async with self._changing:
            order = await self._database.add(new)
            self.feed.publish(order)
            self._changing.notify()
            return order

    async def cancel(self, number: int) -> Order:
        """Cancels a waiting order, or raises `NoSuchOrder` or `TooLate`."""
        async with self._changing:
            order = await self._database.move(number, State.WAITING, State.CANCELLED)
            if order is None:
                raise TooLate((await self.get(number)).state)
            self.feed.publish(order)
            return order

    async def cook(self, seconds: float) -> None:
        """One cook's day: takes the oldest waiting order, cooks it for so many seconds, and takes the next."""
        while True:
            order = await self._next()
            await asyncio.sleep(seconds)
            async with self._changing:
                ready = await self._database.move(order.number, State.COOKING, State.READY)
                assert ready is not None, "only its cook moves an order from the stove"
                self.feed.publish(ready)

    async def _next(self) -> Order:
        async with self._changing:
            while (order := await self._database.next_waiting()) is None:
                await self._changing.wait()
            self.feed.publish(order)
            return order
