"""WebSocket frames, as a client writes and reads them (RFC 6455 section 5)."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from enum import IntEnum

from overdrive.testing.wire import Broken, Connection

GOING_WITHOUT_STATUS = 1005
ABNORMAL = 1006


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@dataclass(frozen=True, slots=True)
class Closed:
    """The end, as the server has told it."""

    code: int
    reason: str


def new_key() -> bytes:
    """A value for `Sec-WebSocket-Key`."""
    return base64.b64encode(secrets.token_bytes(16))


def encode(opcode: Opcode, payload: bytes) -> bytes:
    """A whole message as one frame, masked."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + size.to_bytes(2)
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8)
    mask = secrets.token_bytes(4)
    pattern = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload) ^ int.from_bytes(pattern)).to_bytes(size)
    return bytes([0x80 | opcode]) + length + mask + masked


def encode_close(code: int, reason: str) -> bytes:
    """A close frame. 1005 stands for none of a code."""
    return encode(Opcode.CLOSE, b"" if code == GOING_WITHOUT_STATUS else code.to_bytes(2) + reason.encode())


def read_message(connection: Connection) -> str | bytes | Closed:
    """The next message, text as `str`; pings are answered, and so is a close."""
    kind: Opcode | None = None
    parts: list[bytes] = []
    try:
        while True:
            opcode, is_last, payload = _read_frame(connection)
            match opcode:
                case Opcode.PING:
                    connection.send(encode(Opcode.PONG, payload))
                case Opcode.PONG:
                    pass
                case Opcode.CLOSE:
                    connection.send(encode(Opcode.CLOSE, payload[:2]))
                    if not payload:
                        return Closed(GOING_WITHOUT_STATUS, "")
                    return Closed(int.from_bytes(payload[:2]), payload[2:].decode())
                case _:
                    kind = kind or opcode
                    parts.append(payload)
                    if is_last:
                        message = b"".join(parts)
                        return message.decode() if kind is Opcode.TEXT else message
    except Broken:
        return Closed(ABNORMAL, "")


def _read_frame(connection: Connection) -> tuple[Opcode, bool, bytes]:
    first, second = connection.read_exactly(2)
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(connection.read_exactly(2))
    elif size == 127:
        size = int.from_bytes(connection.read_exactly(8))
    return Opcode(first & 0x0F), bool(first & 0x80), connection.read_exactly(size)
