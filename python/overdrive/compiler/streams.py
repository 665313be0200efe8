"""What Python does for responses in pieces: the tasks around them, in FastAPI's order, and what middleware iterates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup
from fastapi import routing
from fastapi.encoders import jsonable_encoder
from starlette._utils import create_collapsing_task_group
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

# Names are looked up when they are used, as FastAPI does it: tests replace them.
_routing: Any = routing

# `(item) -> bytes`: the engine's.
Serialize = Callable[[Any], bytes]


class Pinger(Protocol):
    """A stream of events, as the engine lets a timer see it."""

    def idle(self) -> float:
        """For how many seconds no event has come."""

    def ping(self, comment: bytes) -> None:
        """Sends a comment."""


async def send_pieces(body: Awaitable[None], gone: Awaitable[None]) -> None:
    """Sends a response until it is complete, or the client has left."""
    async with create_collapsing_task_group() as group:
        await _send(group, body, gone)


async def send_events(body: Awaitable[None], gone: Awaitable[None], pinger: Pinger) -> None:
    """Sends events, and pings while there are none, until there are no more, or the client has left.

    Raises:
        ExceptionGroup: of what the generator has raised, as from the task group in which FastAPI produces events.
    """
    loop = asyncio.get_running_loop()

    timer: asyncio.TimerHandle

    def ping() -> None:
        nonlocal timer
        # Read each time: tests make it short.
        interval = _routing._PING_INTERVAL
        idle = pinger.idle()
        if idle >= interval:
            pinger.ping(_routing.KEEPALIVE_COMMENT)
            idle = 0
        timer = loop.call_later(interval - idle, ping)

    timer = loop.call_later(_routing._PING_INTERVAL, ping)
    try:
        async with anyio.create_task_group() as group:
            await _send(group, body, gone)
    finally:
        timer.cancel()


async def _send(group: TaskGroup, body: Awaitable[None], gone: Awaitable[None]) -> None:
    async def run() -> None:
        await body
        group.cancel_scope.cancel()

    group.start_soon(run)
    await gone
    group.cancel_scope.cancel()


async def lines(generator: AsyncGenerator[Any, None], serialize: Serialize) -> AsyncIterator[bytes]:
    """The lines of an asynchronous generator."""
    async for item in generator:
        yield serialize(item)
        await anyio.sleep(0)  # noqa: ASYNC115


def lines_of_thread(generator: Generator[Any, None, None], serialize: Serialize) -> Generator[bytes, None, None]:
    """The lines of a generator, each written on the thread that makes it."""
    for item in generator:
        yield serialize(item)


async def raw(generator: AsyncGenerator[Any, None]) -> AsyncIterator[Any]:
    """What an asynchronous generator yields, with room for a cancellation after each."""
    async for piece in generator:
        yield piece
        await anyio.sleep(0)  # noqa: ASYNC115


async def events(generator: Any, is_async: bool, serialize: Serialize, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """Begins to produce events; they are produced until `stack` is left."""
    source = generator.__aiter__() if is_async else iterate_in_threadpool(generator)

    @asynccontextmanager
    async def producing() -> AsyncIterator[Any]:
        produce, produced = anyio.create_memory_object_stream[bytes](max_buffer_size=1)
        forward, forwarded = anyio.create_memory_object_stream[bytes](max_buffer_size=1)

        async def producer() -> None:
            async with produce:
                async for item in source:
                    await produce.send(serialize(item))

        async def forwarder() -> None:
            async with forward, produced:
                while True:
                    try:
                        with anyio.fail_after(_routing._PING_INTERVAL):
                            event = await produced.receive()
                        await forward.send(event)
                    except TimeoutError:
                        await forward.send(_routing.KEEPALIVE_COMMENT)
                    except anyio.EndOfStream:
                        return

        async with anyio.create_task_group() as group:
            group.start_soon(producer)
            group.start_soon(forwarder)
            yield forwarded
            group.cancel_scope.cancel()

    forwarded = await stack.enter_async_context(producing())
    stack.push_async_callback(forwarded.aclose)
    return raw(forwarded)


def lines_response(**arguments: Any) -> StreamingResponse:
    """The response to an endpoint that yields lines."""
    return StreamingResponse(media_type="application/jsonl", **arguments)


def events_response(**arguments: Any) -> StreamingResponse:
    """The response to an endpoint that yields events."""
    response = StreamingResponse(media_type="text/event-stream", **arguments)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def render_item(value: Any) -> bytes:
    """An item without a model."""
    return json.dumps(_routing._normalize_non_finite_floats(jsonable_encoder(value))).encode()


def format_event(data: str | None, event: Any, id: Any, retry: Any, comment: str | None) -> bytes:
    """An event."""
    written: bytes = _routing.format_sse_event(data_str=data, event=event, id=id, retry=retry, comment=comment)
    return written
