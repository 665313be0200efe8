"""An application that limits the size of every body."""

from __future__ import annotations

import os

from fastapi import FastAPI

from . import bodies, limits, places
from .journal import add_journal
from .layer import Layer

app = FastAPI(max_body_size=100)
app.include_router(limits.router)
app.include_router(bodies.router)
app.mount("/sub", places.sub)
app.mount("/raw", places.raw_app)


@app.post("/wider", max_body_size=1000)
async def wider(value: list[int]):
    return len(value)


@app.post("/narrower", max_body_size=10)
async def narrower(value: list[int]):
    return len(value)


add_journal(app)

if os.environ.get("DIFFERENTIAL_LAYERED") == "1":
    app.add_middleware(Layer)
