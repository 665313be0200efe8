"""What fails, and what is seen of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse

from ..journal import note, where
from .shared import PAUSE, Brief, Dressed, Plain, Session, Threaded, app, fail, session

Maker = Callable[[str, int], Any]


async def failing(how: str, after: int) -> AsyncIterator[Any]:
    """Fails after some pieces."""
    try:
        for index in range(after):
            yield {"n": index}
            await asyncio.sleep(PAUSE)
        fail(how)
        note("did not fail")
    finally:
        note("finally")


def failing_in_thread(how: str, after: int) -> Iterator[Any]:
    """Fails after some pieces."""
    try:
        for index in range(after):
            yield {"n": index}
        fail(how)
    finally:
        note(f"finally {where()}")


@app.get("/fails/lines/{how}/{after}")
async def fails_lines(how: str, after: int, session: Session, plain: Plain, brief: Brief, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/lines-plain/{how}/{after}")
async def fails_lines_plain(how: str, after: int, plain: Plain):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/lines-in-thread/{how}/{after}")
def fails_lines_in_thread(how: str, after: int, plain: Plain, threaded: Threaded):  # type: ignore[no-untyped-def]
    yield from failing_in_thread(how, after)


@app.get("/fails/events/{how}/{after}", response_class=EventSourceResponse)
async def fails_events(how: str, after: int, session: Session, plain: Plain, brief: Brief, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/events-plain/{how}/{after}", response_class=EventSourceResponse)
async def fails_events_plain(how: str, after: int, plain: Plain):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/events-bare/{how}/{after}", response_class=EventSourceResponse)
async def fails_events_bare(how: str, after: int):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/events-in-thread/{how}/{after}", response_class=EventSourceResponse)
def fails_events_in_thread(how: str, after: int, plain: Plain, threaded: Threaded):  # type: ignore[no-untyped-def]
    yield from failing_in_thread(how, after)


@app.get("/fails/raw/{how}/{after}", response_class=StreamingResponse)
async def fails_raw(how: str, after: int, plain: Plain, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield str(item)


@app.get("/fails/own/{how}/{after}")
async def fails_own(how: str, after: int, plain: Plain, dressed: Dressed) -> StreamingResponse:
    return StreamingResponse((str(item) async for item in failing(how, after)), media_type="text/plain")


@app.get("/fails/background")
async def fails_background(plain: Plain, tasks: BackgroundTasks):  # type: ignore[no-untyped-def]
    tasks.add_task(fail, "value")
    yield 1


@app.get("/fails/invalid")
async def fails_invalid(number: int, plain: Plain):  # type: ignore[no-untyped-def]
    yield number


@app.get("/fails/exit")
async def fails_exit(tasks: BackgroundTasks, late: Annotated[str, Depends(session)]):  # type: ignore[no-untyped-def]
    tasks.add_task(note, "background")
    yield 1
