"""State of the application, of its lifespan and of a request, and tasks in the background."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import anyio.lowlevel
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteBackgroundTasks

from .exits import Brief, Session
from .journal import note, where

router = APIRouter(prefix="/state")

from_lifespan: ContextVar[str] = ContextVar("from_lifespan", default="unset")
in_request: ContextVar[str] = ContextVar("in_request", default="unset")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """State that every request gets a copy of."""
    from_lifespan.set("set by lifespan")
    app.state.pool = {"opened": True}
    app.state.counter = itertools.count(1)
    yield {"shared": [], "number": 1, "name": "lifespan"}


@router.get("/lifespan")
async def of_lifespan(request: Request):
    request.state.shared.append(len(request.state.shared))
    request.state.number += 1
    request.state.own = "mine"
    return {"shared": request.state.shared, "number": request.state.number, "keys": sorted(request.scope["state"])}


@router.get("/lifespan-in-thread")
def of_lifespan_in_thread(request: Request):
    return [request.state.number, request.state.name, hasattr(request.state, "own")]


@router.get("/lifespan-replaced")
async def of_lifespan_replaced(request: Request):
    request.state.name = "replaced"
    del request.state.number
    return sorted(request.scope["state"])


async def reads_state(connection: HTTPConnection):
    connection.state.from_dependency = connection.state.name
    return connection.app.state.pool


@router.get("/app")
async def of_app(request: Request, pool: Annotated[dict[str, Any], Depends(reads_state)]):
    return {
        "same": pool is request.app.state.pool,
        "count": next(request.app.state.counter),
        "given": request.state.from_dependency,
        "missing": getattr(request.app.state, "missing", None),
    }


@router.get("/app-missing")
async def app_missing(request: Request):
    return request.app.state.missing


@router.get("/contextvar")
async def contextvar():
    return [from_lifespan.get(), in_request.get()]


@router.get("/task")
async def task():
    # Each request is a task of its own, and may start others.
    in_request.set("request")

    async def child() -> str:
        await anyio.lowlevel.checkpoint()
        return in_request.get()

    current = asyncio.current_task()
    results = await asyncio.gather(child(), child())
    return [current is not None, results]


# Tasks in the background.


class Notifier:
    """An object whose call is a task."""

    def __call__(self, text: str) -> None:
        note(f"notifier {text} {where()}")

    async def method(self, text: str = "default") -> None:
        note(f"method {text} {where()}")


async def told(text: str, *, twice: bool = False) -> None:
    """A task that waits."""
    await anyio.lowlevel.checkpoint()
    note(f"told {text} {twice} {where()} {in_request.get()}")


def told_in_thread(text: str) -> None:
    """A task that runs in a thread."""
    note(f"told {text} {where()} {in_request.get()}")


@router.post("/background")
async def background(tasks: BackgroundTasks):
    in_request.set("endpoint")
    tasks.add_task(told, "first", twice=True)
    tasks.add_task(told_in_thread, "second")
    tasks.add_task(Notifier(), "third")
    tasks.add_task(Notifier().method)
    tasks.add_task(functools.partial(told, "fifth"))
    tasks.add_task(note, "last")
    note("endpoint")
    return "sent"


@router.post("/background-in-thread")
def background_in_thread(tasks: BackgroundTasks):
    in_request.set("endpoint in thread")
    tasks.add_task(told, "first")
    tasks.add_task(told_in_thread, "second")
    tasks.add_task(note, "last")
    return "sent"


@router.post("/background-of-starlette")
async def background_of_starlette(tasks: StarletteBackgroundTasks):
    note(type(tasks).__module__)
    tasks.add_task(note, "last")
    return "sent"


async def adds(tasks: BackgroundTasks):
    tasks.add_task(note, "of dependency")
    return tasks


def adds_in_thread(tasks: BackgroundTasks):
    tasks.add_task(told_in_thread, "of thread")
    return tasks


@router.post("/background-of-dependencies")
async def background_of_dependencies(
    tasks: BackgroundTasks,
    first: Annotated[BackgroundTasks, Depends(adds)],
    second: Annotated[BackgroundTasks, Depends(adds_in_thread)],
):
    tasks.add_task(note, "last")
    return [tasks is first, first is second]


@router.post("/background-only-of-dependency", dependencies=[Depends(adds)])
async def background_only_of_dependency():
    return "sent"


@router.post("/background-with-exits")
async def background_with_exits(session: Session, brief: Brief, tasks: BackgroundTasks):
    tasks.add_task(told, "while open")
    return "sent"


@router.post("/background-returned")
async def background_returned():
    return PlainTextResponse("sent", background=BackgroundTask(told, "returned"))


@router.post("/background-returned-twice")
async def background_returned_twice():
    tasks = StarletteBackgroundTasks([BackgroundTask(told, "one"), BackgroundTask(told_in_thread, "two")])
    return JSONResponse({}, background=tasks)


@router.post("/background-none")
async def background_none(tasks: BackgroundTasks):
    return "sent"


class Wanted(BaseModel):
    """A body."""

    name: str


@router.post("/background-not-when-invalid", dependencies=[Depends(adds)])
async def background_not_when_invalid(wanted: Wanted):
    return "sent"


@router.post("/background-not-when-raised")
async def background_not_when_raised(tasks: BackgroundTasks, session: Session):
    tasks.add_task(note, "never")
    raise HTTPException(409)


@router.post("/background-with-handler")
async def background_with_handler(tasks: BackgroundTasks):
    tasks.add_task(note, "never")
    raise HandledWithBackground


class HandledWithBackground(Exception):
    """Its handler starts a task."""


@router.delete("/background-204", status_code=204)
async def background_204(tasks: BackgroundTasks):
    tasks.add_task(note, "last")


@router.post("/background-fails")
async def background_fails(tasks: BackgroundTasks):
    async def failing() -> None:
        note("fails")
        raise ValueError("a fault in the background")

    tasks.add_task(failing)
    tasks.add_task(note, "never")
    return "sent"


@router.post("/background-adds")
async def background_adds(tasks: BackgroundTasks):
    # A task that adds another: the list is being read.
    tasks.add_task(tasks.add_task, note, "last")
    return "sent"


@router.post("/background-reads-request")
async def background_reads_request(request: Request, tasks: BackgroundTasks, response: Response):
    async def reads() -> None:
        response.headers["x-late"] = "lost"
        note(f"reads {request.method} {request.state.name} {await request.body()!r}")

    await request.body()
    tasks.add_task(reads)
    return "sent"


def handle(app: FastAPI) -> None:
    """Adds a handler whose answer has a task."""

    @app.exception_handler(HandledWithBackground)
    async def on_error(request: Request, error: HandledWithBackground) -> JSONResponse:
        return JSONResponse({}, 409, background=BackgroundTask(note, "of handler"))
