"""The rungs between the driver alone and FastAPI's endpoint: the same query each time, with a little more around it.

`POSTGRES` is the database's URL, as for `postgres_rows`, whose endpoint is the last rung.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Annotated, Any, cast

import asyncpg
from fastapi import Depends, HTTPException, Request
from postgres_rows import QUERY, Item, app

BODY = b'{"id":7,"name":"item 7","price":9.5}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)


async def ask() -> None:
    """What all rungs do: a connection of the pool's, one row, the connection given back."""
    async with app.state.pool.acquire() as connection:
        await connection.fetchrow(QUERY, 7)


@app.get("/alone")
async def measure(seconds: float, at_once: int, tasks: bool) -> float:
    """Microseconds of processor time that a query takes by itself, in a task of its own or without."""
    end = time.monotonic() + seconds
    done = 0

    async def go_on() -> None:
        nonlocal done
        while time.monotonic() < end:
            await (asyncio.create_task(ask()) if tasks else ask())
            done += 1

    began = time.process_time()
    await asyncio.gather(*(go_on() for _ in range(at_once)))
    return (time.process_time() - began) / done * 1e6


class Answering(asyncio.Protocol):
    """The least that a server can do: a task for whatever arrives, and the same bytes for an answer."""

    transport: asyncio.Transport
    task: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio has it."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """As asyncio has it."""
        self.task = asyncio.get_running_loop().create_task(self.answer())

    async def answer(self) -> None:
        """Writes the answer, if anybody is there to read it."""
        await ask()
        if not self.transport.is_closing():
            self.transport.write(HEAD + BODY)


@app.get("/protocol")
async def open_protocol(request: Request) -> int:
    """The port of a server that is such a protocol."""
    state = request.app.state
    if not hasattr(state, "server"):
        state.server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    port: int = state.server.sockets[0].getsockname()[1]
    return port


@app.get("/endpoint/{number}")
async def without_dependency(number: int) -> Item:
    """An endpoint that takes its connection itself."""
    async with app.state.pool.acquire() as connection:
        row = await connection.fetchrow(QUERY, number)
    if row is None:
        raise HTTPException(404)
    return Item(**row)


async def connection() -> AsyncIterator[asyncpg.Connection]:
    """A connection of the pool's, without a look at the request."""
    async with app.state.pool.acquire() as acquired:
        yield acquired


@app.get("/dependency/{number}")
async def with_dependency(number: int, connection: Annotated[asyncpg.Connection, Depends(connection)]) -> Item:
    """The endpoint of `postgres_rows`, but for the dependency's argument."""
    row = await connection.fetchrow(QUERY, number)
    if row is None:
        raise HTTPException(404)
    return Item(**row)


Scope = MutableMapping[str, Any]


async def bare(scope: Scope, receive: Callable[[], Awaitable[Scope]], send: Callable[[Scope], Awaitable[None]]) -> None:
    """An ASGI application that asks, and answers `/bare`; all else is the other's."""
    if scope["type"] != "http" or scope["path"] != "/bare":
        await app(scope, receive, send)
        return
    await ask()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})
