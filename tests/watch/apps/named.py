"""Routes that have much of their names in common, or none at all; and those whose paths clients make up."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route
from starlette.staticfiles import StaticFiles

PAUSE = 0.25

app = FastAPI()


async def blocks(request: Request) -> Response:
    time.sleep(PAUSE)  # blocks
    return PlainTextResponse("blocked")


async def fine(request: Request) -> Response:
    return PlainTextResponse("fine")


app.add_route("/blocks", blocks)
app.add_route("/fine", fine)
app.add_route("/twice", fine_twice := lambda request: PlainTextResponse("fine"))
app.add_route("/again", fine_twice)
app.mount("/static", StaticFiles(directory=Path(__file__).parent))

one, other = FastAPI(), FastAPI()


@one.get("/x")
async def of_one() -> str:
    time.sleep(PAUSE)  # one
    return "one"


@other.get("/x")
async def of_other() -> str:
    return "other"


app.router.routes += [Host("one.local", one), Host("other.local", other)]

inner, tenants = FastAPI(), FastAPI()


@inner.get("/deep/{number:int}")
async def deep(number: int) -> int:
    return number


@tenants.get("/x")
async def of_tenant() -> str:
    return "tenant"


tenants.mount("/inner/{part}", inner)
app.mount("/t/{tenant}", tenants)


async def of_mount(request: Request) -> Response:
    return PlainTextResponse("mount")


included = APIRouter(
    routes=[Mount("/m/{name}", routes=[Route("/y", of_mount)])],
)
app.include_router(included, prefix="/included")


@app.get("/rest/{path:path}")
async def rest(path: str) -> str:
    return path


calls = 0


@app.get("/seldom")
def seldom() -> int:
    global calls
    calls += 1
    if calls == 30:
        time.sleep(0.06)
    return calls


class Slow:
    """Is in a cycle, and takes long to go."""

    def __init__(self) -> None:
        self.itself: Any = self

    def __del__(self) -> None:
        time.sleep(PAUSE)  # del


@app.get("/asks")
async def asks() -> int:
    Slow()
    return gc.collect()


@app.get("/cycle")
async def cycle() -> int:
    Slow()
    # Until the collector comes by itself.
    kept = [[number] for number in range(100_000)]
    return len(kept)
