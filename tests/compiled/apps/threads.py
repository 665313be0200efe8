"""`def` endpoints that meet in threads, and a count of what lives."""

import asyncio
import gc
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

app = FastAPI(openapi_url=None)
meeting = threading.Barrier(5)
running = 0
most = 0
lock = threading.Lock()
variable: ContextVar[str] = ContextVar("variable", default="unset")
open_resources = 0


@app.get("/meet")
def meet() -> int:
    return meeting.wait(timeout=20)


def entered() -> Iterator[int]:
    global open_resources
    open_resources += 1
    try:
        yield open_resources
    finally:
        open_resources -= 1


@app.get("/meet-with-resource")
def meet_with_resource(resource: Annotated[int, Depends(entered)]) -> int:
    return meeting.wait(timeout=20)


@app.post("/tokens/{count}")
async def tokens(count: int) -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = count


@app.get("/waiting")
async def waiting() -> int:
    return anyio.to_thread.current_default_thread_limiter().statistics().tasks_waiting


gate = threading.Event()


@app.get("/crowd")
def crowd() -> None:
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    gate.wait(20)
    with lock:
        running -= 1


@app.get("/most")
async def most_at_once() -> Any:
    return {"running": running, "most": most}


@app.post("/open-gate")
async def open_gate() -> None:
    gate.set()


@app.get("/borrowed")
async def borrowed() -> float:
    return anyio.to_thread.current_default_thread_limiter().borrowed_tokens


@app.get("/variable/{value}")
def set_variable(value: str) -> str:
    before = variable.get()
    variable.set(value)
    return before


@app.get("/scope/{name}")
async def within_scope(name: str) -> str:
    with anyio.CancelScope():
        return await anyio.to_thread.run_sync(lambda: name)


class Item(BaseModel):
    name: str
    values: list[int] = []


async def checked(item: Item) -> Item:
    if item.name == "refused":
        raise HTTPException(400, "refused")
    return item


async def opened() -> Any:
    yield object()


@app.post("/item")
async def item(item: Item, same: Annotated[Item, Depends(checked)], resource: Annotated[Any, Depends(opened)]) -> Item:
    await asyncio.sleep(0)
    return item


@app.post("/thread-item")
def thread_item(item: Item, request: Request, resource: Annotated[Any, Depends(entered)]) -> Item:
    return item


@app.get("/boom")
def boom() -> None:
    raise ValueError("boom")


@app.get("/alive")
async def alive() -> Any:
    gc.collect()
    return {
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "none": sys.getrefcount(None),
        "open": open_resources,
        "tasks": len(asyncio.all_tasks()),
    }
