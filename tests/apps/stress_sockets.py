"""WebSocket routes that report what they leave behind: plain, mounted, and below middleware."""

from __future__ import annotations

import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect, WebSocketException
from starlette.types import ASGIApp, Receive, Scope, Send
from stress_probe import holdings

# What many sessions share: were one of them to keep a reference, these would count it.
shared_header = (b"x-shared", b"a value that many sessions share")
shared_bytes = b"b" * 100
shared_value = object()
sockets: weakref.WeakSet[WebSocket] = weakref.WeakSet()
entered = 0


async def session(websocket: WebSocket) -> AsyncIterator[object]:
    global entered
    sockets.add(websocket)
    entered += 1
    try:
        yield shared_value
    finally:
        entered -= 1


def in_thread() -> Iterator[object]:
    global entered
    entered += 1
    try:
        yield shared_value
    finally:
        entered -= 1


def checked(how: str, number: int = 0) -> object:
    if how == "refuse":
        raise WebSocketException(4003)
    return shared_value


Shared = Annotated[object, Depends(session, scope="function")]


def made() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.websocket("/{how}")
    async def endpoint(
        websocket: WebSocket,
        how: str,
        session: Shared,
        again: Annotated[object, Depends(session)],
        checked: Annotated[object, Depends(checked)],
        in_thread: Annotated[object, Depends(in_thread)],
    ) -> None:
        await websocket.accept(headers=[shared_header])
        if how == "cycle":
            # Only the collector can end it.
            cycle: list[Any] = [websocket, session, again]
            cycle.append(cycle)
        if how == "raise":
            raise ValueError("on purpose")
        if how == "close":
            await websocket.close(4001)
            return
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
                await websocket.send_bytes(shared_bytes)
        except WebSocketDisconnect:
            if how == "pass-on":
                raise

    return app


class Layer:
    """Changes nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


app = FastAPI(openapi_url=None)
mounted, layered = made(), made()
layered.add_middleware(Layer)
app.mount("/mounted", mounted)
app.mount("/layered", layered)
app.mount("/plain/{unused}", made())
app.router.routes.extend(made().router.routes)


@app.get("/holdings")
async def report() -> dict[str, int]:
    found = holdings()
    del found["header_references"], found["body_references"]
    return {
        **found,
        "header_references": sys.getrefcount(shared_header),
        "bytes_references": sys.getrefcount(shared_bytes),
        "value_references": sys.getrefcount(shared_value),
        "session_references": sys.getrefcount(session),
        "class_references": sys.getrefcount(WebSocket),
        "sockets": len(sockets),
        "entered": entered,
    }
