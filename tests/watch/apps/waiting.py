"""Requests that wait for one that keeps the loop."""

import time

from fastapi import BackgroundTasks, FastAPI, WebSocket

PAUSE = 0.5

app = FastAPI()


@app.get("/quick")
async def quick() -> float:
    return time.monotonic()


@app.get("/blocks")
async def blocks() -> None:
    time.sleep(PAUSE)


async def block() -> None:
    time.sleep(PAUSE)


@app.get("/blocks-afterwards")
async def blocks_afterwards(tasks: BackgroundTasks) -> None:
    tasks.add_task(block)


@app.websocket("/sends-and-blocks")
async def sends_and_blocks(socket: WebSocket) -> None:
    await socket.accept()
    while True:
        await socket.receive_text()
        await socket.send_text("sent")
        time.sleep(PAUSE)
