"""What the streams share: items, dependencies, ways to fail."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, field_serializer, field_validator

from ..journal import note, where

app = FastAPI()
seen: ContextVar[str] = ContextVar("seen", default="nothing")
PAUSE = 0.03


class Custom(Exception):
    """An exception of the application, with a handler."""


class Item(BaseModel):
    """What is streamed."""

    name: str
    size: float | None = Field(default=None, alias="theSize")
    at: datetime.date | None = None

    @field_validator("name")
    @classmethod
    def _note(cls, name: str) -> str:
        note(f"validates {name} {where()}")
        return name


class Marked(BaseModel):
    """Serialized by code of the application's."""

    text: str

    @field_serializer("text")
    def _serialize(self, text: str) -> str:
        note(f"serializes {text} {where()}")
        return text.upper()


class Odd:
    """What has a way of its own to become JSON."""

    def __init__(self, text: str) -> None:
        self.text = text

    def model_dump_json(self) -> str:
        """JSON, as pydantic's."""
        return f'{{"odd":\n"{self.text}"}}'


class Color(enum.Enum):
    """A value that is not plain."""

    RED = "red"


@dataclasses.dataclass
class Point:
    """A value that is not plain."""

    x: int
    y: float


@app.exception_handler(Custom)
async def custom(request: Request, error: Custom) -> Response:
    """Answers what the exception says."""
    note(f"handler {error}")
    return JSONResponse({"custom": str(error)}, 409)


def fail(how: str) -> None:
    """Raises what is asked for."""
    match how:
        case "http":
            raise HTTPException(418, "teapot")
        case "custom":
            raise Custom("custom")
        case "value":
            raise ValueError("value")
        case "group":
            raise ExceptionGroup("several", [ValueError("one"), Custom("two")])
        case "stop":
            raise StopAsyncIteration
        case "cancelled":
            raise asyncio.CancelledError("own")


async def session(request: Request) -> AsyncIterator[str]:
    """Left after the response."""
    note("enter session")
    try:
        yield "session"
    except BaseException as error:
        note(f"session sees {type(error).__name__}")
        raise
    finally:
        await asyncio.sleep(0)
        note("exit session")


async def plain_session() -> AsyncIterator[str]:
    """Left after the response, without the request."""
    note("enter plain session")
    seen.set("plain session")
    try:
        yield "plain session"
    except BaseException as error:
        note(f"plain session sees {type(error).__name__}")
        raise
    finally:
        note("exit plain session")


async def brief() -> AsyncIterator[str]:
    """Left before the response."""
    note("enter brief")
    try:
        yield "brief"
    finally:
        await asyncio.sleep(0)
        note("exit brief")


def threaded_session() -> Iterator[str]:
    """Left after the response, on a thread."""
    note(f"enter threaded {where()}")
    try:
        yield "threaded"
    except BaseException as error:
        note(f"threaded sees {type(error).__name__}")
        raise
    finally:
        note(f"exit threaded {where()}")


def dress(response: Response, tasks: BackgroundTasks) -> None:
    """Headers, a cookie and a background task for whatever is answered."""
    response.headers["x-dressed"] = "yes"
    response.headers.append("x-dressed", "twice")
    response.set_cookie("c", "d")
    tasks.add_task(note, "background")


Session = Annotated[str, Depends(session)]
Plain = Annotated[str, Depends(plain_session)]
Brief = Annotated[str, Depends(brief, scope="function")]
Threaded = Annotated[str, Depends(threaded_session)]
Dressed = Annotated[None, Depends(dress)]


def values() -> Iterator[Any]:
    """Everything that JSON has, and what is turned into it."""
    yield {"a": 1, "b": [True, None, 1.5, -0.0, 1e22, 1e-7], "é\u2028\U0001f600": 'ü"\\\n\x7f\x00', "_sa_state": 1}
    yield [float("nan"), float("inf"), {"x": float("-inf")}, (1, 2)]
    yield {1: 2, None: 3, 1.5: 4, False: 5}
    yield {float("inf"): 1}
    yield datetime.datetime(2024, 1, 2, 3, 4, 5)
    yield [Color.RED, Point(1, float("nan")), {1, 2}, b"bytes"]
    yield Item(name="m", theSize=float("inf"))
    yield 10**30
    yield None
    yield {}
    yield []


async def pieces(count: int = 2, pause: float = 0.0) -> AsyncIterator[str]:
    """A body."""
    note("body begins")
    try:
        for index in range(count):
            yield f"{index} {seen.get()};"
            await asyncio.sleep(pause)
        note("body ends")
    finally:
        note("body is left")
