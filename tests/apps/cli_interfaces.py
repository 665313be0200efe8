"""One application in each of the ways that an import string can name it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


async def answer(send: Any, body: str) -> None:
    content = body.encode()
    length = str(len(content)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": content})


async def function(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await answer(send, f"asgi {scope['asgi']['version']}")


class Instance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await function(scope, receive, send)


class Asgi2:
    def __init__(self, scope: Any) -> None:
        assert scope["type"] == "http"
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await answer(send, f"asgi {self.scope['asgi']['version']}")


def wrapped(scope: Any, receive: Any, send: Any) -> Any:
    """Not a coroutine function itself, as decorators often make them."""
    return function(scope, receive, send)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"wsgi {environ['PATH_INFO']}".encode()]


def create() -> Any:
    return function


def create_failing() -> Any:
    raise ValueError("no settings\nand more about it")


def create_nothing() -> Any:
    return None


instance = Instance()
nested = SimpleNamespace(inner=SimpleNamespace(app=function))
number = 7
