"""What the inspect listener is tried on."""

import asyncio
import re
import time

from fastapi import BackgroundTasks, FastAPI, WebSocket

app = FastAPI()


@app.get("/quick/{number}")
async def quick(number: int):
    return {"number": number}


@app.get("/waits")
async def waits(seconds: float = 0.05):
    await asyncio.sleep(seconds)
    return {}


@app.get("/blocks")
async def blocks(seconds: float = 0.3):
    time.sleep(seconds)  # blocks
    return {}


@app.get("/explodes")
async def explodes():
    # Keeps the GIL for some seconds: nobody can look at the stack meanwhile.
    return bool(re.match(r"(a+)+$", "a" * 27 + "b"))


@app.get("/thread")
def thread(seconds: float = 0.05):
    time.sleep(seconds)
    return {}


@app.get("/fails")
async def fails():
    raise RuntimeError("as asked")


@app.get("/later")
async def later(tasks: BackgroundTasks):
    async def rest():
        await asyncio.sleep(0.05)

    tasks.add_task(rest)
    return {}


@app.websocket("/socket")
async def socket(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()
