"""Responses in pieces: generators as endpoints, streaming responses of all kinds, and what may go wrong in them."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi import routing as fastapi_routing
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field, field_serializer, field_validator
from starlette.background import BackgroundTask
from starlette.types import Receive, Scope, Send

from .journal import add_journal, note, where

app = FastAPI()
router = APIRouter(prefix="/inner")
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


# Lines of JSON.


@app.get("/lines/items")
async def lines_items() -> AsyncIterable[Item]:
    for name in "ab":
        note(f"yields {name}")
        yield Item(name=name, theSize=1.0, at=datetime.date(2024, 1, 2))


@app.get("/lines/items-in-thread")
def lines_items_in_thread() -> Iterable[Item]:
    for name in "ab":
        note(f"yields {name} {where()}")
        yield Item(name=name, theSize=float("inf"))
    note(f"ends {where()}")


@app.get("/lines/dicts-for-items")
async def lines_dicts() -> AsyncGenerator[Item, None]:
    yield {"name": "a", "theSize": "1.5"}  # type: ignore[misc]
    yield {"name": "b", "more": 1}  # type: ignore[misc]


@app.get("/lines/wrong/{place}")
async def lines_wrong(place: int, plain: Plain) -> AsyncIterator[Item]:
    for index in range(3):
        await asyncio.sleep(PAUSE)
        yield Item(name="a") if index != place else {"size": "x"}  # type: ignore[misc]


@app.get("/lines/wrong-in-thread/{place}")
def lines_wrong_in_thread(place: int, session: Session) -> Iterator[Item]:
    for index in range(3):
        yield Item(name="a") if index != place else {"size": "x"}  # type: ignore[misc]


@app.get("/lines/marked", response_model_exclude_none=True)
async def lines_marked() -> AsyncIterable[Marked]:
    yield Marked(text="é")


@app.get("/lines/options", response_model_by_alias=False, response_model_exclude_unset=True)
async def lines_options() -> AsyncIterable[Item]:
    yield Item(name="a")
    yield Item(name="b", theSize=2)


@app.get("/lines/anything")
async def lines_anything(dressed: Dressed) -> AsyncIterable[Any]:
    for value in values():
        yield value


@app.get("/lines/unannotated")
async def lines_unannotated():  # type: ignore[no-untyped-def]
    for value in values():
        yield value


@app.get("/lines/unannotated-in-thread", status_code=202)
def lines_unannotated_in_thread(dressed: Dressed):  # type: ignore[no-untyped-def]
    yield from values()


@app.get("/lines/unwritable/{what}")
async def lines_unwritable(what: str, plain: Plain):  # type: ignore[no-untyped-def]
    yield 1
    await asyncio.sleep(PAUSE)
    match what:
        case "object":
            yield object()
        case "surrogate":
            yield "\ud800 alone"
        case "deep":
            deep: list[Any] = []
            for _ in range(100_000):
                deep = [deep]
            yield deep
        case "digits":
            yield 10**5000


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


# Server-sent events.


@app.get("/events/items", response_class=EventSourceResponse)
async def events_items() -> AsyncIterable[Item]:
    for name in "ab":
        note(f"yields {name}")
        yield Item(name=name, theSize=1.0)


@app.get("/events/items-in-thread", response_class=EventSourceResponse)
def events_items_in_thread() -> Iterable[Item]:
    for name in "ab":
        note(f"yields {name} {where()}")
        yield Item(name=name)


@app.post("/events/posted", response_class=EventSourceResponse, status_code=201)
async def events_posted(item: Item, dressed: Dressed) -> AsyncIterable[ServerSentEvent]:
    yield ServerSentEvent(data=item, event="posted", id="1", retry=10, comment="c")


@app.get("/events/dressed-in-thread", response_class=EventSourceResponse)
def events_dressed(dressed: Dressed, brief: Brief, session: Session) -> Iterable[Any]:
    yield from values()


@app.get("/events/anything", response_class=EventSourceResponse)
async def events_anything() -> AsyncIterable[Any]:
    for value in values():
        yield value


@app.get("/events/unannotated", response_class=EventSourceResponse)
async def events_unannotated():  # type: ignore[no-untyped-def]
    for value in values():
        yield value


@app.get("/events/fields", response_class=EventSourceResponse)
async def events_fields() -> AsyncIterable[ServerSentEvent]:
    yield ServerSentEvent(data={"a": 1})
    yield ServerSentEvent(data="text é")
    yield ServerSentEvent(data=Item(name="m", theSize=2))
    yield ServerSentEvent(data=[Item(name="m", theSize=2)])
    yield ServerSentEvent(data=Odd("o"))
    yield ServerSentEvent(data=Marked(text="m"))
    yield ServerSentEvent(data=float("nan"))
    yield ServerSentEvent(data=0)
    yield ServerSentEvent(data=False)
    yield ServerSentEvent(data="")
    yield ServerSentEvent(raw_data="")
    yield ServerSentEvent(raw_data="one\ntwo\r\nthree\rfour\n")
    yield ServerSentEvent(raw_data="é\u2028\x85", event="named", id="7 7", retry=0, comment="several\nlines")
    yield ServerSentEvent(comment="")
    yield ServerSentEvent(event="", id="")
    yield ServerSentEvent()
    yield ServerSentEvent(retry=10**30)
    yield ServerSentEvent.model_construct(event="two\nlines", data=None, raw_data=None, id=5, retry=1.5, comment=None)


class Loud(ServerSentEvent):
    """A kind of event."""


@app.get("/events/mixed", response_class=EventSourceResponse)
async def events_mixed() -> AsyncIterable[Item]:
    yield Item(name="a")
    yield Loud(data="loud")  # type: ignore[misc]
    yield {"name": "of a dict"}  # type: ignore[misc]


@app.get("/events/wrong", response_class=EventSourceResponse)
async def events_wrong(plain: Plain) -> AsyncIterable[Item]:
    yield Item(name="a")
    await asyncio.sleep(PAUSE)
    yield {"size": 1}  # type: ignore[misc]


@app.get("/events/invalid", response_class=EventSourceResponse)
async def events_invalid(session: Session) -> AsyncIterable[ServerSentEvent]:
    await asyncio.sleep(PAUSE)
    yield ServerSentEvent(event="two\nlines")


class Quiet(EventSourceResponse):
    """A class of the application's."""

    media_type = "text/never"


