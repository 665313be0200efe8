"""Pieces for a response class, and streaming responses of an endpoint's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

import anyio
from fastapi import Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.types import Receive, Scope, Send

from ..journal import note, where
from .shared import PAUSE, Brief, Dressed, Plain, app, pieces, seen


@app.get("/raw/async", response_class=StreamingResponse)
async def raw_async(dressed: Dressed) -> AsyncIterable[bytes | str]:
    yield b"bytes "
    yield "té"
    yield memoryview(b" view")  # type: ignore[misc]


@app.get("/raw/threaded", response_class=StreamingResponse)
def raw_threaded(dressed: Dressed) -> Iterable[str]:
    yield f"one {where()} "
    yield f"two {where()}"


class Csv(StreamingResponse):
    """A class of the application's."""

    media_type = "text/csv"
    charset = "latin-1"


@app.get("/raw/csv", response_class=Csv, status_code=203)
async def raw_csv() -> AsyncIterable[str]:
    yield "é;b\n"


@app.get("/raw/plain", response_class=PlainTextResponse)
async def raw_plain() -> AsyncIterable[str]:
    yield "never"


@app.get("/own/async")
async def own_async(dressed: Dressed, plain: Plain, brief: Brief) -> StreamingResponse:
    return StreamingResponse(pieces(), 206, {"x-own": "1"}, "text/plain", BackgroundTask(note, "own background"))


@app.get("/own/sync")
async def own_sync(plain: Plain) -> StreamingResponse:
    return StreamingResponse((f"{index} {where()};" for index in range(3)), media_type="text/plain")


@app.get("/own/list")
def own_list(dressed: Dressed) -> StreamingResponse:
    return StreamingResponse(["a", b"b"], headers={"content-length": "2"})


@app.get("/own/short")
async def own_short(plain: Plain) -> StreamingResponse:
    return StreamingResponse(["a"], headers={"content-length": "5"})


@app.get("/own/long")
async def own_long(plain: Plain) -> StreamingResponse:
    return StreamingResponse(["a", "bcdef"], headers={"content-length": "2"})


@app.get("/own/empty")
async def own_empty() -> StreamingResponse:
    return StreamingResponse([], 200)


@app.get("/own/no-content")
async def own_no_content() -> StreamingResponse:
    return StreamingResponse([], 204)


@app.api_route("/own/bodiless/{status}", methods=["GET", "HEAD"])
async def own_bodiless(status: int, plain: Plain) -> StreamingResponse:
    """Made in full, though nobody sees it."""

    async def body() -> AsyncIterator[str]:
        for index in range(4):
            yield str(index) * (20_000 if status == 200 else 0)
            note(f"goes on after {index}")
            await asyncio.sleep(0.01)

    return StreamingResponse(body(), status, background=BackgroundTask(note, "own background"))


@app.get("/own/iterator-without-send")
async def own_iterator() -> StreamingResponse:
    class Pieces:
        def __init__(self) -> None:
            self.left = 2

        def __aiter__(self) -> Pieces:
            note("aiter")
            return self

        async def __anext__(self) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return b"piece "

    return StreamingResponse(Pieces())


@app.get("/own/wrong-piece")
async def own_wrong_piece(plain: Plain) -> StreamingResponse:
    async def body() -> AsyncIterator[Any]:
        yield b"a"
        await asyncio.sleep(PAUSE)
        yield 5

    return StreamingResponse(body(), background=BackgroundTask(note, "never"))


@app.get("/own/bytearray")
async def own_bytearray() -> StreamingResponse:
    async def body() -> AsyncIterator[Any]:
        yield b"a"
        await asyncio.sleep(PAUSE)
        yield bytearray(b"b")

    return StreamingResponse(body())


class Overridden(StreamingResponse):
    """Sends in its own way."""

    async def stream_response(self, send: Send) -> None:
        note("streams itself")
        await super().stream_response(send)


class Called(StreamingResponse):
    """Sends in its own way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        note(f"is called with {scope['type']}")
        await super().__call__(scope, receive, send)


@app.get("/own/overridden")
async def own_overridden() -> StreamingResponse:
    return Overridden(pieces())


@app.get("/own/called")
async def own_called() -> StreamingResponse:
    return Called(pieces())


@app.get("/own/changed")
async def own_changed() -> StreamingResponse:
    response = StreamingResponse(pieces())
    response.body_iterator = pieces(1)
    response.media_type = "text/other"
    response.headers["x-changed"] = "yes"
    response.status_code = 201
    return response


@app.get("/own/state")
async def own_state(request: Request, plain: Plain) -> StreamingResponse:
    task = asyncio.current_task()

    async def body() -> AsyncIterator[str]:
        seen.set("changed in the body")
        yield f"{asyncio.current_task() is task} {request.url.path}"
        await request.is_disconnected()
        yield " more"

    return StreamingResponse(body())


@app.get("/own/cancels")
async def own_cancels(plain: Plain) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        try:
            with anyio.fail_after(PAUSE):
                await asyncio.sleep(10)
        except TimeoutError:
            yield b"timeout"
        async with anyio.create_task_group() as group:
            group.start_soon(asyncio.sleep, 0)
        yield b" group"

    return StreamingResponse(body())
