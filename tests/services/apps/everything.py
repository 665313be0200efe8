"""The pools' application, and beside it a route of every other kind there is: for traffic that lasts."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

from fastapi import BackgroundTasks, Cookie, Depends, FastAPI, File, Form, Header, HTTPException, UploadFile, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from fastapi.sse import EventSourceResponse
from pools import Account, Transfer, app
from pydantic import BaseModel

DOCUMENT = Path(mock.__file__)
"""A hundred kilobytes."""


class Part(BaseModel):
    name: str
    count: int = 1


class Order(BaseModel):
    customer: str
    parts: list[Part]
    notes: dict[str, str] = {}


class Registration(BaseModel):
    name: str
    age: int


class Refused(Exception):
    """A handler answers it."""


@app.exception_handler(Refused)
async def refused(request: Any, error: Refused) -> PlainTextResponse:
    return PlainTextResponse(str(error), 418)


async def caller(token: Annotated[Any, Depends(HTTPBearer())]) -> str:
    if token.credentials != "secret":
        raise HTTPException(403, "not you")
    return str(token.credentials)


@contextmanager
def held() -> Iterator[int]:
    yield 1


def locked() -> Iterator[int]:
    """On a thread, before and after."""
    with held() as number:
        yield number


@app.get("/parts/{number}")
async def part(
    number: int, q: str = "", page: Annotated[int, Header()] = 0, session: Annotated[str, Cookie()] = ""
) -> Part:
    return Part(name=q or session, count=number + page)


@app.post("/orders")
async def order(order: Order) -> Order:
    return order


@app.get("/mine")
async def mine(who: Annotated[str, Depends(caller)]) -> str:
    return who


@app.get("/threaded/{number}")
def threaded(number: int, lock: Annotated[int, Depends(locked)]) -> int:
    if number == 3:
        raise Refused("three")
    return number + lock


@app.post("/registrations")
async def register(form: Annotated[Registration, Form()]) -> Registration:
    return form


@app.post("/uploads")
async def upload(file: UploadFile, title: Annotated[str, Form()] = "", small: Annotated[bytes, File()] = b"") -> int:
    return len(await file.read()) + len(small)


async def noted(text: str) -> None:
    await asyncio.sleep(0)


@app.post("/later", status_code=202)
async def later(tasks: BackgroundTasks) -> None:
    tasks.add_task(noted, "async")
    tasks.add_task(len, "on a thread")


@app.get("/events", response_class=EventSourceResponse)
async def events() -> AsyncIterator[Part]:
    for number in range(30):
        yield Part(name="x" * 1000, count=number)
        await asyncio.sleep(0)


@app.get("/documents")
async def documents() -> AsyncIterator[Part]:
    for number in range(30):
        yield Part(name="x" * 1000, count=number)


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(DOCUMENT)


@app.websocket("/echo")
async def echo(websocket: WebSocket, lock: Annotated[int, Depends(locked)]) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


layered = FastAPI()
layered.add_middleware(GZipMiddleware, minimum_size=100)
layered.add_middleware(CORSMiddleware, allow_origins=["http://a.test"])


@layered.get("/parts")
async def parts() -> list[Part]:
    return [Part(name="wheel", count=number) for number in range(100)]


app.mount("/layered", layered)

WATCHED = (app, layered, Part, Order, Registration, Account, Transfer, Refused, HTTPException, UploadFile, WebSocket)
WATCHED += (part, order, mine, threaded, register, upload, later, events, documents, file, echo, parts)
WATCHED += (caller, locked, held, noted, refused, DOCUMENT, asyncio.CancelledError)


def resident_bytes() -> int:
    """Memory that the process has, by the kernel's account."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class MallocInfo(ctypes.Structure):
    """What glibc's `mallinfo2` gives."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keep",
        )
    ]


def allocated_bytes() -> int:
    """What Rust and C have from malloc and have not given back; 0 where malloc does not tell."""
    look = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if look is None:
        return 0
    look.restype = MallocInfo
    found = look()
    return found.uordblks + found.hblkhd


@app.get("/memory")
async def memory() -> dict[str, Any]:
    """What the process holds, after all that is garbage has been collected and given back."""
    for _ in range(3):
        gc.collect()
    if give_back := getattr(ctypes.CDLL(None), "malloc_trim", None):
        give_back(0)
    return {
        "resident": resident_bytes(),
        "allocated": allocated_bytes(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "references": [sys.getrefcount(watched) for watched in WATCHED],
    }