@app.get("/events/subclass", response_class=Quiet)
async def events_subclass() -> AsyncIterable[str]:
    yield "a"


@app.get("/events/slow", response_class=EventSourceResponse)
async def events_slow(first: float = 0.0, then: float = 0.0) -> AsyncIterable[int]:
    await asyncio.sleep(first)
    yield 1
    await asyncio.sleep(then)
    yield 2


@app.get("/events/none", response_class=EventSourceResponse)
async def events_none() -> AsyncIterable[int]:
    for number in ():
        yield number


@app.post("/interval")
async def set_interval(seconds: float) -> None:
    """How long a stream of events may be silent."""
    fastapi_routing._PING_INTERVAL = seconds


# Pieces for a response class.


@app.get("/raw/async", response_class=StreamingResponse)
async def raw_async(dressed: Dressed) -> AsyncIterable[bytes | str]:
    yield b"bytes "
    yield "té"
    yield memoryview(b" view")  # type: ignore[misc]


@app.get("/raw/threaded", response_class=StreamingResponse)
def raw_threaded(dressed: Dressed) -> Iterable[str]:
    yield f"one {where()} "
    yield f"two {where()}"


class Csv(StreamingResponse):
    """A class of the application's."""

    media_type = "text/csv"
    charset = "latin-1"


@app.get("/raw/csv", response_class=Csv, status_code=203)
async def raw_csv() -> AsyncIterable[str]:
    yield "é;b\n"


@app.get("/raw/plain", response_class=PlainTextResponse)
async def raw_plain() -> AsyncIterable[str]:
    yield "never"


# Streaming responses of an endpoint's own.


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


@app.get("/own/async")
async def own_async(dressed: Dressed, plain: Plain, brief: Brief) -> StreamingResponse:
    return StreamingResponse(pieces(), 206, {"x-own": "1"}, "text/plain", BackgroundTask(note, "own background"))


@app.get("/own/sync")
async def own_sync(plain: Plain) -> StreamingResponse:
    return StreamingResponse((f"{index} {where()};" for index in range(3)), media_type="text/plain")


@app.get("/own/list")
def own_list(dressed: Dressed) -> StreamingResponse:
    return StreamingResponse(["a", b"b"], headers={"content-length": "2"})


@app.get("/own/short")
async def own_short(plain: Plain) -> StreamingResponse:
    return StreamingResponse(["a"], headers={"content-length": "5"})


@app.get("/own/long")
async def own_long(plain: Plain) -> StreamingResponse:
    return StreamingResponse(["a", "bcdef"], headers={"content-length": "2"})


@app.get("/own/empty")
async def own_empty() -> StreamingResponse:
    return StreamingResponse([], 200)


