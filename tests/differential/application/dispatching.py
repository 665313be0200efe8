"""A middleware that does with requests and responses whatever the request asks it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Annotated

import anyio
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .journal import Counted, add_journal, note

Next = Callable[[Request], Awaitable[Response]]

app = FastAPI()
add_journal(app)
gate = asyncio.Event()
seen: ContextVar[str] = ContextVar("seen", default="unset")


class Failure(Exception):
    """Nobody handles it."""


class Known(Exception):
    """The application handles it."""


@app.exception_handler(Known)
async def handler(request: Request, error: Known) -> Response:
    note(f"handler {error}")
    return PlainTextResponse("known", 418)


async def session() -> AsyncIterator[str]:
    """Is left after the response."""
    try:
        yield "session"
    except BaseException as error:
        note(f"session sees {type(error).__name__}")
        raise
    finally:
        note("exit session")


Session = Annotated[str, Depends(session)]


@app.get("/dict")
async def plain(request: Request) -> dict[str, object]:
    note(f"endpoint {seen.get()}")
    seen.set("endpoint")
    return {"state": getattr(request.state, "given", None)}


@app.get("/no-request")
async def no_request() -> dict[str, str]:
    note(f"endpoint {seen.get()}")
    return {"a": "b"}


@app.get("/def")
def in_thread() -> str:
    return seen.get()


@app.get("/task")
async def task() -> list[object]:
    current = asyncio.current_task()
    assert current is not None
    return [current.get_name(), anyio.current_effective_deadline() == float("inf")]


@app.get("/session")
async def with_session(session: Session) -> str:
    note("endpoint")
    return session


@app.get("/background")
async def background(tasks: BackgroundTasks, session: Session) -> str:
    tasks.add_task(note, "background")
    return session


@app.get("/slow")
async def slow(session: Session) -> str:
    note("slow begins")
    try:
        await asyncio.sleep(0.3)
    except asyncio.CancelledError:
        note("slow is cancelled")
        raise
    note("slow ends")
    return session


async def waiting() -> None:
    try:
        await anyio.sleep(0.3)
    except asyncio.CancelledError:
        note("child is cancelled")
        raise
    note("child ends")


@app.get("/scoped")
async def scoped(session: Session) -> str:
    """Waits within scopes of its own, the first of which it has entered before it ever waits."""
    with anyio.CancelScope(shield=True), anyio.CancelScope():
        await anyio.sleep(0.2)
        note("the shielded part ends")
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(waiting)
            await anyio.sleep(0.01)
    finally:
        note("scoped ends")
    return session


@app.post("/body")
async def body(request: Request) -> dict[str, str]:
    return {"body": (await request.body()).decode()}


@app.post("/model")
async def model(given: dict[str, int]) -> dict[str, int]:
    return given


@app.get("/stream")
async def stream(session: Session, fails: bool = False) -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        # What is abandoned ends when the collector finds it, whenever that is.
        for piece in range(3):
            note(f"piece {piece}")
            yield str(piece)
            if fails:
                raise Failure("stream")
        note("stream ends")

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/endless")
async def endless(session: Session) -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        while True:
            yield "piece"

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/stays")
async def stays(session: Session) -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        yield "piece"
        note("waits")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            note("is cancelled")
            raise

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/patient")
async def patient(request: Request, session: Session) -> str:
    note("waits")
    await gate.wait()
    gate.clear()
    note(f"has left: {[await request.is_disconnected() for _ in range(3)]}")
    return session


@app.get("/journal-gate")
async def open_gate() -> None:
    gate.set()


@app.get("/failure")
async def failure(session: Session) -> None:
    raise Failure("endpoint")


@app.get("/known")
async def known(session: Session) -> None:
    raise Known("endpoint")


@app.get("/http")
async def http(session: Session) -> None:
    raise HTTPException(409, "conflict", {"x-own": "1"})


@app.get("/cancelled")
async def cancelled() -> None:
    raise asyncio.CancelledError


@app.get("/empty", status_code=204)
async def empty() -> None: ...


async def whole(response: Response) -> bytes:
    """All that a response has to say."""
    return b"".join([chunk async for chunk in response.body_iterator])  # type: ignore[attr-defined]


async def later(event: str) -> None:
    """Takes no thread."""
    note(event)


async def dispatch(request: Request, call_next: Next) -> Response:
    """Does what the header `x-do` says."""
    if request.url.path.startswith("/journal"):
        return await call_next(request)
    what = request.headers.get("x-do", "")
    seen.set("middleware")
    match what:
        case "answer":
            return JSONResponse({"by": "middleware"}, 202, {"x-early": "1"})
        case "raise-before":
            raise Failure("before")
        case "http-before":
            raise HTTPException(403, "no")
        case "read-body":
            note(f"middleware reads {await request.body()!r}")
        case "read-json":
            note(f"middleware reads {await request.json()!r}")
        case "read-stream":
            note(f"middleware reads {[chunk async for chunk in request.stream()]!r}")
        case "read-one-chunk":
            note(f"middleware reads {await anext(request.stream())!r}")
        case "state":
            request.state.given = "by the middleware"
        case "path":
            request.scope["path"] = "/no-request"
        case "headers":
            request.scope["headers"].append((b"x-added", b"1"))
        case "timeout":
            try:
                async with asyncio.timeout(0.1):
                    await call_next(request)
            except TimeoutError:
                note("middleware times out")
                return PlainTextResponse("late", 504)
        case "move-on":
            with anyio.move_on_after(0.1):
                await call_next(request)
            note("middleware moves on")
            return PlainTextResponse("late", 504)
        case "in-scope":
            with anyio.CancelScope():
                return await call_next(request)
        case "swallow":
            try:
                return await call_next(request)
            except Exception as error:
                note(f"middleware swallows {type(error).__name__} {error.__cause__!r} {error.__context__!r}")
                return PlainTextResponse("swallowed", 599)
        case "other-error":
            try:
                return await call_next(request)
            except Exception as error:
                raise Known("instead") from error
        case "retry":
            response = await call_next(request)
            note(f"first {response.status_code} {await whole(response)!r}")
        case "retry-after-failure":
            try:
                await call_next(request)
            except Failure as error:
                note(f"first {error}")
        case "twice":
            await call_next(request)
        case "task":
            return await asyncio.create_task(call_next(request))  # type: ignore[arg-type]
        case "other-request":
            return await call_next(Request({"type": "http", "headers": []}))
        case "nothing":
            await call_next(request)
            return None  # type: ignore[return-value]
    response = await call_next(request)
    note(f"middleware goes on {seen.get()} {response.status_code} {type(response).__name__}")
    match what:
        case "raise-after":
            raise Failure("after")
        case "known-after":
            raise Known("after")
        case "replace":
            return PlainTextResponse("replaced", 203)
        case "replace-with-body":
            content = await whole(response)
            return Response(content.upper(), response.status_code, dict(response.headers))
        case "read-then-give":
            await whole(response)
        case "iterate":
            inner = response.body_iterator  # type: ignore[attr-defined]

            async def upper() -> AsyncIterator[bytes]:
                async for chunk in inner:
                    note(f"chunk {chunk!r}")
                    yield chunk.upper()
                note("chunks end")

            response.body_iterator = upper()  # type: ignore[attr-defined]
        case "iteration-fails":

            async def failing() -> AsyncIterator[bytes]:
                yield b"x"
                raise Failure("iteration")

            response.body_iterator = failing()  # type: ignore[attr-defined]
        case "background":
            response.background = BackgroundTask(later, "middleware's background")
        case "change":
            response.status_code = 299
            response.headers["x-a"] = "1"
            del response.headers["content-type"]
            response.set_cookie("c", "1")
            response.raw_headers.append((b"X-Raw", b"1"))
        case "look":
            note(f"{sorted(response.headers.items())} {hasattr(response, 'body')} {response.media_type}")
            note(f"{type(response.body_iterator).__name__} {response.background}")  # type: ignore[attr-defined]
        case "wait":
            for _ in range(5):
                await asyncio.sleep(0)
            note("middleware has waited")
        case "scope":
            keys = sorted(key for key in request.scope if not key.startswith("extensions"))
            note(f"{keys} {request.scope['path_params']} {request.scope['route'].path}")
    return response


class Noting:
    """Notes what comes after, innermost."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/journal"):
            await self.app(scope, receive, send)
            return

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                note("inner start")
            await send(message)

        await self.app(scope, receive, sender)
        note("inner ends")


async def outside(request: Request, call_next: Next) -> Response:
    """The outer of two, which passes all on."""
    seen.set("outside")
    response = await call_next(request)
    response.headers["x-outside"] = seen.get()
    return response


app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
counted = Counted(app)
