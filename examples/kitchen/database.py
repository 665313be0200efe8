"""Orders in SQLite, through aiosqlite: each query runs on the connection's own thread, and the loop stays free."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiosqlite

from .models import NewOrder, Order, State

# In memory unless a file is named, so that trying the example leaves nothing behind.
FILE = os.environ.get("KITCHEN_DATABASE", ":memory:")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    guest    TEXT NOT NULL,
    dish     TEXT NOT NULL,
    portions INTEGER NOT NULL CHECK (portions BETWEEN 1 AND 12),
    note     TEXT NOT NULL,
    state    TEXT NOT NULL
)
"""


class Database:
    """The orders of one kitchen.

    Every statement that writes is a transaction of its own (autocommit), and a change of state names the state it
    expects, so that two who move the same order at once cannot both succeed.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def add(self, new: NewOrder) -> Order:
        """Stores an order and gives it its number."""
        row = await self._one(
            "INSERT INTO orders (guest, dish, portions, note, state) VALUES (?, ?, ?, ?, ?) RETURNING *",
            (new.guest, new.dish, new.portions, new.note, State.WAITING),
        )
        assert row is not None
        return row

    async def get(self, number: int) -> Order | None:
        """One order, if there is one of this number."""
        return await self._one("SELECT * FROM orders WHERE number = ?", (number,))

    async def after(self, number: int, limit: int) -> list[Order]:
        """At most so many orders with higher numbers, the oldest first."""
        return await self._many("SELECT * FROM orders WHERE number > ? ORDER BY number LIMIT ?", (number, limit))

    async def current(self, finished: int) -> list[Order]:
        """Every order that is still to move and the last so many that are not, the oldest first."""
        moving = (State.WAITING, State.COOKING)
        return await self._many(
            "SELECT * FROM orders WHERE state IN (?, ?) OR number IN"
            " (SELECT number FROM orders WHERE state NOT IN (?, ?) ORDER BY number DESC LIMIT ?) ORDER BY number",
            (*moving, *moving, finished),
        )

    async def move(self, number: int, before: State, after: State) -> Order | None:
        """Moves an order on if it still stands where the caller believes it to be."""
        return await self._one(
            "UPDATE orders SET state = ? WHERE number = ? AND state = ? RETURNING *", (after, number, before)
        )

    async def next_waiting(self) -> Order | None:
        """Moves the oldest waiting order to the stove."""
        return await self._one(
            "UPDATE orders SET state = ? WHERE number = (SELECT min(number) FROM orders WHERE state = ?) RETURNING *",
            (State.COOKING, State.WAITING),
        )

    async def put_back(self) -> None:
        """Lets orders wait again that an earlier run of the kitchen left on the stove."""
        await self._connection.execute("UPDATE orders SET state = ? WHERE state = ?", (State.WAITING, State.COOKING))

    async def _one(self, statement: str, values: tuple[object, ...]) -> Order | None:
        orders = await self._many(statement, values)
        return orders[0] if orders else None

    async def _many(self, statement: str, values: tuple[object, ...]) -> list[Order]:
        # Fetched to the end, because SQLite commits a RETURNING statement when its last row has been read.
        rows = await self._connection.execute_fetchall(statement, values)
        return [Order.model_validate(dict(row)) for row in rows]


@asynccontextmanager
async def opened(file: str = FILE) -> AsyncIterator[Database]:
    """A database that is closed in the end, even when the server is stopped in the middle of a request."""
    async with aiosqlite.connect(file, isolation_level=None) as connection:
        connection.row_factory = aiosqlite.Row
        await connection.execute(_SCHEMA)
        database = Database(connection)
        await database.put_back()
        yield database
