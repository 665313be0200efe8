"""What tests/test_frameworks.py asks of every framework, on FastAPI."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"opened": "at startup"}
    print("the application was shut down")


app = FastAPI(lifespan=lifespan)


@app.api_route("/who", methods=["GET", "HEAD"])
async def who() -> dict[str, str]:
    return {"framework": "fastapi"}


@app.get("/greet/{name}", response_class=PlainTextResponse)
async def greet(name: str, mark: str = ".") -> str:
    return f"Hello, {name}{mark}"


@app.post("/total")
async def total(numbers: list[int]) -> dict[str, int]:
    return {"total": sum(numbers)}


@app.api_route("/digest", methods=["POST", "PUT"])
async def digest(request: Request) -> dict[str, int | str]:
    size, sha256 = 0, hashlib.sha256()
    async for chunk in request.stream():
        size += len(chunk)
        sha256.update(chunk)
    return {"size": size, "sha256": sha256.hexdigest()}


@app.get("/count")
async def count(lines: int) -> StreamingResponse:
    async def written() -> AsyncIterator[str]:
        for number in range(lines):
            yield f"line {number}\n"

    return StreamingResponse(written(), media_type="text/plain")


@app.get("/endless")
async def endless() -> StreamingResponse:
    async def written() -> AsyncIterator[str]:
        try:
            while True:
                yield "still here\n"
                await asyncio.sleep(0.02)
        finally:
            print("the endless stream ended")

    return StreamingResponse(written(), media_type="text/event-stream")


@app.get("/cookies")
async def cookies(response: Response) -> None:
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")


@app.delete("/nothing", status_code=204)
async def nothing() -> None:
    pass


@app.get("/state")
async def state(request: Request) -> dict[str, str]:
    return {"opened": request.state.opened}


@app.get("/thread")
def on_thread() -> dict[str, bool]:
    return {"main_thread": threading.current_thread() is threading.main_thread()}


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(__file__)


@app.get("/fail")
async def fail() -> None:
    raise RuntimeError("failed on purpose")


@app.get("/fail-late")
async def fail_late() -> StreamingResponse:
    async def written() -> AsyncIterator[str]:
        yield "so far, so good\n"
        raise RuntimeError("failed late, on purpose")

    return StreamingResponse(written(), media_type="text/plain")


@app.websocket("/ws/echo")
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


@app.websocket("/ws/deny")
async def deny(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("who are you?", 401, {"www-authenticate": "Bearer"}))
