"""Limits of the body's size at every level, and of how many run a dependency at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, BackgroundTasks, Depends, Request, Response

from .bodies import Item
from .exits import Session
from .journal import note, where

router = APIRouter(prefix="/limits")


# The size of a body.


@router.post("/route", max_body_size=20)
async def limited(item: Item):
    note("endpoint")
    return item


@router.post("/route-in-thread", max_body_size=20)
def limited_in_thread(item: Item):
    return item


@router.post("/route-unread", max_body_size=20)
async def limited_unread():
    note("endpoint")
    return "unread"


@router.post("/route-read-late", max_body_size=20)
async def limited_read_late(request: Request, session: Session):
    note("endpoint")
    return {"length": len(await request.body())}


@router.post("/route-streamed", max_body_size=20)
async def limited_streamed(request: Request):
    length = 0
    try:
        async for piece in request.stream():
            length += len(piece)
    except Exception as error:
        note(f"stream {type(error).__name__} after {length}")
        raise
    return length


@router.post("/route-swallowed", max_body_size=20)
async def limited_swallowed(request: Request):
    try:
        await request.body()
    except Exception as error:
        note(f"swallowed {type(error).__name__}")
    return "swallowed"


@router.post("/route-background", max_body_size=20)
async def limited_background(tasks: BackgroundTasks, response: Response):
    tasks.add_task(note, "background")
    response.headers["x-limited"] = "yes"
    return "unread"


@router.post("/route-nothing", max_body_size=0)
async def limited_to_nothing(value: Any = None):
    note("endpoint")
    return value


@router.get("/route-get", max_body_size=0)
async def limited_get():
    return "get"


tight = APIRouter(prefix="/tight", max_body_size=30)


@tight.post("/default")
async def tight_default(item: Item):
    return item


@tight.post("/wider", max_body_size=60)
async def tight_wider(item: Item):
    return item


@tight.post("/unread")
async def tight_unread():
    note("endpoint")
    return "unread"


inner = APIRouter(prefix="/inner")


@inner.post("/default")
async def inner_default(item: Item):
    return item


tight.include_router(inner, max_body_size=40)
router.include_router(tight)
router.include_router(inner, prefix="/including", max_body_size=25)


# How many run a dependency at once.

_gate: asyncio.Event | None = None
_thread_gate = threading.Event()
_inside = 0


def gate() -> asyncio.Event:
    """What the limited dependencies wait for."""
    global _gate
    if _gate is None:
        _gate = asyncio.Event()
    return _gate


@router.post("/gate/{state}")
async def set_gate(state: str):
    global _gate
    if state == "open":
        gate().set()
        _thread_gate.set()
    else:
        _gate = asyncio.Event()
        _thread_gate.clear()


async def arrived(label: str):
    note(f"{label} arrived")


async def slow(label: str):
    global _inside
    _inside += 1
    note(f"{label} in, {_inside} inside")
    try:
        async with asyncio.timeout(20):
            await gate().wait()
    finally:
        _inside -= 1
        note(f"{label} out")
    return label


def slow_in_thread(label: str):
    global _inside
    _inside += 1
    note(f"{label} in {where()}, {_inside} inside")
    _thread_gate.wait(20)
    _inside -= 1
    note(f"{label} out")
    return label


async def held(label: str) -> AsyncIterator[str]:
    note(f"{label} held")
    yield label
    note(f"{label} released")


def held_in_thread(label: str) -> Iterator[str]:
    note(f"{label} held {where()}")
    yield label
    note(f"{label} released {where()}")


async def held_and_fails(label: str) -> AsyncIterator[str]:
    note(f"{label} held")
    try:
        yield label
    finally:
        note(f"{label} released")


@router.get("/two-at-once", dependencies=[Depends(arrived)])
async def two_at_once(label: Annotated[str, Depends(slow, max_concurrency=2)]):
    note(f"{label} endpoint")
    return label


@router.get("/one-thread-at-once", dependencies=[Depends(arrived)])
async def one_thread_at_once(label: Annotated[str, Depends(slow_in_thread, max_concurrency=1)]):
    note(f"{label} endpoint")
    return label


@router.get("/one-holder", dependencies=[Depends(arrived)])
async def one_holder(label: Annotated[str, Depends(held, max_concurrency=1)], waited: Annotated[str, Depends(slow)]):
    # Held until the request is over.
    return label


@router.get("/one-holder-in-function", dependencies=[Depends(arrived)])
async def one_holder_in_function(
    label: Annotated[str, Depends(held, scope="function", max_concurrency=1)], waited: Annotated[str, Depends(slow)]
):
    return label


@router.get("/one-holder-in-thread", dependencies=[Depends(arrived)])
async def one_holder_in_thread(
    label: Annotated[str, Depends(held_in_thread, max_concurrency=1)], waited: Annotated[str, Depends(slow)]
):
    return label


@router.get("/fails-holding")
async def fails_holding(label: Annotated[str, Depends(held_and_fails, max_concurrency=1)], how: str):
    if how == "value":
        raise ValueError("a fault while holding")
    return int(how)


@router.get("/unlimited", dependencies=[Depends(arrived)])
async def unlimited(label: Annotated[str, Depends(slow)]):
    return label


# More threads than there are tokens.


@router.get("/tokens")
async def tokens(set_to: int | None = None):
    limiter = anyio.to_thread.current_default_thread_limiter()
    if set_to is not None:
        limiter.total_tokens = set_to
    return [limiter.total_tokens, limiter.borrowed_tokens]


@router.get("/in-thread", dependencies=[Depends(arrived)])
def in_thread(label: str):
    note(f"{label} in")
    _thread_gate.wait(20)
    note(f"{label} out")
    return label