@app.get("/own/no-content")
async def own_no_content() -> StreamingResponse:
    return StreamingResponse([], 204)


@app.api_route("/own/bodiless/{status}", methods=["GET", "HEAD"])
async def own_bodiless(status: int, plain: Plain) -> StreamingResponse:
    """Made in full, though nobody sees it."""

    async def body() -> AsyncIterator[str]:
        for index in range(4):
            yield str(index) * (20_000 if status == 200 else 0)
            note(f"goes on after {index}")
            await asyncio.sleep(0.01)

    return StreamingResponse(body(), status, background=BackgroundTask(note, "own background"))


@app.get("/own/iterator-without-send")
async def own_iterator() -> StreamingResponse:
    class Pieces:
        def __init__(self) -> None:
            self.left = 2

        def __aiter__(self) -> Pieces:
            note("aiter")
            return self

        async def __anext__(self) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return b"piece "

    return StreamingResponse(Pieces())


@app.get("/own/wrong-piece")
async def own_wrong_piece(plain: Plain) -> StreamingResponse:
    async def body() -> AsyncIterator[Any]:
        yield b"a"
        await asyncio.sleep(PAUSE)
        yield 5

    return StreamingResponse(body(), background=BackgroundTask(note, "never"))


@app.get("/own/bytearray")
async def own_bytearray() -> StreamingResponse:
    async def body() -> AsyncIterator[Any]:
        yield b"a"
        await asyncio.sleep(PAUSE)
        yield bytearray(b"b")

    return StreamingResponse(body())


class Overridden(StreamingResponse):
    """Sends in its own way."""

    async def stream_response(self, send: Send) -> None:
        note("streams itself")
        await super().stream_response(send)


