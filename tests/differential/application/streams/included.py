"""Streams of an included router."""

from __future__ import annotations

from collections.abc import AsyncIterable, Generator

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse

from .shared import Plain, app

router = APIRouter(prefix="/inner")


@router.get("/events", response_class=EventSourceResponse)
async def inner_events(plain: Plain, request: Request) -> AsyncIterable[str]:
    yield request.url.path


@router.get("/lines/{number}")
def inner_lines(number: int) -> Generator[int, None, None]:
    yield number


app.include_router(router, prefix="/outer")
