"""One PostgreSQL query through asyncpg: by FastAPI's endpoint, and by the driver alone, in the same process.

`POSTGRES` is the database's URL. Both take a connection from the pool, ask for one row by its key, and give the
connection back; what differs is HTTP and FastAPI.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

CONNECTIONS = 16
QUERY = "select id, name, price from item where id = $1"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The pool, and the table's rows."""
    async with asyncpg.create_pool(os.environ["POSTGRES"], min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        async with pool.acquire() as connection:
            await connection.execute("create table if not exists item (id int primary key, name text, price float8)")
            rows = [(number, f"item {number}", 9.5) for number in range(1000)]
            await connection.executemany("insert into item values ($1, $2, $3) on conflict do nothing", rows)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    """What is answered."""

    id: int
    name: str
    price: float


async def connection(request: Request) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the pool's, for one request."""
    async with request.app.state.pool.acquire() as acquired:
        yield acquired


@app.get("/rows/{number}")
async def read_row(number: int, connection: Annotated[asyncpg.Connection, Depends(connection)]) -> Item:
    """One row by its key."""
    row = await connection.fetchrow(QUERY, number)
    if row is None:
        raise HTTPException(404)
    return Item(**row)


@app.get("/driver")
async def measure_driver(request: Request, seconds: float, at_once: int) -> float:
    """Queries a second of the driver alone, so many at once, for so long."""
    pool = request.app.state.pool
    end = time.monotonic() + seconds
    done = 0

    async def ask() -> None:
        nonlocal done
        while time.monotonic() < end:
            async with pool.acquire() as acquired:
                await acquired.fetchrow(QUERY, 7)
            done += 1

    started = time.monotonic()
    await asyncio.gather(*(ask() for _ in range(at_once)))
    return done / (time.monotonic() - started)
