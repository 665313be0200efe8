"""What the Autobahn test suite talks to: an ASGI application that sends every message back as it came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] != "websocket":
        raise NotImplementedError(f"nothing here for {scope['type']}")
    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["type"] == "websocket.receive":
            text = message.get("text")
            answer = {"text": text} if text is not None else {"bytes": message["bytes"]}
            await send({"type": "websocket.send", **answer})
        else:
            return
