"""What tests/test_frameworks.py asks of every framework, on Starlette."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
    yield {"opened": "at startup"}
    print("the application was shut down")


async def who(request: Request) -> Response:
    return JSONResponse({"framework": "starlette"})


async def greet(request: Request) -> Response:
    return PlainTextResponse(f"Hello, {request.path_params['name']}{request.query_params.get('mark', '.')}")


async def total(request: Request) -> Response:
    try:
        numbers = await request.json()
    except ValueError:
        return PlainTextResponse("not JSON", 400)
    return JSONResponse({"total": sum(numbers)})


async def digest(request: Request) -> Response:
    size, sha256 = 0, hashlib.sha256()
    async for chunk in request.stream():
        size += len(chunk)
        sha256.update(chunk)
    return JSONResponse({"size": size, "sha256": sha256.hexdigest()})


async def count(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for number in range(int(request.query_params["lines"])):
            yield f"line {number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def endless(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        try:
            while True:
                yield "still here\n"
                await asyncio.sleep(0.02)
        finally:
            print("the endless stream ended")

    return StreamingResponse(lines(), media_type="text/plain")


async def cookies(request: Request) -> Response:
    response = Response()
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


async def nothing(request: Request) -> Response:
    return Response(status_code=204)


async def state(request: Request) -> Response:
    return JSONResponse({"opened": request.state.opened})


def on_thread(request: Request) -> Response:
    return JSONResponse({"main_thread": threading.current_thread() is threading.main_thread()})


async def file(request: Request) -> Response:
    return FileResponse(__file__)


async def fail(request: Request) -> Response:
    raise RuntimeError("failed on purpose")


async def fail_late(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        yield "so far, so good\n"
        raise RuntimeError("failed late, on purpose")

    return StreamingResponse(lines(), media_type="text/plain")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept("chat" if "chat" in websocket.scope["subprotocols"] else None)
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") == "close":
            await websocket.close(4001, "as you wish")
            return
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])
    print(f"the client closed with {message['code']}")


async def deny(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("who are you?", 401, {"www-authenticate": "Bearer"}))


app = Starlette(
    routes=[
        Route("/who", who),
        Route("/greet/{name}", greet),
        Route("/total", total, methods=["POST"]),
        Route("/digest", digest, methods=["POST", "PUT"]),
        Route("/count", count),
        Route("/endless", endless),
        Route("/cookies", cookies),
        Route("/nothing", nothing, methods=["DELETE"]),
        Route("/state", state),
        Route("/thread", on_thread),
        Route("/file", file),
        Route("/fail", fail),
        Route("/fail-late", fail_late),
        WebSocketRoute("/ws/echo", echo),
        WebSocketRoute("/ws/deny", deny),
    ],
    lifespan=lifespan,
)
