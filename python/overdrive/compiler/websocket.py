"""Starlette's `WebSocket`, with one coroutine for a message where Starlette has two, and none on the engine's channel.

Where somebody has put a `receive` or `send` of his own into the object, and in any state but that of an open
connection, Starlette's methods do it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from overdrive._overdrive import OpenMessages

CONNECTED = WebSocketState.CONNECTED
DISCONNECTED = WebSocketState.DISCONNECTED


class SingleWebSocket(WebSocket):
    """With one coroutine for a message."""

    __slots__ = ()

    async def receive_text(self) -> str:
        """As Starlette's."""
        if (
            self.application_state is not CONNECTED
            or self.client_state is not CONNECTED
            or _is_changed(self, "receive")
        ):
            return await WebSocket.receive_text(self)
        message = await self._receive()
        if message["type"] != "websocket.receive":
            _ended(self, message)
        text: str = message["text"]
        return text

    async def receive_bytes(self) -> bytes:
        """As Starlette's."""
        if (
            self.application_state is not CONNECTED
            or self.client_state is not CONNECTED
            or _is_changed(self, "receive")
        ):
            return await WebSocket.receive_bytes(self)
        message = await self._receive()
        if message["type"] != "websocket.receive":
            _ended(self, message)
        data: bytes = message["bytes"]
        return data

    async def send_text(self, data: str) -> None:
        """As Starlette's."""
        if self.application_state is not CONNECTED or "send" in self.__dict__:
            await WebSocket.send_text(self, data)
            return
        try:
            await self._send({"type": "websocket.send", "text": data})
        except OSError:
            self.application_state = DISCONNECTED
            raise WebSocketDisconnect(code=1006)  # noqa: B904 as Starlette raises it, with its context

    async def send_bytes(self, data: bytes) -> None:
        """As Starlette's."""
        if self.application_state is not CONNECTED or "send" in self.__dict__:
            await WebSocket.send_bytes(self, data)
            return
        try:
            await self._send({"type": "websocket.send", "bytes": data})
        except OSError:
            self.application_state = DISCONNECTED
            raise WebSocketDisconnect(code=1006)  # noqa: B904 as Starlette raises it, with its context


def _is_changed(websocket: WebSocket[Any], name: str) -> bool:
    held = websocket.__dict__
    return name in held or "_raise_on_disconnect" in held


def _ended(websocket: WebSocket[Any], message: Any) -> None:
    """Raises what comes of a message that is not one of the client's."""
    kind = message["type"]
    if kind != "websocket.disconnect":
        raise RuntimeError(f'Expected ASGI message "websocket.receive" or "websocket.disconnect", but got {kind!r}')
    websocket.client_state = DISCONNECTED
    websocket._raise_on_disconnect(message)


class OpenWebSocket(OpenMessages, SingleWebSocket):
    """With the methods of `OpenMessages`, which speak with the engine themselves where they are awaited at once."""

    __slots__ = ()
    _connected: ClassVar[WebSocketState] = CONNECTED

    def _ended(self, message: Any) -> None:
        """Raises what comes of the connection's end, which `message` tells."""
        _ended(self, message)


for _class in (SingleWebSocket, OpenWebSocket):
    for _name in ("__name__", "__qualname__", "__module__"):
        setattr(_class, _name, getattr(WebSocket, _name))
