"""What tests/test_frameworks.py asks of every framework, on Litestar."""

# No `from __future__ import annotations`: Litestar resolves the handlers' annotations at run time.
import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast

from litestar import Litestar, MediaType, Request, Response, WebSocket, delete, get, head, post, route, websocket
from litestar.exceptions import NotAuthorizedException
from litestar.logging import LoggingConfig
from litestar.params import Body
from litestar.response import File, Stream


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.opened = "at startup"
    yield
    print("the application was shut down")


@get("/who")
async def who() -> dict[str, str]:
    return {"framework": "litestar"}


@head("/who")
async def who_head() -> Response[None]:
    return Response(None, headers={"content-length": str(len(b'{"framework":"litestar"}'))})


@get("/greet/{name:str}", media_type=MediaType.TEXT)
async def greet(name: str, mark: str = ".") -> str:
    return f"Hello, {name}{mark}"


@post("/total", status_code=200)
async def total(data: Annotated[list[int], Body()]) -> dict[str, int]:
    return {"total": sum(data)}


@route("/digest", http_method=["POST", "PUT"], status_code=200, request_max_body_size=None)
async def digest(request: Request[Any, Any, Any]) -> dict[str, int | str]:
    size, sha256 = 0, hashlib.sha256()
    async for chunk in request.stream():
        size += len(chunk)
        sha256.update(chunk)
    return {"size": size, "sha256": sha256.hexdigest()}


@get("/count")
async def count(lines: int) -> Stream:
    async def written() -> AsyncIterator[str]:
        for number in range(lines):
            yield f"line {number}\n"

    return Stream(written(), media_type=MediaType.TEXT)


@get("/endless")
async def endless() -> Stream:
    async def written() -> AsyncIterator[str]:
        try:
            while True:
                yield "still here\n"
                await asyncio.sleep(0.02)
        finally:
            print("the endless stream ended")

    return Stream(written(), media_type=MediaType.TEXT)


@get("/cookies")
async def cookies() -> Response[None]:
    response = Response(None)
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


@delete("/nothing")
async def nothing() -> None:
    pass


@get("/state")
async def state(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {"opened": request.app.state.opened}


@get("/thread", sync_to_thread=True)
def on_thread() -> dict[str, bool]:
    return {"main_thread": threading.current_thread() is threading.main_thread()}


@get("/file")
async def file() -> File:
    return File(__file__)


@get("/fail")
async def fail() -> None:
    raise RuntimeError("failed on purpose")


@get("/fail-late")
async def fail_late() -> Stream:
    async def written() -> AsyncIterator[str]:
        yield "so far, so good\n"
        raise RuntimeError("failed late, on purpose")

    return Stream(written(), media_type=MediaType.TEXT)


@websocket("/ws/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(subprotocols="chat" if "chat" in socket.scope["subprotocols"] else None)
    while (message := cast("dict[str, Any]", await socket.receive()))["type"] == "websocket.receive":
        if message.get("text") == "close":
            await socket.close(4001, "as you wish")
            return
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])
    print(f"the client closed with {message['code']}")


@websocket("/ws/deny")
async def deny(socket: WebSocket[Any, Any, Any]) -> None:
    raise NotAuthorizedException("who are you?")


app = Litestar(
    [
        who,
        who_head,
        greet,
        total,
        digest,
        count,
        endless,
        cookies,
        nothing,
        state,
        on_thread,
        file,
        fail,
        fail_late,
        echo,
        deny,
    ],
    lifespan=[lifespan],
    # Litestar logs exceptions in debug mode alone, otherwise.
    logging_config=LoggingConfig(log_exceptions="always"),
)
