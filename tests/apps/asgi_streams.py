"""Starlette's ways to notice that a client has left; /events tells which requests have begun and ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

events: list[str] = []


async def list_events(request: Request) -> Response:
    return JSONResponse(events)


async def quiet_stream(request: Request) -> Response:
    """A stream that sends once and then has nothing to say: only `http.disconnect` can end it."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    return StreamingResponse(parts())


async def busy_stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000
            await asyncio.sleep(0)

    return StreamingResponse(parts())


async def polling(request: Request) -> Response:
    """Asks now and then."""
    while not await request.is_disconnected():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.001)
    return Response()


released: dict[str, asyncio.Event] = {}


async def asking_once(request: Request) -> Response:
    """Asks a single time, when it is told to."""
    name = request.query_params["name"]
    await released.setdefault(name, asyncio.Event()).wait()
    events.append(f"left {await request.is_disconnected()} {name}")
    return Response()


async def release(request: Request) -> Response:
    released.setdefault(request.query_params["name"], asyncio.Event()).set()
    return Response()


async def upload(request: Request) -> Response:
    return Response(str(len(await request.body())))


class PassThrough(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


ways = [
    Route("/quiet", quiet_stream),
    Route("/busy", busy_stream),
    Route("/polling", polling),
    Route("/asking-once", asking_once),
    Route("/upload", upload, methods=["POST"]),
]
middled = Starlette(routes=ways, middleware=[Middleware(PassThrough)])
starlette = Starlette(
    routes=[Route("/events", list_events), Route("/release", release), Mount("/middleware", middled), *ways]
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    path = scope.get("path")
    events.append(f"begun {path}")
    try:
        await starlette(scope, receive, send)
    except BaseException as error:
        events.append(f"{type(error).__name__} {path}")
        raise
    finally:
        events.append(f"ended {path}")
