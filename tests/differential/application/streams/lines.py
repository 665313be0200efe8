"""Generators that give lines of JSON."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any

from ..journal import note, where
from .shared import PAUSE, Dressed, Item, Marked, Plain, Session, app, values


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
