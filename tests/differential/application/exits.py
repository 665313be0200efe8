"""Dependencies with exits: functions that yield, in both scopes, and what may go wrong on every side of the yield."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
import anyio.lowlevel
from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel

from .journal import note, where

router = APIRouter(prefix="/exits")

opened: ContextVar[str] = ContextVar("opened", default="closed")


class Custom(Exception):
    """An exception of the application, with a handler."""


async def session(request: Request) -> AsyncIterator[str]:
    """A resource that lives as long as the request."""
    note("enter session")
    opened.set("open")
    try:
        yield "session"
    except BaseException as error:
        note(f"session sees {type(error).__name__}")
        raise
    finally:
        note(f"exit session {opened.get()}")


def sync_session() -> Iterator[str]:
    """The same in threads."""
    note(f"enter sync session {where()}")
    try:
        yield "sync session"
    except BaseException as error:
        note(f"sync session sees {type(error).__name__} {where()}")
        raise
    finally:
        note(f"exit sync session {where()}")


async def outer() -> AsyncIterator[None]:
    """What is left last of all."""
    yield
    note("exit outer")


async def unit(session: Annotated[str, Depends(session)]) -> AsyncIterator[str]:
    """A resource within another."""
    note("enter unit")
    try:
        yield f"unit of {session}"
    finally:
        await anyio.lowlevel.checkpoint()
        note("exit unit")


async def brief() -> AsyncIterator[str]:
    """A resource that ends before the response is sent."""
    note("enter brief")
    try:
        yield "brief"
    except BaseException as error:
        note(f"brief sees {type(error).__name__}")
        raise
    finally:
        note("exit brief")


async def pushes(request: Request, swallowed: str = "") -> None:
    """Puts something of its own into both stacks, to be left between those that were entered before and after."""

    def leave(name: str, error: BaseException | None) -> bool:
        note(f"exit pushed to {name}, sees {type(error).__name__}")
        return name == swallowed

    for name in ("fastapi_inner_astack", "fastapi_function_astack"):
        request.scope[name].push(lambda kind, error, traceback, name=name: leave(name, error))


def sync_brief() -> Iterator[str]:
    """The same in threads."""
    note(f"enter sync brief {where()}")
    try:
        yield "sync brief"
    finally:
        note(f"exit sync brief {where()}")


Session = Annotated[str, Depends(session)]
SyncSession = Annotated[str, Depends(sync_session)]
Unit = Annotated[str, Depends(unit)]
Brief = Annotated[str, Depends(brief, scope="function")]
SyncBrief = Annotated[str, Depends(sync_brief, scope="function")]


class Noted(JSONResponse):
    """A response that tells when it is sent."""

    async def __call__(self, *args: Any) -> None:
        note("response sent")
        await super().__call__(*args)


def fail(how: str) -> None:
    """Raises what a name says."""
    match how:
        case "http":
            raise HTTPException(418, "teapot", {"x-pot": "tea"})
        case "custom":
            raise Custom("of the application")
        case "value":
            raise ValueError("a fault")
        case "base":
            raise KeyboardInterruptLike("beyond Exception")
        case "group":
            raise ExceptionGroup("several", [ValueError("one"), HTTPException(400)])
        case "stop":
            raise StopAsyncIteration("stopped")
        case "timeout":
            raise TimeoutError("too late")


class KeyboardInterruptLike(BaseException):
    """Something that `except Exception` does not catch."""


# Order of exits, response and background.


@router.get("/order")
async def order(
    first: Session, second: Unit, third: SyncSession, brief: Brief, other: SyncBrief, tasks: BackgroundTasks
):
    tasks.add_task(note, "background")
    note(f"endpoint {opened.get()}")
    return Noted([first, second, third, brief, other])


@router.get("/order-in-thread")
def order_in_thread(first: Session, second: SyncSession, brief: Brief, tasks: BackgroundTasks):
    tasks.add_task(note, "background")
    note(f"endpoint {where()} {opened.get()}")
    return Noted([first, second, brief])


@router.get("/order-model")
async def order_model(first: Session, brief: Brief) -> dict[str, str]:
    return {"first": first, "brief": brief}


@router.get("/order-streamed")
async def order_streamed(first: Session, brief: Brief):
    async def pieces():
        for piece in ("a", "b"):
            note(f"streams {piece} {opened.get()}")
            yield piece

    return StreamingResponse(pieces(), media_type="text/plain")


@router.get("/fails/{how}")
async def endpoint_fails(how: str, first: Session, second: SyncSession, brief: Brief):
    note("endpoint")
    fail(how)
    return "unharmed"


@router.get("/fails-in-thread/{how}")
def endpoint_fails_in_thread(how: str, first: Session, second: SyncSession, brief: Brief):
    note("endpoint")
    fail(how)
    return "unharmed"


@router.get("/plain-fails/{how}")
async def plain_fails(how: str):
    fail(how)


class Wanted(BaseModel):
    """A body."""

    name: str


@router.post("/validates")
async def validates(body: Wanted, first: Session, second: SyncSession, brief: Brief):
    # The body is wrong after all were opened; each sees the error.
    return body


@router.get("/wrong-answer")
async def wrong_answer(first: Session, brief: Brief) -> int:
    return "not a number"  # type: ignore[return-value]


@router.get("/not-serializable")
async def not_serializable(first: Session, brief: Brief):
    return JSONResponse.__new__


@router.get("/infinite")
async def infinite(first: Session, brief: Brief):
    return {"value": float("inf")}


@router.get("/surrogate")
async def surrogate(first: Session, brief: Brief):
    return {"value": "\ud800"}


# A dependency that turns errors around.


async def turns(request: Request) -> AsyncIterator[None]:
    try:
        yield
    except RequestValidationError as error:
        note(f"turned {len(error.errors())} errors of {error.body!r}")
        raise HTTPException(400, "turned") from error
    except HTTPException as error:
        note(f"turned {error.status_code}")
        raise HTTPException(error.status_code + 1, "turned") from error
    except ResponseValidationError as error:
        note("turned response")
        raise Custom("turned response") from error
    except ValueError as error:
        raise Custom("turned value") from error


def sync_turns() -> Iterator[None]:
    try:
        yield
    except RequestValidationError:
        note(f"turned {where()}")
        raise HTTPException(400, "turned in thread") from None


@router.post("/turned", dependencies=[Depends(turns)])
async def turned(body: Wanted, how: str = "no"):
    fail(how)
    return body


@router.post("/turned-in-function", dependencies=[Depends(turns, scope="function")])
async def turned_in_function(body: Wanted, how: str = "no"):
    fail(how)
    return body


@router.post("/turned-in-thread", dependencies=[Depends(sync_turns)])
async def turned_in_thread(body: Wanted):
    return body


@router.get("/turned-response", dependencies=[Depends(turns)])
async def turned_response() -> int:
    return "x"  # type: ignore[return-value]


@router.post("/turned-twice", dependencies=[Depends(turns), Depends(lambda again=Depends(turns, use_cache=False): 1)])  # noqa: B008
async def turned_twice(body: Wanted):
    return body


# A dependency that swallows errors, or raises on its own.


async def swallows() -> AsyncIterator[None]:
    try:
        yield
    except Exception as error:
        note(f"swallowed {type(error).__name__}")


def sync_swallows() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        note(f"swallowed {type(error).__name__}")


@router.get("/swallowed/{how}", dependencies=[Depends(swallows)])
async def swallowed(how: str):
    fail(how)
    return how


@router.get("/swallowed-in-function/{how}", dependencies=[Depends(swallows, scope="function")])
async def swallowed_in_function(how: str):
    fail(how)
    return how


@router.get("/swallowed-in-thread/{how}", dependencies=[Depends(sync_swallows)])
async def swallowed_in_thread(how: str):
    fail(how)
    return how


@router.get("/swallowed-number/{number}", dependencies=[Depends(swallows)])
async def swallowed_number(number: int):
    return number


async def before_yield(how: str) -> AsyncIterator[str]:
    note("before yield")
    fail(how)
    yield how
    note("after yield")


async def after_yield(how: str) -> AsyncIterator[str]:
    try:
        yield how
    finally:
        note("after yield")
        fail(how)


def sync_after_yield(how: str) -> Iterator[str]:
    try:
        yield how
    finally:
        note("after yield")
        fail(how)


@router.get("/raises-before/{how}")
async def raises_before(first: Session, value: Annotated[str, Depends(before_yield)], other: SyncSession):
    return value


@router.get("/raises-before-in-function/{how}")
async def raises_before_in_function(
    first: Session, brief: Brief, value: Annotated[str, Depends(before_yield, scope="function")]
):
    return value


@router.get("/raises-after/{how}")
async def raises_after(first: Session, value: Annotated[str, Depends(after_yield)]):
    return value


@router.get("/raises-after-in-function/{how}")
async def raises_after_in_function(
    first: Session, brief: Brief, value: Annotated[str, Depends(after_yield, scope="function")]
):
    return value


@router.get("/raises-after-in-thread/{how}")
async def raises_after_in_thread(first: Session, value: Annotated[str, Depends(sync_after_yield)]):
    return value


@router.get("/raises-after-in-thread-in-function/{how}")
async def raises_after_in_thread_in_function(
    first: Session, value: Annotated[str, Depends(sync_after_yield, scope="function")]
):
    return value


@router.get("/raises-both/{how}")
async def raises_both(how: str, first: Session, value: Annotated[str, Depends(after_yield)], own: str = "value"):
    # The endpoint fails, and the exit fails differently.
    note("endpoint")
    fail(own)
    return value


# Generators that misbehave.


async def never_yields(way: int = 0) -> AsyncIterator[None]:
    note("never yields")
    if way:
        yield


async def yields_twice() -> AsyncIterator[int]:
    yield 1
    note("again")
    yield 2


def sync_never_yields(way: int = 0) -> Iterator[None]:
    if way:
        yield


def sync_yields_twice() -> Iterator[int]:
    yield 1
    note("again")
    yield 2


@router.get("/never-yields", dependencies=[Depends(never_yields)])
async def never(first: Session):
    return "never"


@router.get("/yields-twice", dependencies=[Depends(yields_twice)])
async def twice(first: Session):
    return "twice"


@router.get("/sync-never-yields", dependencies=[Depends(sync_never_yields)])
async def sync_never(first: Session):
    return "never"


@router.get("/sync-yields-twice", dependencies=[Depends(sync_yields_twice)])
async def sync_twice(first: Session):
    return "twice"


# The cache and the scopes: the same function in two scopes is entered twice.


@router.get("/two-scopes", dependencies=[Depends(outer)])
async def two_scopes(
    request: Annotated[str, Depends(brief)],
    function: Annotated[str, Depends(brief, scope="function")],
    again: Annotated[str, Depends(brief, scope="request")],
):
    return [request, function, again]


@router.get("/cached")
async def cached(a: Session, b: Unit, c: Session):
    return [a, b, c]


@router.get("/uncached", dependencies=[Depends(outer)])
async def uncached(a: Session, b: Annotated[str, Depends(session, use_cache=False)]):
    return [a, b]


class Opener:
    """An instance whose call yields."""

    async def __call__(self) -> AsyncIterator[str]:
        note("enter opener")
        yield "opener"
        note("exit opener")

    def method(self) -> Iterator[str]:
        note("enter method")
        yield "method"
        note("exit method")


opener = Opener()


@router.get("/callable-instances")
async def callable_instances(a: Annotated[str, Depends(opener)], b: Annotated[str, Depends(opener.method)]):
    return [a, b]


# What is put into the stacks that the scope holds.


@router.get("/found-stacks/{how}", dependencies=[Depends(outer)])
async def found_stacks(
    how: str,
    first: Session,
    found: Annotated[None, Depends(pushes)],
    second: Unit,
    brief: Brief,
):
    fail(how)
    return [first, second, brief]


# What exits may still do.


async def late_headers(response: Response) -> AsyncIterator[None]:
    response.headers["x-entered"] = "yes"
    yield
    response.headers["x-left"] = "yes"


@router.get("/late-headers", dependencies=[Depends(late_headers)])
async def late_headers_of_request():
    return "late"


@router.get("/late-headers-in-function", dependencies=[Depends(late_headers, scope="function")])
async def late_headers_of_function():
    return "late"


async def late_task(tasks: BackgroundTasks) -> AsyncIterator[None]:
    yield
    tasks.add_task(note, "late background")
    note("added late")


@router.get("/late-task-in-function", dependencies=[Depends(late_task, scope="function")])
async def late_task_of_function(tasks: BackgroundTasks):
    tasks.add_task(note, "background")
    return "late"


@router.get("/late-task", dependencies=[Depends(late_task)])
async def late_task_of_request(tasks: BackgroundTasks):
    tasks.add_task(note, "background")
    return "late"


async def scoped() -> AsyncIterator[str]:
    """A task group around the endpoint."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_told_later)
        yield "scoped"
        note("leaving scope")
    note("left scope")


