"""WebSocket routes with dependencies of all kinds, and what may go wrong in them."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any
from uuid import UUID

import anyio
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
    Security,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from fastapi.exceptions import WebSocketRequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.security import SecurityScopes
from pydantic import BaseModel
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketState

from .journal import add_journal, note, where

app = FastAPI()
router = APIRouter(prefix="/inner")
seen: ContextVar[str] = ContextVar("seen", default="nothing")


class Custom(Exception):
    """An exception of the application, with a handler."""


class Filter(BaseModel):
    """Several parameters of the query."""

    model_config = {"extra": "forbid"}
    limit: int = 10
    tags: list[str] = []


@app.exception_handler(Custom)
async def custom(websocket: WebSocket, error: Custom) -> None:
    """Closes with what the exception says."""
    note(f"handler {error} {type(websocket).__name__} {websocket.application_state.name}")
    await websocket.close(4000, str(error))


async def leaf(q: int = 0) -> str:
    note("leaf")
    seen.set("leaf")
    return f"leaf {q}"


def threaded(leaf: Annotated[str, Depends(leaf)]) -> str:
    note(f"threaded {where()}")
    return f"threaded {leaf}"


class Branch:
    """A dependency that is a class."""

    def __init__(self, leaf: Annotated[str, Depends(leaf)], again: Annotated[str, Depends(leaf, use_cache=False)]):
        note(f"branch {where()}")
        self.both = [leaf, again]


async def session(websocket: WebSocket) -> AsyncIterator[str]:
    """A resource that lives as long as the connection."""
    note(f"enter session {websocket.application_state.name}")
    try:
        yield "session"
    except BaseException as error:
        note(f"session sees {type(error).__name__}")
        raise
    finally:
        note(f"exit session {websocket.application_state.name}")


def brief() -> Iterator[str]:
    """A resource of the function's, in threads."""
    note("enter brief")
    try:
        yield "brief"
    except Exception as error:
        note(f"brief sees {type(error).__name__}")
        raise
    finally:
        note(f"exit brief {where()}")


Session = Annotated[str, Depends(session)]
Brief = Annotated[str, Depends(brief, scope="function")]


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)
    note("left")


@app.websocket("/tree")
async def tree(
    websocket: WebSocket,
    branch: Annotated[Branch, Depends()],
    threaded: Annotated[str, Depends(threaded)],
    session: Session,
    brief: Brief,
) -> None:
    await websocket.accept()
    await websocket.send_json([branch.both, threaded, session, brief, seen.get()])
    await websocket.close(4001, "done")
    note("endpoint")


@app.websocket("/parameters/{number}/{key}/{rest:path}")
async def parameters(
    websocket: WebSocket,
    number: int,
    key: UUID,
    rest: str,
    q: Annotated[list[int], Query()],
    word: Annotated[str, Query(min_length=2, alias="w-o")] = "default",
    user_agent: Annotated[str | None, Header()] = None,
    many: Annotated[list[str] | None, Header(alias="x-many")] = None,
    c: Annotated[str, Cookie()] = "no cookie",
) -> None:
    await websocket.accept()
    await websocket.send_json([number, str(key), rest, q, word, user_agent == "tester", many, c])
    await websocket.close()


@app.websocket("/number/{number:int}/{real:float}")
async def number(websocket: WebSocket, number: int, real: float) -> None:
    await websocket.accept()
    await websocket.send_json([number, real, websocket.path_params])
    await websocket.close()


@app.websocket("/model")
async def model(websocket: WebSocket, filter: Annotated[Filter, Query()]) -> None:
    await websocket.accept()
    await websocket.send_json(filter.model_dump())
    await websocket.close()


@app.websocket("/fails/{how}")
async def fails(websocket: WebSocket, how: str, session: Session, brief: Brief, accept: bool = True) -> None:
    if accept:
        await websocket.accept("second")
    match how:
        case "websocket":
            raise WebSocketException(4003, "no entry")
        case "http":
            raise HTTPException(418, "teapot", {"x-refused": "yes"})
        case "custom":
            raise Custom("custom")
        case "value":
            raise ValueError("a fault")
        case "group":
            raise ExceptionGroup("several", [ValueError("a fault")])
        case "disconnect":
            raise WebSocketDisconnect(4004)
        case "close":
            await websocket.close(4005)
        case "leaves":
            await websocket.receive_text()
    note("returns")


