"""Requests that are served behind middleware of the user's: Starlette's kind, and plain ASGI."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, FastAPI, Request, Response, WebSocket

app = FastAPI()


class Plain:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


if os.environ["BEHIND"] == "plain":
    app.add_middleware(Plain)
else:

    @app.middleware("http")
    async def passed(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return await call_next(request)

    @app.middleware("http")
    async def passed_again(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return await call_next(request)


@app.get("/thread")
def thread() -> None:
    time.sleep(0.1)


def slowly() -> None:
    time.sleep(0.05)


@app.get("/depends", dependencies=[Depends(slowly)])
def depends() -> None:
    time.sleep(0.1)
    raise LookupError


@app.exception_handler(LookupError)
async def missing(request: Request, error: LookupError) -> Response:
    return Response(status_code=404)


@app.get("/works")
async def works() -> None:
    await asyncio.sleep(0.01)
    for _ in range(3):
        until = time.monotonic() + 0.03
        while time.monotonic() < until:
            pass
        await asyncio.sleep(0.01)


@app.websocket("/socket")
async def socket(socket: WebSocket, _: None = Depends(slowly)) -> None:
    await socket.accept()
    await socket.close()
