"""Two endpoints that wait together, one that blocks the loop, and one that comes after it."""

import asyncio
import time

from fastapi import FastAPI

app = FastAPI()
gate = asyncio.Event()


@app.get("/a/{number}")
async def a(number: int):
    await gate.wait()
    return number


@app.get("/b/{number}")
async def b(number: int):
    await gate.wait()
    return number


@app.get("/c")
async def c():
    time.sleep(0.5)  # blocks
    gate.set()


@app.get("/d/{number}")
async def d(number: int):
    return number
