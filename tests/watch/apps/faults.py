"""Faults that the log is to hear of once, however many requests have them."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.middleware("http")
async def around(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


async def never() -> None:
    """Nobody awaits it."""


async def neither() -> None:
    """Nor this."""


@app.get("/never/{number}")
async def with_number(number: int) -> None:
    never()


@app.get("/neither")
async def without() -> None:
    neither()


async def fail() -> None:
    raise LookupError


@app.get("/fails/{number}")
async def fails(number: int) -> None:
    asyncio.create_task(fail())  # noqa: RUF006 - that is the fault


@app.get("/soon")
async def soon() -> None:
    """The loop makes the coroutine, and awaits it as little as anybody."""
    asyncio.get_running_loop().call_soon(never)
