"""Requests that wait for one that keeps the loop."""

import time

from fastapi import FastAPI

PAUSE = 0.5

app = FastAPI()


@app.get("/quick")
async def quick() -> float:
    return time.monotonic()


@app.get("/blocks")
async def blocks() -> None:
    time.sleep(PAUSE)
