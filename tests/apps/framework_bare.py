"""What tests/test_frameworks.py asks of every framework, on ASGI alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

OWN_SOURCE = Path(__file__).read_bytes()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "http":
        path: str = scope["path"]
        endpoint = ENDPOINTS.get(path) or (greet if path.startswith("/greet/") else missing)
        await endpoint(scope, receive, send)
    elif scope["path"] == "/ws/echo":
        await echo(scope, receive, send)
    else:
        await deny(scope, receive, send)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    scope["state"]["opened"] = "at startup"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("the application was shut down")
    await send({"type": "lifespan.shutdown.complete"})


async def answer(
    send: Send, body: bytes, status: int = 200, content_type: str = "text/plain; charset=utf-8", head: bool = False
) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def answer_json(send: Send, value: object, status: int = 200, head: bool = False) -> None:
    await answer(send, json.dumps(value).encode(), status, "application/json", head)


async def who(scope: Scope, receive: Receive, send: Send) -> None:
    await answer_json(send, {"framework": "bare"}, head=scope["method"] == "HEAD")


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    name = scope["path"].removeprefix("/greet/")
    mark = parse_qs(scope["query_string"].decode()).get("mark", ["."])[0]
    await answer(send, f"Hello, {name}{mark}".encode())


async def missing(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"there is nothing here", 404)


async def total(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    try:
        numbers = json.loads(body)
    except ValueError:
        await answer(send, b"not JSON", 400)
    else:
        await answer_json(send, {"total": sum(numbers)})


async def digest(scope: Scope, receive: Receive, send: Send) -> None:
    size, sha256, more = 0, hashlib.sha256(), True
    while more:
        message = await receive()
        size += len(message["body"])
        sha256.update(message["body"])
        more = message["more_body"]
    await answer_json(send, {"size": size, "sha256": sha256.hexdigest()})


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    lines = int(parse_qs(scope["query_string"].decode())["lines"][0])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(lines):
        await send({"type": "http.response.body", "body": b"line %d\n" % number, "more_body": True})
    await send({"type": "http.response.body"})


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    gone = asyncio.create_task(listen())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    while not gone.done():
        await send({"type": "http.response.body", "body": b"still here\n", "more_body": True})
        await asyncio.wait([gone], timeout=0.02)
    print("the endless stream ended")


async def cookies(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"0"), (b"set-cookie", b"first=1"), (b"set-cookie", b"second=2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body"})


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def state(scope: Scope, receive: Receive, send: Send) -> None:
    await answer_json(send, {"opened": scope["state"]["opened"]})


async def file(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, OWN_SOURCE)


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("failed on purpose")


async def fail_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"so far, so good\n", "more_body": True})
    raise RuntimeError("failed late, on purpose")


ENDPOINTS = {
    "/who": who,
    "/total": total,
    "/digest": digest,
    "/count": count,
    "/endless": endless,
    "/cookies": cookies,
    "/nothing": nothing,
    "/state": state,
    "/file": file,
    "/fail": fail,
    "/fail-late": fail_late,
}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "chat" if "chat" in scope["subprotocols"] else None})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
            return
        reply = {"text": message["text"]} if message.get("text") is not None else {"bytes": message["bytes"]}
        await send({"type": "websocket.send", **reply})
    print(f"the client closed with {message['code']}")


async def deny(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"who are you?"})
