"""What stays until its client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse
from starlette.background import BackgroundTask

from ..journal import note
from .shared import PAUSE, Brief, Dressed, Plain, Session, app, pieces


async def staying(label: str) -> AsyncIterator[Any]:
    """A body without an end."""
    note(f"{label} begins")
    try:
        yield {"n": 0}
        note(f"{label} waits")
        await asyncio.sleep(60)
        yield {"n": 1}
    except BaseException as error:
        note(f"{label} sees {type(error).__name__}")
        raise
    finally:
        await asyncio.sleep(0) if label == "never" else None
        note(f"{label} is left")


def staying_in_thread(label: str) -> Iterator[Any]:
    """A body without an end, on a thread."""
    note(f"{label} begins")
    while True:
        yield {"n": "x" * 1000}


@app.get("/stays/lines")
async def stays_lines(session: Session, plain: Plain, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in staying("lines"):
        yield item


@app.get("/stays/lines-plain")
async def stays_lines_plain(plain: Plain):  # type: ignore[no-untyped-def]
    async for item in staying("lines"):
        yield item


@app.get("/stays/busy")
async def stays_busy(plain: Plain):  # type: ignore[no-untyped-def]
    note("begins")
    while True:
        yield "x" * 1000


@app.get("/stays/lines-in-thread")
def stays_lines_in_thread(plain: Plain):  # type: ignore[no-untyped-def]
    yield from staying_in_thread("lines")


@app.get("/stays/events", response_class=EventSourceResponse)
async def stays_events(session: Session, plain: Plain, brief: Brief, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in staying("events"):
        yield item


@app.get("/stays/events-plain", response_class=EventSourceResponse)
async def stays_events_plain(plain: Plain):  # type: ignore[no-untyped-def]
    async for item in staying("events"):
        yield item


@app.get("/stays/events-silent", response_class=EventSourceResponse)
async def stays_events_silent(plain: Plain):  # type: ignore[no-untyped-def]
    note("begins")
    try:
        await asyncio.sleep(60)
        yield 1
    finally:
        note("silent is left")


@app.get("/stays/raw", response_class=StreamingResponse)
async def stays_raw(plain: Plain):  # type: ignore[no-untyped-def]
    async for item in staying("raw"):
        yield str(item)


@app.get("/stays/own")
async def stays_own(plain: Plain, dressed: Dressed) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        async for item in staying("own"):
            yield str(item)

    return StreamingResponse(body(), background=BackgroundTask(note, "own background"))


@app.get("/stays/shielded")
async def stays_shielded(plain: Plain) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        try:
            yield "a"
            note("begins")
            await asyncio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(PAUSE)
                note("shielded is left")

    return StreamingResponse(body())


gate = asyncio.Event()


@app.get("/stays/endpoint")
async def stays_endpoint(plain: Plain) -> StreamingResponse:
    note("endpoint waits")
    await gate.wait()
    note("endpoint goes on")
    return StreamingResponse(pieces(pause=PAUSE))


@app.get("/open")
async def open_gate() -> None:
    """Lets the endpoint go on."""
    gate.set()
    gate.clear()
