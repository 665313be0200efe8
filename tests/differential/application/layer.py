"""A middleware that changes nothing, and notes the WebSockets it sees: below it, plans are asked through ASGI."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from .journal import note


class Layer:
    """Passes everything on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            note("layer")
        await self.app(scope, receive, send)