async def swallowing() -> AsyncIterator[None]:
    try:
        yield
    except Exception as error:
        note(f"swallows {type(error).__name__}")


async def turning() -> AsyncIterator[None]:
    try:
        yield
    except ValueError:
        raise WebSocketException(4006, "turned") from None


async def late() -> AsyncIterator[None]:
    yield
    note("late")
    raise Custom("late")


@app.websocket("/swallowed", dependencies=[Depends(swallowing)])
async def swallowed(websocket: WebSocket, brief: Brief) -> None:
    await websocket.accept()
    await websocket.close(4007)
    raise ValueError


@app.websocket("/turned", dependencies=[Depends(turning)])
async def turned(websocket: WebSocket, session: Session) -> None:
    await websocket.accept()
    raise ValueError


@app.websocket("/late", dependencies=[Depends(late)])
async def fails_late(websocket: WebSocket, session: Session) -> None:
    await websocket.accept()


async def accepting(websocket: WebSocket) -> None:
    await websocket.accept()


@app.websocket("/validated", dependencies=[Depends(session)])
async def validated(websocket: WebSocket, number: int) -> None:
    note("never")


async def validation(websocket: WebSocket, error: WebSocketRequestValidationError) -> None:
    note(f"invalid {error.errors()} {error.endpoint_path}")
    await websocket.close(1008, "invalid")


def guard(security_scopes: SecurityScopes, connection: HTTPConnection) -> str:
    note(f"guard {security_scopes.scopes} {type(connection).__name__}")
    token = connection.headers.get("authorization")
    if token is None:
        raise WebSocketException(1008, "who are you?")
    return token


@app.websocket("/guarded")
async def guarded(websocket: WebSocket, token: Annotated[str, Security(guard, scopes=["read"])]) -> None:
    await websocket.accept(headers=[(b"x-token", token.encode())])
    await websocket.send_bytes(await websocket.receive_bytes())
    await websocket.close()


async def changing(websocket: WebSocket) -> None:
    websocket.scope["path_params"]["name"] = "changed"
    websocket.scope["headers"].append((b"x-added", b"added"))


async def read(name: str, x_added: Annotated[str | None, Header()] = None) -> str:
    return f"{name} {x_added}"


@app.websocket("/changed/{name}", dependencies=[Depends(changing)])
async def changed(websocket: WebSocket, read: Annotated[str, Depends(read)]) -> None:
    await websocket.accept()
    await websocket.send_text(read)
    await websocket.close()


@app.websocket("/odd")
async def odd(
    websocket: WebSocket, tasks: BackgroundTasks, response: Response, item: Annotated[int, Body()] = 5
) -> None:
    tasks.add_task(note, "a task that nobody runs")
    await websocket.accept()
    await websocket.send_json([item, response.status_code])
    await websocket.close()


async def of_request(request: Request) -> str:
    return request.url.path


@app.websocket("/kinds")
async def kinds(websocket: WebSocket) -> None:
    """Asks for another kind of message than comes, and for one when none will come any more."""
    await websocket.accept()
    for receive in (websocket.receive_bytes, websocket.receive_text):
        try:
            await websocket.send_text(f"received {await receive()!r}")
        except KeyError as error:
            await websocket.send_text(f"no {error}")
    await websocket.send_bytes(await websocket.receive_bytes())
    for _ in range(2):
        try:
            await websocket.receive_text()
        except (WebSocketDisconnect, RuntimeError) as error:
            note(f"{error!r} {websocket.client_state} {websocket.application_state}")
    for send in (websocket.send_text("late"), websocket.send_bytes(b"late")):
        try:
            await send
        except (WebSocketDisconnect, RuntimeError) as error:
            note(f"{error!r} {websocket.application_state}")
    note("gone")


@app.websocket("/own")
async def own(websocket: WebSocket) -> None:
    """Puts functions of its own into the object, which Starlette's methods then call."""
    await websocket.accept()
    receive, send = websocket.receive, websocket.send

    async def received() -> Any:
        return {**await receive(), "text": "received"}

    async def sent(message: Any) -> None:
        note(f"sends {message}")
        await send(message)

    websocket.receive = received
    websocket.send = sent
    await websocket.send_text(await websocket.receive_text())
    await websocket.send_bytes(b"sent")
    note("has sent")


