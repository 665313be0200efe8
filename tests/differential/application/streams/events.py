"""Generators that give server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import Any

from fastapi import routing as fastapi_routing
from fastapi.sse import EventSourceResponse, ServerSentEvent

from ..journal import note, where
from .shared import PAUSE, Brief, Dressed, Item, Marked, Odd, Plain, Session, app, values


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