class Called(StreamingResponse):
    """Sends in its own way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        note(f"is called with {scope['type']}")
        await super().__call__(scope, receive, send)


@app.get("/own/overridden")
async def own_overridden() -> StreamingResponse:
    return Overridden(pieces())


@app.get("/own/called")
async def own_called() -> StreamingResponse:
    return Called(pieces())


@app.get("/own/changed")
async def own_changed() -> StreamingResponse:
    response = StreamingResponse(pieces())
    response.body_iterator = pieces(1)
    response.media_type = "text/other"
    response.headers["x-changed"] = "yes"
    response.status_code = 201
    return response


@app.get("/own/state")
async def own_state(request: Request, plain: Plain) -> StreamingResponse:
    task = asyncio.current_task()

    async def body() -> AsyncIterator[str]:
        seen.set("changed in the body")
        yield f"{asyncio.current_task() is task} {request.url.path}"
        await request.is_disconnected()
        yield " more"

    return StreamingResponse(body())


@app.get("/own/cancels")
async def own_cancels(plain: Plain) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        try:
            with anyio.fail_after(PAUSE):
                await asyncio.sleep(10)
        except TimeoutError:
            yield b"timeout"
        async with anyio.create_task_group() as group:
            group.start_soon(asyncio.sleep, 0)
        yield b" group"

    return StreamingResponse(body())


# What fails, and what is seen of it.

Maker = Callable[[str, int], Any]


async def failing(how: str, after: int) -> AsyncIterator[Any]:
    """Fails after some pieces."""
    try:
        for index in range(after):
            yield {"n": index}
            await asyncio.sleep(PAUSE)
        fail(how)
        note("did not fail")
    finally:
        note("finally")


def failing_in_thread(how: str, after: int) -> Iterator[Any]:
    """Fails after some pieces."""
    try:
        for index in range(after):
            yield {"n": index}
        fail(how)
    finally:
        note(f"finally {where()}")


@app.get("/fails/lines/{how}/{after}")
async def fails_lines(how: str, after: int, session: Session, plain: Plain, brief: Brief, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/lines-plain/{how}/{after}")
async def fails_lines_plain(how: str, after: int, plain: Plain):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/lines-in-thread/{how}/{after}")
def fails_lines_in_thread(how: str, after: int, plain: Plain, threaded: Threaded):  # type: ignore[no-untyped-def]
    yield from failing_in_thread(how, after)


@app.get("/fails/events/{how}/{after}", response_class=EventSourceResponse)
async def fails_events(how: str, after: int, session: Session, plain: Plain, brief: Brief, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/events-plain/{how}/{after}", response_class=EventSourceResponse)
async def fails_events_plain(how: str, after: int, plain: Plain):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/events-bare/{how}/{after}", response_class=EventSourceResponse)
async def fails_events_bare(how: str, after: int):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield item


@app.get("/fails/events-in-thread/{how}/{after}", response_class=EventSourceResponse)
def fails_events_in_thread(how: str, after: int, plain: Plain, threaded: Threaded):  # type: ignore[no-untyped-def]
    yield from failing_in_thread(how, after)


@app.get("/fails/raw/{how}/{after}", response_class=StreamingResponse)
async def fails_raw(how: str, after: int, plain: Plain, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in failing(how, after):
        yield str(item)


@app.get("/fails/own/{how}/{after}")
async def fails_own(how: str, after: int, plain: Plain, dressed: Dressed) -> StreamingResponse:
    return StreamingResponse((str(item) async for item in failing(how, after)), media_type="text/plain")


@app.get("/fails/background")
async def fails_background(plain: Plain, tasks: BackgroundTasks):  # type: ignore[no-untyped-def]
    tasks.add_task(fail, "value")
    yield 1


@app.get("/fails/invalid")
async def fails_invalid(number: int, plain: Plain):  # type: ignore[no-untyped-def]
    yield number


@app.get("/fails/exit")
async def fails_exit(tasks: BackgroundTasks, late: Annotated[str, Depends(session)]):  # type: ignore[no-untyped-def]
    tasks.add_task(note, "background")
    yield 1


# What stays until its client leaves.


async def staying(label: str) -> AsyncIterator[Any]:
    """A body without an end."""
    note(f"{label} begins")
    try:
        yield {"n": 0}
        note(f"{label} waits")
        await asyncio.sleep(60)
        yield {"n": 1}
    except BaseException as error:
        note(f"{label} sees {type(error).__name__}")
        raise
    finally:
        await asyncio.sleep(0) if label == "never" else None
        note(f"{label} is left")


def staying_in_thread(label: str) -> Iterator[Any]:
    """A body without an end, on a thread."""
    note(f"{label} begins")
    while True:
        yield {"n": "x" * 1000}


@app.get("/stays/lines")
async def stays_lines(session: Session, plain: Plain, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in staying("lines"):
        yield item


@app.get("/stays/lines-plain")
async def stays_lines_plain(plain: Plain):  # type: ignore[no-untyped-def]
    async for item in staying("lines"):
        yield item


@app.get("/stays/busy")
async def stays_busy(plain: Plain):  # type: ignore[no-untyped-def]
    note("begins")
    while True:
        yield "x" * 1000


@app.get("/stays/lines-in-thread")
def stays_lines_in_thread(plain: Plain):  # type: ignore[no-untyped-def]
    yield from staying_in_thread("lines")


@app.get("/stays/events", response_class=EventSourceResponse)
async def stays_events(session: Session, plain: Plain, brief: Brief, dressed: Dressed):  # type: ignore[no-untyped-def]
    async for item in staying("events"):
        yield item


@app.get("/stays/events-plain", response_class=EventSourceResponse)
async def stays_events_plain(plain: Plain):  # type: ignore[no-untyped-def]
    async for item in staying("events"):
        yield item


@app.get("/stays/events-silent", response_class=EventSourceResponse)
async def stays_events_silent(plain: Plain):  # type: ignore[no-untyped-def]
    note("begins")
    try:
        await asyncio.sleep(60)
        yield 1
    finally:
        note("silent is left")


@app.get("/stays/raw", response_class=StreamingResponse)
async def stays_raw(plain: Plain):  # type: ignore[no-untyped-def]
    async for item in staying("raw"):
        yield str(item)


@app.get("/stays/own")
async def stays_own(plain: Plain, dressed: Dressed) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        async for item in staying("own"):
            yield str(item)

    return StreamingResponse(body(), background=BackgroundTask(note, "own background"))


@app.get("/stays/shielded")
async def stays_shielded(plain: Plain) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        try:
            yield "a"
            note("begins")
            await asyncio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(PAUSE)
                note("shielded is left")

    return StreamingResponse(body())


gate = asyncio.Event()


@app.get("/stays/endpoint")
async def stays_endpoint(plain: Plain) -> StreamingResponse:
    note("endpoint waits")
    await gate.wait()
    note("endpoint goes on")
    return StreamingResponse(pieces(pause=PAUSE))


@app.get("/open")
async def open_gate() -> None:
    """Lets the endpoint go on."""
    gate.set()
    gate.clear()


# Elsewhere than at the top.


@router.get("/events", response_class=EventSourceResponse)
async def inner_events(plain: Plain, request: Request) -> AsyncIterable[str]:
    yield request.url.path


@router.get("/lines/{number}")
def inner_lines(number: int) -> Generator[int, None, None]:
    yield number


app.include_router(router, prefix="/outer")
add_journal(app)
