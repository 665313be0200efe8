"""A WebSocket of a test client: Starlette's `WebSocketTestSession`, over a connection."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from starlette.websockets import WebSocketDisconnect

from overdrive.testing.frames import ABNORMAL, Closed, Opcode, encode, encode_close, new_key, read_message
from overdrive.testing.headers import TOKEN, Lines, carried
from overdrive.testing.library import WebSocketDenialResponse
from overdrive.testing.records import HEADER, Record, Records
from overdrive.testing.wire import Broken, Connection, Head, read_body, read_head, send_head

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from overdrive.testing.serving import Serving

# Seconds that an application gets to end by itself once the WebSocket is closed.
GRACE = 0.1

Message = dict[str, Any]


class WebSocketTestSession:
    """A WebSocket, from the beginning of its `with` block to the end.

    accepted_subprotocol, extra_headers: what the application has accepted it with.

    Entering the block raises `WebSocketDisconnect` if the application refuses, and `WebSocketDenialResponse` if it does
    so with a response. Leaving it raises what the application has raised.
    """

    def __init__(
        self,
        serving: contextlib.AbstractContextManager[Serving],
        records: Records,
        record: Record,
        target: bytes,
        headers: Lines,
    ) -> None:
        self.accepted_subprotocol: str | None = None
        self.extra_headers: Lines | None = None
        self._serving = serving
        self._records = records
        self._record = record
        self._target = target
        self._headers = headers
        self._exits = contextlib.ExitStack()
        self._closed: Closed | None = None

    @property
    def scope(self) -> dict[str, Any]:
        """The scope, as the application has it."""
        assert self._record.filled is not None, "there is no scope before the handshake"
        return self._record.filled

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            serving = exits.enter_context(self._serving)
            self._portal = serving.portal
            self._connection = Connection(serving.address)
            self._name = self._records.add(self._record)
            exits.callback(self._leave)
            head = self._shake_hands()
            if head.status != 101:
                self._raise_denial(head)
            subprotocol = head.value(b"sec-websocket-protocol")
            self.accepted_subprotocol = subprotocol.decode() if subprotocol is not None else None
            assert self._record.acceptance is not None
            self.extra_headers = self._record.acceptance.get("headers")
            exits.callback(self.close, 1000)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._exits.__exit__(kind, error, traceback)

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message as the application is to receive it: `websocket.receive` or `websocket.disconnect`."""
        match message["type"]:
            case "websocket.receive" if message.get("text") is not None:
                self._connection.send(encode(Opcode.TEXT, message["text"].encode()))
            case "websocket.receive":
                self._connection.send(encode(Opcode.BINARY, message["bytes"]))
            case "websocket.disconnect":
                self.close(message.get("code", 1000), message.get("reason"))
            case kind:
                raise RuntimeError(f"a client sends 'websocket.receive' or 'websocket.disconnect', not {kind!r}")

    def send_text(self, data: str) -> None:
        """Sends a text message."""
        self.send({"type": "websocket.receive", "text": data})

    def send_bytes(self, data: bytes) -> None:
        """Sends a binary message."""
        self.send({"type": "websocket.receive", "bytes": data})

    def send_json(self, data: Any, mode: Literal["text", "binary"] = "text") -> None:
        """Sends JSON, as text or as bytes."""
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        if mode == "text":
            self.send_text(text)
        else:
            self.send_bytes(text.encode())

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Closes the WebSocket. With 1006 the connection ends without a word."""
        if code == ABNORMAL:
            self._connection.close()
        else:
            self._connection.send(encode_close(code, reason or ""))

    def receive(self) -> Message:
        """The next message as the application has sent it: `websocket.send` or `websocket.close`.

        Raises:
            BaseException: what the application has raised instead.
        """
        message = self._closed or read_message(self._connection)
        match message:
            case str():
                return {"type": "websocket.send", "text": message}
            case bytes():
                return {"type": "websocket.send", "bytes": message}
            case Closed(code, reason):
                self._closed = message
                if self._record.error is not None:
                    raise self._record.error
                return {"type": "websocket.close", "code": code, "reason": reason}

    def receive_text(self) -> str:
        """The next message, a text."""
        return cast(str, self._receive_data()["text"])

    def receive_bytes(self) -> bytes:
        """The next message, a binary one."""
        return cast(bytes, self._receive_data()["bytes"])

    def receive_json(self, mode: Literal["text", "binary"] = "text") -> Any:
        """The next message's JSON."""
        message = self._receive_data()
        return json.loads(message["text"] if mode == "text" else message["bytes"].decode())

    def _receive_data(self) -> Message:
        message = self.receive()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(code=message["code"], reason=message["reason"])
        return message

    def _shake_hands(self) -> Head:
        record = self._record
        offered = b"".join(value for name, value in self._headers if name == b"sec-websocket-protocol")
        # The application sees what the client has asked for, and not what this connection needs.
        record.scope["headers"] = list(self._headers)
        record.scope["subprotocols"] = [name.strip() for name in offered.decode().split(",")] if offered else []
        own = [line for line in carried(self._headers) if not self._is_ours(line[0])]
        handshake = [
            (b"connection", b"upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-key", new_key()),
            (b"sec-websocket-version", b"13"),
            (HEADER, self._name),
        ]
        if all(TOKEN.fullmatch(name.encode()) for name in record.scope["subprotocols"]) and offered:
            handshake.append((b"sec-websocket-protocol", offered))
        send_head(self._connection, b"GET", self._target, own + handshake)
        try:
            return read_head(self._connection)
        except Broken:
            self._raise_error()
            raise

    @staticmethod
    def _is_ours(name: bytes) -> bool:
        return name == b"connection" or name.startswith(b"sec-websocket-")

    def _raise_denial(self, head: Head) -> None:
        """Raises what stands for a response that does not accept the WebSocket."""
        refusal = self._record.refusal
        if refusal is not None:
            raise WebSocketDisconnect(code=refusal.get("code", 1000), reason=refusal.get("reason", ""))
        try:
            body = b"".join(read_body(self._connection, b"GET", head))
        except Broken:
            self._raise_error()
            raise
        if not self._record.has_started:
            self._raise_error()
            raise AssertionError("the application has neither accepted nor refused the WebSocket")
        headers = [line for line in head.headers if line[0] != b"transfer-encoding"]
        raise WebSocketDenialResponse(status_code=head.status, headers=headers, content=body)

    def _raise_error(self) -> None:
        """Raises the application's exception, once it has ended."""
        self._record.done.wait()
        if self._record.error is not None:
            raise self._record.error

    def _leave(self) -> None:
        """Waits until the application has ended, cancels it if it does not, and raises what it has raised."""
        record = self._record
        try:
            if not self._records.discard(self._name):
                if not record.done.wait(GRACE):
                    self._portal.call(record.cancel)
                self._connection.close()
                record.done.wait()
        finally:
            self._connection.close()
        if record.error is not None:
            raise record.error
