"""Answers every request, and every WebSocket's opening, with its scope; the path has no meaning."""

from __future__ import annotations

from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": repr(scope)})
        await send({"type": "websocket.close"})
    else:
        body = repr(scope).encode()
        # As an application may do with what is its own; the next request must not see it.
        for own in (scope, scope["asgi"], scope["extensions"]):
            own["changed by the application"] = True
        scope["headers"].append((b"x-changed", b"by the application"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
