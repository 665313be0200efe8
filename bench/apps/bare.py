"""Bare ASGI, with no framework: what it costs is the server's doing. `rust/axum-peer` answers alike.

- `GET /json`: a small object, encoded once: encoding it anew would measure `json` more than the server
- `GET /pid`: the number of the process that answers (not in `axum-peer`)
- `POST /upload`: the number of bytes received, read as they come
- `GET /download?bytes=N`: so many bytes in pieces of 64 KiB
- WebSocket: each message is sent back
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE = b"x" * 65536
JSON = json.dumps({"message": "done"}).encode()


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] == "http":
        match scope["path"]:
            case "/json":
                await answer(send, b"application/json", JSON)
            case "/pid":
                await answer(send, b"text/plain", str(os.getpid()).encode())
            case "/upload":
                await upload(receive, send)
            case "/download":
                await download(int(scope["query_string"].removeprefix(b"bytes=")), send)
            case _:
                await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
                await send({"type": "http.response.body", "body": b""})
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:  # what a server takes for "no lifespan here"
        raise NotImplementedError(scope["type"])


async def answer(send: Send, content_type: bytes, body: bytes) -> None:
    """A whole answer in two messages, as frameworks send it."""
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def upload(receive: Receive, send: Send) -> None:
    """Counts the body without keeping it."""
    received = 0
    more = True
    while more:
        message = await receive()
        received += len(message.get("body", b""))
        more = message.get("more_body", False)
    await answer(send, b"text/plain", str(received).encode())


async def download(size: int, send: Send) -> None:
    """Sends `size` bytes in pieces, each after the one before has been accepted."""
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while size > 0:
        piece = PIECE[:size]
        size -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def echo(receive: Receive, send: Send) -> None:
    """Sends each message back as it came."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"]})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
