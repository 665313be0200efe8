"""Accounts in PostgreSQL and counters in Redis: pools of the lifespan's, connections and transactions by dependencies.

Money is moved, never made: however requests end, the balances add up to what the accounts were opened with, and the
ledger has a line for each transfer that was committed and no other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from redis import asyncio as redis

ACCOUNTS = 20
OPENED_WITH = 1000
CONNECTIONS = 8
"""In each pool."""

SCHEMA = """
create table if not exists account (id int primary key, balance int not null check (balance >= 0));
create table if not exists ledger (id serial primary key, source int, target int, amount int);
"""


async def plain(connection: asyncpg.Connection) -> None:
    """What asyncpg would ask of the server when a type is new to it is not the tests' concern."""
    await connection.execute("set jit = off")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with asyncpg.create_pool(
        os.environ["POSTGRES"],
        min_size=CONNECTIONS,
        max_size=CONNECTIONS,
        init=plain,
        server_settings={"application_name": os.environ["APPLICATION"]},
    ) as pool:
        async with pool.acquire() as connection:
            await connection.execute(SCHEMA)
            await connection.execute("truncate account, ledger")
            await connection.executemany(
                "insert into account values ($1, $2)", [(number, OPENED_WITH) for number in range(ACCOUNTS)]
            )
        waiting = redis.BlockingConnectionPool.from_url(
            os.environ["REDIS"], max_connections=CONNECTIONS, decode_responses=True, timeout=20
        )
        try:
            yield {"pool": pool, "waiting": waiting, "open": [0]}
        finally:
            await waiting.aclose()


app = FastAPI(lifespan=lifespan)


async def connection(request: Request) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the pool's, for one request."""
    request.state.open[0] += 1
    try:
        async with request.state.pool.acquire() as acquired:
            yield acquired
    finally:
        request.state.open[0] -= 1


Connection = Annotated[asyncpg.Connection, Depends(connection)]


async def transaction(connection: Connection) -> AsyncIterator[asyncpg.Connection]:
    """Commits what the endpoint did, or takes it back when that raised."""
    async with connection.transaction():
        yield connection


Transaction = Annotated[asyncpg.Connection, Depends(transaction)]
CommittedFirst = Annotated[asyncpg.Connection, Depends(transaction, scope="function")]
"""Committed before the client hears of it."""


async def counters(request: Request) -> AsyncIterator[redis.Redis]:
    """A client that keeps one connection of the pool's, for one request."""
    async with redis.Redis(connection_pool=request.state.waiting, single_connection_client=True) as client:
        yield client


Counters = Annotated[redis.Redis, Depends(counters)]


class Account(BaseModel):
    id: int
    balance: int


class Transfer(BaseModel):
    source: Annotated[int, Field(ge=0, lt=ACCOUNTS)]
    target: Annotated[int, Field(ge=0, lt=ACCOUNTS)]
    amount: Annotated[int, Field(gt=0)]


@app.get("/accounts/{number}")
async def read_account(number: int, connection: Connection) -> Account:
    row = await connection.fetchrow("select id, balance from account where id = $1", number)
    if row is None:
        raise HTTPException(404, "no such account")
    return Account(**row)


async def move(transfer: Transfer, connection: asyncpg.Connection) -> int:
    # In one order, so that two transfers never wait for each other's rows.
    for number, by in sorted([(transfer.source, -transfer.amount), (transfer.target, transfer.amount)]):
        await connection.execute("update account set balance = balance + $2 where id = $1", number, by)
    return await connection.fetchval(
        "insert into ledger (source, target, amount) values ($1, $2, $3) returning id",
        transfer.source,
        transfer.target,
        transfer.amount,
    )


@app.post("/transfers", status_code=201)
async def create_transfer(transfer: Transfer, connection: CommittedFirst, counters: Counters) -> dict[str, int]:
    """An account that has too little makes PostgreSQL raise; FastAPI's handler below answers."""
    line = await move(transfer, connection)
    return {"line": line, "count": await counters.incr("transfers")}


@app.exception_handler(asyncpg.CheckViolationError)
async def too_little(request: Request, error: asyncpg.CheckViolationError) -> JSONResponse:
    return JSONResponse({"detail": "too little"}, 409)


class Fault(Exception):
    """Nobody handles it."""


@app.post("/transfers/failing/{how}")
async def fail(how: str, transfer: Transfer, connection: Transaction, counters: Counters) -> None:
    """Has moved the money when it fails."""
    await move(transfer, connection)
    await counters.incr("failures")
    match how:
        case "refused":
            raise HTTPException(402, "refused")
        case "fault":
            raise Fault(how)
        case "query":
            await connection.execute("select 1 / 0")
        case "timeout":
            async with asyncio.timeout(0.01):
                await connection.execute("select pg_sleep(5)")
        case "counter":
            await counters.execute_command("NO SUCH COMMAND")


@app.get("/slow")
async def slow(connection: Transaction, counters: Counters) -> int:
    """Leaves the client the time to go."""
    await counters.incr("slow")
    await connection.execute("select pg_sleep(0.02)")
    return await connection.fetchval("select count(*) from account")


@app.get("/lines")
async def lines(connection: Transaction) -> StreamingResponse:
    """Streams from a cursor, whose transaction is open until the last line, or until the client is gone."""

    async def rows() -> AsyncIterator[str]:
        async for row in connection.cursor("select n from generate_series(1, 400) n", prefetch=20):
            yield f"{row['n']:>1000}\n"  # All of it is more than the client reads before it leaves.

    return StreamingResponse(rows(), media_type="text/plain")


@app.get("/blocking/{number}")
def blocking(number: int, connection: Connection) -> int:
    """A `def` endpoint: the connection is taken and given back on the loop, around a thread."""
    return number + connection.get_server_pid() * 0


@app.get("/holdings")
async def holdings(request: Request) -> dict[str, int]:
    """The pools as they stand, without a connection of either."""
    pool, waiting = request.state.pool, request.state.waiting
    return {
        "size": pool.get_size(),
        "idle": pool.get_idle_size(),
        "open": request.state.open[0],
        "redis in use": len(waiting._in_use_connections),
        "tasks": len(asyncio.all_tasks()),
    }
