"""A client that sends bytes and reads responses as they stand on the wire (RFC 9112)."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from tests.conftest import Served


@dataclass
class Response:
    """One response: `headers` in lower case and wire order, `body` without its framing, `raw` the head's bytes."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    raw: bytes
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)


class Wire:
    """One connection. Reading past the end of the stream raises `ConnectionError`."""

    def __init__(self, served: Served, timeout: float = 15.0) -> None:
        self.sock = served.connect(timeout)
        self._buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Sends all of `data`."""
        self.sock.sendall(data)

    def request(
        self, target: str = "/", method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Sends a well-formed request."""
        lines = [f"{method} {target} HTTP/1.1", "host: test"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"content-length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def get(self, target: str = "/", headers: dict[str, str] | None = None) -> Response:
        """One GET and its response."""
        self.request(target, headers=headers)
        return self.response()

    def response(self, head_only: bool = False) -> Response:
        """The next response; `head_only` for the answer to a HEAD."""
        head = self.until(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        _, status, reason = (first + " ").split(" ", 2)
        response = Response(int(status), reason.strip(), _fields(lines), b"", head)
        if head_only or response.status in (204, 304) or response.status < 200:
            return response
        length = response.header("content-length")
        if (response.header("transfer-encoding") or "").lower() == "chunked":
            response.body, response.trailers = self._chunked()
        elif length is not None:
            response.body = self.exactly(int(length))
        else:
            response.body = self.rest()
        return response

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while mark not in self._buffer:
            self._fill()
        end = self._buffer.index(mark) + len(mark)
        taken, self._buffer = self._buffer[:end], self._buffer[end:]
        return taken

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self._buffer) < count:
            self._fill()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        try:
            while True:
                self._fill()
        except ConnectionError:
            pass
        taken, self._buffer = self._buffer, b""
        return taken

    def rest_of_chunks(self) -> bytes:
        """What is left of a chunked body, of which some chunks were read already."""
        return self._chunked()[0]

    def is_closed(self) -> bool:
        """Waits for the end of the stream; False when something else comes, or nothing before the timeout."""
        try:
            return self._buffer == b"" and self.sock.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def half_close(self) -> None:
        """Ends our side of the connection."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Ends the connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def _fill(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError(f"the stream ended after {self._buffer!r}")
        self._buffer += data

    def _chunked(self) -> tuple[bytes, list[tuple[str, str]]]:
        body = b""
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                break
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        lines = []
        while (line := self.until(b"\r\n")) != b"\r\n":
            lines.append(line[:-2].decode("latin-1"))
        return body, _fields(lines)


def _fields(lines: list[str]) -> list[tuple[str, str]]:
    pairs = [line.partition(":") for line in lines]
    return [(name.lower(), value.strip()) for name, _, value in pairs]
