"""See `framework_bare`: in Starlette."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"hello {request.query_params.get('name', 'world')}")


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="text/plain")


async def count(request: Request) -> Response:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return PlainTextResponse(str(size))


async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


def fail(request: Request) -> Response:
    raise RuntimeError("on purpose")


async def ws(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while (text := await websocket.receive_text()) != "bye":
            await websocket.send_text(text)
    except WebSocketDisconnect:
        return
    await websocket.close(4000)


app = Starlette(
    routes=[
        Route("/hello", hello),
        Route("/echo", echo, methods=["POST"]),
        Route("/count", count, methods=["POST"]),
        Route("/stream", stream),
        Route("/fail", fail),
        WebSocketRoute("/ws", ws),
    ]
)
