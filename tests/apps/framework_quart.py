"""See `framework_bare`: in Quart."""

from __future__ import annotations

from collections.abc import AsyncIterator

from quart import Quart, Response, request, websocket

app = Quart(__name__)


@app.get("/hello")
async def hello() -> Response:
    return Response(f"hello {request.args.get('name', 'world')}", content_type="text/plain")


@app.post("/echo")
async def echo() -> Response:
    return Response(await request.get_data(), content_type="text/plain")


@app.post("/count")
async def count() -> Response:
    size = 0
    async for chunk in request.body:
        size += len(chunk)
    return Response(str(size), content_type="text/plain")


@app.get("/stream")
async def stream() -> Response:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    return Response(lines(), content_type="text/plain")


@app.get("/fail")
async def fail() -> None:
    raise RuntimeError("on purpose")


@app.websocket("/ws")
async def ws() -> None:
    while (text := await websocket.receive()) != "bye":
        await websocket.send(text)
    await websocket.close(4000)
