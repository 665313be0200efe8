"""Faults behind a middleware of Starlette's, where most of a request runs in a task that is not its own."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI, Request, Response
from fastapi.responses import StreamingResponse

PAUSE = 0.4


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    time.sleep(PAUSE)  # shutdown


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def passed(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


@app.get("/waited/{number}")
async def waited(number: int) -> int:
    await asyncio.sleep(0.01)
    time.sleep(PAUSE)  # waited
    return number


@app.get("/streamed")
async def streamed() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0.01)
        time.sleep(PAUSE)  # streamed
        yield b"two"

    return StreamingResponse(parts())


@app.get("/background")
async def background(later: BackgroundTasks) -> None:
    async def after() -> None:
        await asyncio.sleep(0.01)
        time.sleep(PAUSE)  # background

    later.add_task(after)


@app.get("/spawns")
async def spawns() -> None:
    async def work() -> None:
        await asyncio.sleep(0.01)
        time.sleep(PAUSE)  # spawns

    for _ in range(3):
        task = asyncio.create_task(work())
        await task


@app.get("/collects")
async def collects() -> None:
    await asyncio.sleep(0.01)
    garbage = [[number] for number in range(400_000)]
    for _ in range(8):
        gc.collect()  # collects
    del garbage


@app.get("/endless")
async def endless() -> None:
    time.sleep(2.6)  # endless


async def never() -> None:
    pass


@app.get("/unawaited")
async def unawaited() -> None:
    never()  # unawaited


@app.get("/fine")
async def fine() -> str:
    return "fine"
