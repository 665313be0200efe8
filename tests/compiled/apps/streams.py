"""Streams without an end, and a large file: for clients that leave, and servers that stop."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import EventSourceResponse
from starlette.background import BackgroundTask

events: list[str] = []
SIZE = 64 * 1024 * 1024
folder = tempfile.TemporaryDirectory()
large = Path(folder.name) / "large"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with large.open("wb") as file:
        file.truncate(SIZE)
    yield
    print(f"at the end: {events}", flush=True)
    folder.cleanup()


app = FastAPI(lifespan=lifespan, openapi_url=None)


async def session() -> AsyncIterator[str]:
    """Left after the response."""
    try:
        yield "session"
    finally:
        events.append("exit")


Session = Annotated[str, Depends(session)]


@app.get("/noted")
async def noted() -> list[str]:
    return events


@app.get("/forget")
async def forget() -> None:
    events.clear()


@app.get("/tasks")
async def tasks() -> int:
    """Tasks beside the one that counts."""
    return len(asyncio.all_tasks()) - 1


@app.get("/objects")
async def objects() -> int:
    """How many the garbage collector knows."""
    gc.collect()
    return len(gc.get_objects())


@app.get("/resident")
def resident() -> int:
    """Resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@app.get("/descriptors")
def descriptors() -> int:
    """How often the large file is open."""
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link) == str(large) for link in links if os.path.islink(link))


async def endless(pause: float) -> AsyncIterator[str]:
    """Pieces, one after a pause, or as they are wanted."""
    events.append("begun")
    try:
        while True:
            yield "x" * 1000
            await asyncio.sleep(pause)
    finally:
        events.append("finalized")


@app.get("/lines/{pause}")
async def lines(pause: float, session: Session) -> AsyncIterator[str]:
    async for piece in endless(pause):
        yield piece


@app.get("/events/{pause}", response_class=EventSourceResponse)
async def sse(pause: float, session: Session) -> AsyncIterator[str]:
    async for piece in endless(pause):
        yield piece


@app.get("/own/{pause}")
async def own(pause: float, session: Session) -> StreamingResponse:
    return StreamingResponse(endless(pause), background=BackgroundTask(events.append, "background"))


@app.get("/thread")
def thread(session: Session) -> Iterator[str]:
    """What has no `aclose()` is left to the garbage collector, as by FastAPI."""
    while True:
        yield "x" * 1000


@app.get("/file")
async def file(session: Session) -> FileResponse:
    events.append("begun")
    return FileResponse(large, background=BackgroundTask(events.append, "background"))


@app.get("/small-file")
async def small_file() -> FileResponse:
    return FileResponse(__file__, background=BackgroundTask(events.append, "background"))


@app.get("/middle-file")
async def middle_file() -> FileResponse:
    """One for each request, and no longer there after it."""
    with tempfile.NamedTemporaryFile(dir=folder.name, delete=False) as file:
        file.write(b"m" * 300_000)
    path = Path(file.name)
    return FileResponse(path, background=BackgroundTask(path.unlink))
