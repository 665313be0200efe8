"""Nothing here blocks the event loop: everything that a clean application does, and one endpoint that is not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel

app = FastAPI()


class Item(BaseModel):
    name: str
    price: float
    tags: list[str] = []


async def session() -> AsyncIterator[str]:
    await asyncio.sleep(0)
    yield "session"
    await asyncio.sleep(0)


@app.get("/at-once")
async def at_once() -> dict[str, str]:
    return {"message": "done"}


@app.get("/waits")
async def waits(used: Annotated[str, Depends(session)]) -> str:
    await asyncio.sleep(0.002)
    return used


@app.post("/items")
async def items(item: Item) -> Item:
    return item


@app.get("/thread/{number}")
def thread(number: int) -> int:
    time.sleep(0.001)
    return number


@app.get("/computes")
def computes() -> int:
    # In a thread of the pool, with the GIL: the loop has to share it.
    return len(json.dumps(list(range(3000))))


@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(asyncio.sleep, 0.001)
    return "soon"


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(0)
            yield f"{number}\n"

    return StreamingResponse(pieces())


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(Path(__file__))


@app.get("/gathers")
async def gathers() -> int:
    return len(await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.001) for _ in range(3))))


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


@app.get("/nearly")
async def nearly() -> str:
    # Not long enough to be told of.
    ends = time.thread_time() + 0.03
    while time.thread_time() < ends:
        pass
    return "done"


@app.get("/blocks")
async def blocks() -> str:
    time.sleep(1.0)  # blocks: for long enough to be seen on a busy machine, too
    return "blocked"
