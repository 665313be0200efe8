"""See `framework_bare`: in FastAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

app = FastAPI()


@app.api_route("/hello", methods=["GET", "HEAD"], response_class=PlainTextResponse)
async def hello(name: str = "world") -> str:
    return f"hello {name}"


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="text/plain")


@app.post("/count", response_class=PlainTextResponse)
async def count(request: Request) -> str:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return str(size)


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/fail")
def fail() -> None:
    raise RuntimeError("on purpose")


@app.websocket("/ws")
async def ws(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while (text := await websocket.receive_text()) != "bye":
            await websocket.send_text(text)
    except WebSocketDisconnect:
        return
    await websocket.close(4000)
