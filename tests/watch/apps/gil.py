"""Threads that keep the GIL, and an endpoint that lets go of it for a moment."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time

from fastapi import FastAPI

C_LIBRARY = ctypes.PyDLL(None)
app = FastAPI()
ready, go = threading.Event(), threading.Event()


def wait() -> None:
    ready.set()
    go.wait()
    go.clear()


@app.get("/sleeps")
def sleeps() -> int:
    wait()
    # And stays at the line, for whoever looks.
    return int(C_LIBRARY.usleep(1_000_000) or time.sleep(0.5) or 0)  # sleeps


@app.get("/leaves")
def leaves() -> int:
    wait()
    return int(C_LIBRARY.usleep(1_000_000) or go.wait(0.5))


@app.get("/victim")
async def victim() -> str:
    await asyncio.to_thread(ready.wait)
    ready.clear()
    go.set()
    time.sleep(0.02)
    return "gone on"


@app.get("/own")
async def own() -> int:
    return int(C_LIBRARY.usleep(300_000))


@app.get("/lock")
async def lock() -> bool:
    return threading.Lock().acquire() and go.wait(1)  # lock