async def _told_later() -> None:
    await anyio.lowlevel.checkpoint()
    note("task of the scope")


async def limited() -> AsyncIterator[None]:
    """A deadline around the endpoint."""
    with anyio.move_on_after(0.01) as scope:
        yield
    note(f"cancelled {scope.cancelled_caught}")


@router.get("/task-group")
async def task_group(value: Annotated[str, Depends(scoped)]):
    await anyio.lowlevel.checkpoint()
    return value


@router.get("/deadline", dependencies=[Depends(limited)])
async def deadline(first: Session):
    try:
        await anyio.sleep(30)
    finally:
        note("endpoint cancelled")
    return "never"


@router.get("/contextvars")
async def contextvars_across(first: Session):
    note(f"endpoint {opened.get()}")
    opened.set("changed by endpoint")
    return opened.get()


@router.get("/contextvars-in-thread")
def contextvars_in_thread(first: Session):
    note(f"endpoint {opened.get()}")
    opened.set("changed by endpoint")
    return opened.get()


@router.get("/background-fails")
async def background_fails(first: Session, brief: Brief, tasks: BackgroundTasks):
    def failing() -> None:
        note("background fails")
        raise ValueError("a fault in the background")

    tasks.add_task(failing)
    tasks.add_task(note, "never")
    return PlainTextResponse("sent")


@router.get("/background-raises-http")
async def background_raises_http(first: Session, tasks: BackgroundTasks):
    async def failing() -> None:
        note("background fails")
        raise HTTPException(418)

    tasks.add_task(failing)
    return "sent"