class Ways:
    """Ways to receive and to send that are no plain `await`, and what may happen meanwhile. `next` asks the client."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket

    async def ask(self) -> None:
        await self.websocket.send_text("next")

    async def in_a_task(self) -> list[Any]:
        task = asyncio.create_task(self.websocket.receive_text())
        await asyncio.sleep(0)
        await self.ask()
        return [await task]

    async def as_a_coroutine(self) -> list[Any]:
        receiving, sending = self.websocket.receive_text(), self.websocket.send_text("kept")
        kinds = [inspect.iscoroutine(receiving), inspect.iscoroutine(sending), asyncio.iscoroutine(receiving)]
        await self.websocket.send_text("sent before")
        await sending
        await self.ask()
        return [*kinds, await receiving]

    async def wrapped(self) -> list[Any]:
        receive = functools.partial(self.websocket.receive_text)
        heard = []
        for each in (receive, lambda: self.websocket.receive_text(), self.in_a_helper):
            await self.ask()
            heard.append(await each())
        return heard

    async def in_a_helper(self) -> str:
        return await self.websocket.receive_text()

    async def cancelled(self) -> list[Any]:
        told: list[Any] = []
        for _ in range(3):
            try:
                async with asyncio.timeout(0.01):
                    await self.websocket.receive_text()
            except TimeoutError:
                told.append("timeout")
        try:
            await asyncio.wait_for(self.websocket.receive_bytes(), 0.01)
        except TimeoutError:
            told.append("timeout")
        with anyio.move_on_after(0.01) as scope:
            await self.websocket.receive_text()
        told.append(scope.cancelled_caught)
        await self.ask()
        return [*told, await self.websocket.receive_text()]

    async def cancelled_from_within(self) -> list[Any]:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("by itself")
        try:
            await self.websocket.receive_text()
        except asyncio.CancelledError as error:
            told = [str(error), task.cancelling(), task.uncancel()]
        await self.ask()
        return [*told, await self.websocket.receive_text()]

    async def cancelled_as_it_comes(self) -> list[Any]:
        """Whoever is cancelled in the moment in which a message comes either has it or leaves it."""
        heard = []
        task = asyncio.create_task(self.websocket.receive_text())
        await asyncio.sleep(0)
        await self.ask()
        await asyncio.sleep(0.05)
        task.cancel()
        try:
            heard.append(await task)
        except asyncio.CancelledError:
            heard.append(await self.websocket.receive_text())
        return heard

    async def several(self) -> list[Any]:
        tasks = [asyncio.create_task(self.websocket.receive_text()) for _ in range(3)]
        await asyncio.sleep(0)
        for _ in tasks:
            await self.ask()
        return [await task for task in tasks]

    async def in_a_group(self) -> list[Any]:
        heard = []

        async def hear() -> None:
            heard.append(await self.websocket.receive_text())

        async with anyio.create_task_group() as group:
            group.start_soon(hear)
            group.start_soon(self.websocket.send_text, "next")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.websocket.send_text("next"))
            tasks.create_task(hear())
        return heard

    async def with_its_context(self) -> list[Any]:
        async def hear(word: str) -> list[Any]:
            seen.set(word)
            task = asyncio.current_task()
            text = await self.websocket.receive_text()
            return [text, seen.get(), asyncio.current_task() is task]

        tasks = [asyncio.create_task(hear(f"task {number}")) for number in range(2)]
        await asyncio.sleep(0)
        seen.set("own")
        for _ in tasks:
            await self.ask()
        return [*[await task for task in tasks], seen.get()]

    async def beside_others(self) -> list[Any]:
        """The loop goes on, and a message is no longer waited for once something else was first."""
        done, pending = await asyncio.wait(
            [asyncio.create_task(self.websocket.receive_text()), asyncio.create_task(asyncio.sleep(0.01, "slept"))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        await self.ask()
        return [task.result() for task in done] + [await task for task in pending]

    async def iterated(self) -> list[Any]:
        heard: list[Any] = []
        await self.ask()
        async for text in self.websocket.iter_text():
            heard.append(text)
            if len(heard) == 2:
                break
            await self.ask()
        await self.ask()
        async for data in self.websocket.iter_bytes():
            heard.append(data.decode())
            break
        return heard

    async def as_json(self) -> list[Any]:
        heard = []
        for mode in ("text", "text", "binary", "other"):
            try:
                if mode != "other":
                    await self.ask()
                heard.append(await self.websocket.receive_json(mode))
                await self.websocket.send_json({"é": heard}, mode)
            except (ValueError, RuntimeError) as error:
                heard.append(f"{type(error).__name__} {error}")
        try:
            await self.websocket.send_json({1, 2})
        except TypeError as error:
            heard.append(str(error))
        return heard

    async def changed_later(self) -> list[Any]:
        """What is put into the object counts from then on, and what is taken out again no more."""
        heard = []
        receive = self.websocket.receive

        async def received() -> Any:
            return {**await receive(), "text": "received"}

        for change in (
            lambda: None,
            lambda: setattr(self.websocket, "receive", received),
            lambda: delattr(self.websocket, "receive"),
            lambda: vars(self.websocket).update(receive=received),
        ):
            change()
            await self.ask()
            heard.append(await self.websocket.receive_text())
        return heard

    async def told_wrongly(self) -> list[Any]:
        told = []
        for change in ("client_state", "application_state"):
            state = getattr(self.websocket, change)
            setattr(self.websocket, change, WebSocketState.DISCONNECTED)
            for act in (self.websocket.receive_text, self.websocket.receive_bytes):
                try:
                    await act()
                except RuntimeError as error:
                    told.append(str(error))
            setattr(self.websocket, change, WebSocketState.CONNECTED)
            try:
                self.websocket.application_state = WebSocketState.DISCONNECTED
                await self.websocket.send_text("never")
            except RuntimeError as error:
                told.append(str(error))
            self.websocket.application_state = WebSocketState.CONNECTED
            setattr(self.websocket, change, state)
        return told


@app.websocket("/ways/{way}")
async def ways(websocket: WebSocket, way: str) -> None:
    await websocket.accept()
    told = await getattr(Ways(websocket), way)()
    await websocket.send_json(told)
    await websocket.close(4010)


@app.websocket("/of-request")
async def with_request(websocket: WebSocket, path: Annotated[str, Depends(of_request)]) -> None:
    await websocket.accept()


@app.websocket("/def")
def plain(websocket: WebSocket) -> None:
    note("def")


async def shown(websocket: WebSocket) -> None:
    """Sends what the scope holds."""
    scope = websocket.scope
    room = scope.get("fastapi", {})
    await websocket.accept()
    await websocket.send_json(
        {
            "type": type(websocket).__name__,
            "scope": sorted(scope),
            "endpoint": scope["endpoint"].__name__,
            "route": [type(scope["route"]).__name__, scope["route"].path],
            "room": {name: type(value).__name__ for name, value in sorted(room.items())},
            "context": getattr(getattr(room.get("effective_route_context"), "starlette_route", None), "path", None),
            "app": websocket.app is app,
            "router": scope["router"] is app.router,
            "path": [websocket.url.path, scope["path"], scope["root_path"], websocket.path_params],
            "url_for": websocket.url_for("tree").path,
        }
    )
    await websocket.close()


app.websocket("/shown/{a}")(shown)
router.websocket("/shown/{b}")(shown)


@router.websocket("/echo")
async def inner_echo(websocket: WebSocket, leaf: Annotated[str, Depends(leaf)]) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(f"{leaf} {await websocket.receive_text()}")


innermost = APIRouter(prefix="/most", dependencies=[Depends(brief, scope="function")])
innermost.websocket("/shown")(shown)
router.include_router(innermost)
app.include_router(router, prefix="/outer", dependencies=[Depends(session)])


class Endpoint(WebSocketEndpoint):
    """Starlette's own way."""

    encoding = "text"

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_text(f"endpoint {data}")


app.router.routes.append(WebSocketRoute("/starlette", Endpoint))


async def other_leaf(word: str = "none") -> AsyncIterator[str]:
    note("enter other leaf")
    try:
        yield f"other {word}"
    finally:
        note("exit other leaf")


@app.post("/overrides")
async def override(on: bool) -> bool:
    app.dependency_overrides = {leaf: other_leaf} if on else {}
    return on


@app.post("/handler")
async def handle_validation(on: bool) -> bool:
    # The tables of handlers are those of the built stack.
    handlers = app.middleware_stack
    while not hasattr(handlers, "_exception_handlers"):
        handlers = handlers.app  # type: ignore[union-attr]
    if on:
        handlers._exception_handlers[WebSocketRequestValidationError] = validation
    else:
        handlers._exception_handlers[WebSocketRequestValidationError] = app.exception_handlers[
            WebSocketRequestValidationError
        ]
    return on


add_journal(app)
