"""What the applications with middleware serve: answers of every kind that middleware looks at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel

from ..journal import add_journal, note

router = APIRouter()
inside: ContextVar[str] = ContextVar("inside", default="unset")


class Handled(Exception):
    """The application has a handler for it."""


class Unhandled(Exception):
    """The application has none."""


class Item(BaseModel):
    """A body."""

    name: str
    size: int = 0


async def session() -> AsyncIterator[str]:
    """Is left after the response."""
    note("enter session")
    try:
        yield "session"
    except BaseException as error:
        note(f"session sees {type(error).__name__}")
        raise
    finally:
        note("exit session")


@router.get("/plain")
async def plain() -> dict[str, str]:
    note("plain")
    return {"message": "done"}


@router.get("/sized/{size}")
async def sized(size: int) -> Response:
    return Response(b"x" * size, media_type="text/plain")


@router.get("/big")
async def big() -> list[int]:
    return list(range(400))


@router.get("/big-in-thread")
def big_in_thread() -> list[int]:
    return list(range(400))


@router.get("/typed")
async def typed(kind: str) -> Response:
    return Response(b"x" * 2000, headers={"content-type": kind})


@router.get("/untyped")
async def untyped() -> Response:
    return Response(b"x" * 2000)


@router.get("/html")
async def html() -> HTMLResponse:
    return HTMLResponse("<p>" * 300)


@router.get("/status/{status}")
async def with_status(status: int, size: int = 0) -> Response:
    return Response(b"x" * size, status_code=status)


@router.get("/encoded")
async def encoded() -> Response:
    return Response(b"x" * 2000, headers={"content-encoding": "identity"})


@router.get("/vary")
async def vary() -> Response:
    response = PlainTextResponse("x" * 1000, headers={"vary": "Accept", "x-before": "1"})
    response.headers.append("vary", "Accept-Language")
    response.headers["x-after"] = "1"
    return response


@router.get("/vary-injected")
async def vary_injected(response: Response) -> dict[str, str]:
    response.headers["vary"] = "Accept"
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return {"cookies": "two"}


@router.get("/own-cors")
async def own_cors() -> Response:
    response = PlainTextResponse("own", headers={"access-control-allow-origin": "https://own.test"})
    response.headers.append("access-control-allow-origin", "https://second.test")
    response.headers["x-after"] = "1"
    return response


@router.get("/raw-names")
async def raw_names() -> Response:
    response = PlainTextResponse("x" * 1000)
    response.raw_headers.append((b"Vary", b"Accept"))
    response.raw_headers.append((b"Content-Encoding", b"identity"))
    return response


@router.get("/cookies")
async def cookies() -> Response:
    response = JSONResponse({"cookies": 2})
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@router.get("/stream")
async def stream(pieces: int = 3, fails_at: int | None = None, length: int | None = None) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        for piece in range(pieces):
            if piece == fails_at:
                note("stream fails")
                raise Handled("in the stream")
            yield b"%d" % piece * 300

    headers = {} if length is None else {"content-length": str(length)}
    return StreamingResponse(body(), media_type="text/plain", headers=headers)


@router.get("/stream-with-session")
async def stream_with_session(session: Annotated[str, Depends(session)]) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        for piece in range(3):
            note(f"piece {piece}")
            yield session * 100

    return StreamingResponse(body(), media_type="text/plain")


@router.get("/file")
async def file() -> FileResponse:
    return FileResponse(Path(__file__).with_name("__init__.py"), media_type="text/plain", headers={"etag": "x"})


@router.get("/image")
async def image(filename: str | None = None) -> FileResponse:
    return FileResponse(
        Path(__file__), media_type="image/png", filename=filename, headers={"etag": "x", "vary": "Accept"}
    )


@router.get("/lines")
async def lines(response: Response) -> AsyncIterator[Item]:
    response.headers["vary"] = "Accept"
    for size in range(3):
        yield Item(name="n" * 300, size=size)


@router.get("/events", response_class=EventSourceResponse)
async def events(response: Response) -> AsyncIterator[Item]:
    response.headers["access-control-allow-origin"] = "https://own.test"
    for size in range(3):
        yield Item(name="n" * 300, size=size)


@router.get("/event-stream")
async def event_stream(upper: bool = False) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        yield b"x" * 2000

    response = StreamingResponse(body(), media_type="text/event-stream", headers={"vary": "Origin"})
    if upper:
        response.raw_headers.append((b"X-Upper", b"1"))
    return response


@router.post("/item")
async def item(item: Item) -> Item:
    note(f"item {item.name}")
    return item


@router.post("/raw")
async def raw(request: Request) -> int:
    return len(await request.body())


@router.get("/http/{status}")
async def http(status: int, session: Annotated[str, Depends(session)]) -> None:
    raise HTTPException(status, "x" * 600, {"vary": "Accept", "x-own": "1"})


@router.get("/handled")
async def handled(session: Annotated[str, Depends(session)]) -> None:
    raise Handled("x")


@router.get("/unhandled")
async def unhandled(session: Annotated[str, Depends(session)]) -> None:
    raise Unhandled("x")


@router.get("/unserializable")
async def unserializable() -> JSONResponse:
    return JSONResponse(float("nan"))


@router.get("/late-exception")
async def late_exception(request: Request) -> str:
    async def raises() -> AsyncIterator[None]:
        yield
        raise Handled("late")

    request.scope["fastapi_inner_astack"].push_async_exit(_raising)
    return "answered"


async def _raising(*_: object) -> None:
    note("late")
    raise Handled("late")


@router.get("/background")
async def background(tasks: BackgroundTasks, session: Annotated[str, Depends(session)]) -> str:
    tasks.add_task(note, "background 1")
    tasks.add_task(_in_background, "background 2")
    return "answered"


async def _in_background(event: str) -> None:
    await asyncio.sleep(0)
    note(event)


@router.get("/background-fails")
async def background_fails(tasks: BackgroundTasks) -> str:
    tasks.add_task(_failing)
    return "answered"


async def _failing() -> None:
    note("background fails")
    raise Unhandled("background")


@router.get("/scope")
async def scope(request: Request) -> dict[str, object]:
    request.scope["headers"] = [(b"origin", b"https://other.test"), (b"accept-encoding", b"br")]
    return {"method": request.method, "keys": sorted(request.scope.keys() - {"extensions"})}


@router.get("/inside")
async def inside_variable() -> str:
    seen = inside.get()
    inside.set("endpoint")
    return seen


def add_routes(app: FastAPI) -> None:
    """Adds all of these, the handlers and the journal."""
    app.include_router(router)
    add_journal(app)

    @app.exception_handler(Handled)
    async def handler(request: Request, error: Handled) -> Response:
        note(f"handler {error} {request.url.path}")
        return PlainTextResponse("handled " * 100, 420, {"x-handled": "1"})
