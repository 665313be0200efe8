"""Calls on threads that nobody but anyio sees: Starlette's, FastAPI's, and the application's own."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import BackgroundTasks, Depends, FastAPI
from starlette.concurrency import run_in_threadpool


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = 2
    yield


app = FastAPI(lifespan=lifespan)


def slowly() -> None:
    time.sleep(0.1)


@app.get("/def")
def endpoint() -> None:
    slowly()


@app.get("/pooled")
async def pooled() -> None:
    await run_in_threadpool(slowly)


@app.get("/anyio")
async def anyios() -> None:
    await anyio.to_thread.run_sync(slowly)


@app.get("/background")
async def background(tasks: BackgroundTasks) -> None:
    tasks.add_task(slowly)


def held() -> Iterator[None]:
    slowly()
    yield


@app.get("/generator", dependencies=[Depends(held)])
async def generator() -> None:
    pass


@app.get("/fails")
async def fails() -> str:
    def fail() -> None:
        slowly()
        raise LookupError

    try:
        await run_in_threadpool(fail)
    except LookupError:
        return "failed"
    return "did not fail"


@app.get("/queues")
async def queues() -> None:
    """Three calls for two threads, in tasks of their own."""
    await asyncio.gather(*(run_in_threadpool(slowly) for _ in range(3)))


kept: list[BaseException] = []


@app.get("/cancelled")
async def cancelled() -> None:
    """A call that is given up while it waits, and somebody keeps the exception with its frames."""
    found = anyio.to_thread.current_default_thread_limiter()
    found.total_tokens = 0
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.05, task.cancel)
    try:
        await run_in_threadpool(slowly)
    except asyncio.CancelledError as error:
        kept.append(error)
        task.uncancel()
    found.total_tokens = 2


@app.get("/held")
async def held_here(seconds: float) -> None:
    """Two calls that run and one that waits, which Starlette makes."""
    await asyncio.gather(*(run_in_threadpool(time.sleep, seconds) for _ in range(3)))


@app.get("/held-by-def")
def held_by_def(seconds: float) -> None:
    """As a plan calls it, or FastAPI."""
    time.sleep(seconds)


@app.get("/own")
async def own() -> None:
    """A limiter of the application's is its own affair."""
    await anyio.to_thread.run_sync(slowly, limiter=anyio.CapacityLimiter(1))


@app.get("/limiter")
async def limiter() -> dict[str, object]:
    found = anyio.to_thread.current_default_thread_limiter()
    async with found:
        borrowed = found.borrowed_tokens
    return {
        "is_limiter": isinstance(found, anyio.CapacityLimiter),
        "class": str(type(found)),
        "borrowed": borrowed,
        "tokens": found.total_tokens,
    }
