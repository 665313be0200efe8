"""Requests as bytes, and answers as a client can tell them apart."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.conftest import Served

# The applications are asked by this name, so that the port of a server is in no answer.
HOST = "differential.test"

Header = tuple[str | bytes, str | bytes]


@dataclass(frozen=True)
class Request:
    """A request. Target and headers are sent as they are, a body with its length or, in pieces, chunked."""

    method: str
    target: str | bytes
    headers: tuple[Header, ...] = ()
    body: bytes | tuple[bytes, ...] | None = None

    def sent(self) -> bytes:
        """What goes over the wire."""
        lines = [b"%b %b HTTP/1.1" % (self.method.encode("latin-1"), _bytes(self.target))]
        names = {_bytes(name).lower() for name, _ in self.headers}
        if b"host" not in names:
            lines.append(b"host: " + HOST.encode())
        lines += [b"%b: %b" % (_bytes(name), _bytes(value)) for name, value in self.headers]
        body = b""
        if isinstance(self.body, tuple):
            lines.append(b"transfer-encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.body if piece) + b"0\r\n\r\n"
        elif self.body is not None:
            if b"content-length" not in names:
                lines.append(b"content-length: %d" % len(self.body))
            body = self.body
        return b"\r\n".join([*lines, b"", b""]) + body

    def with_headers(self, *headers: Header) -> Request:
        """The same request with more headers."""
        return replace(self, headers=(*self.headers, *headers))

    def __str__(self) -> str:
        sent = self.sent()
        shown = sent[:2000].decode("latin-1").replace("\r\n", "\n")
        return shown + (f"... {len(sent) - 2000} bytes more" if len(sent) > 2000 else "")


@dataclass
class Answer:
    """A response: `headers` in lower case and in the order of the wire, `body` without its framing."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    cut: bool = False  # The connection ended within the body.
    journal: list[str] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    def __str__(self) -> str:
        head = "".join(f"{name}: {value}\n" for name, value in self.headers)
        body = repr(self.body[:3000]) + (f"... of {len(self.body)} bytes" if len(self.body) > 3000 else "")
        cut = " (cut off)" if self.cut else ""
        journal = "".join(f"    {event}\n" for event in self.journal)
        return f"{self.status} {self.reason}\n{head}\n{body}{cut}\njournal:\n{journal}"


class Broken(Exception):
    """The server ended the connection instead of answering."""


class Ended(Broken):
    """The connection had ended before there was a byte of an answer."""


class Client:
    """Sends requests over one connection, and over another when the server has ended it."""

    def __init__(self, served: Served, timeout: float = 30.0) -> None:
        self._served = served
        self._timeout = timeout
        self._sock: socket.socket | None = None
        self._buffer = b""

    def ask(self, request: Request) -> Answer:
        """One request and its answer. Raises `Broken` when there is none.

        uvicorn ends a connection, unannounced, when an application has raised after it had answered; a request that
        meets such an end, instead of an answer, is sent again.
        """
        kept = self._sock is not None
        self.send(request)
        try:
            return self.answer(request.method)
        except Ended:
            if not kept:
                raise
            self.send(request)
            return self.answer(request.method)

    def ask_raw(self, sent: bytes) -> Answer:
        """The answer to bytes."""
        self._send(sent)
        return self.answer()

    def send(self, request: Request) -> None:
        """Sends a request without waiting for its answer."""
        self._send(request.sent())

    def _send(self, sent: bytes) -> None:
        if self._sock is None:
            self._sock = self._served.connect(self._timeout)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # It may have answered and left before all was sent; what it said can still be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._sock.sendall(sent)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, to a request with this method."""
        try:
            return self._answer(method)
        except (EOFError, ConnectionResetError) as error:
            kind = Broken if self._buffer else Ended
            self.close()
            raise kind("the connection ended without an answer") from error
        except TimeoutError as error:
            self.close()
            raise Broken(f"no answer within {self._timeout} s") from error

    def close(self) -> None:
        """Ends the connection. The next request opens another."""
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._buffer = b""

    def _answer(self, method: str) -> Answer:
        head = self._until(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        _, status, reason = (first + " ").split(" ", 2)
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        answer = Answer(int(status), reason.strip(), headers)
        if answer.status < 200:
            return self._answer(method)
        length = answer.header("content-length")
        try:
            if method == "HEAD" or answer.status in (204, 304):
                pass
            elif answer.header("transfer-encoding") == "chunked":
                while size := int(self._until(b"\r\n").split(b";")[0], 16):
                    answer.body += self._exactly(size)
                    self._exactly(2)
                while self._until(b"\r\n") != b"\r\n":
                    pass
            elif length is not None:
                answer.body = self._exactly(int(length))
            else:
                answer.body = self._rest()
        except (EOFError, ConnectionResetError):
            answer.cut = True
            answer.body += self._buffer
            self.close()
        if (answer.header("connection") or "").lower() == "close":
            self.close()
        return answer

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._fill()
        end = self._buffer.index(mark) + len(mark)
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def _rest(self) -> bytes:
        try:
            while True:
                self._fill()
        except EOFError:
            found = self._buffer
            self.close()
            return found

    def _fill(self) -> None:
        assert self._sock is not None
        data = self._sock.recv(1 << 16)
        if not data:
            raise EOFError
        self._buffer += data


def get(target: str | bytes, *headers: Header) -> Request:
    """A GET."""
    return Request("GET", target, headers)


def post(target: str | bytes, body: bytes | tuple[bytes, ...] | None = None, *headers: Header) -> Request:
    """A POST of bytes, chunked when they are given in pieces."""
    return Request("POST", target, headers, body)


def json_post(target: str | bytes, content: Any, *headers: Header) -> Request:
    """A POST of JSON; bytes are sent as they are, and taken for JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Request("POST", target, (("content-type", "application/json"), *headers), body)


def method(name: str, target: str | bytes, *headers: Header) -> Request:
    """A request with any method and no body."""
    return Request(name, target, headers)


def cookies(*values: str) -> Header:
    """A cookie header."""
    return ("cookie", "; ".join(values))


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def grouped(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers in their order, with those of one name together, as RFC 9110 (5.3) lets a server write them."""
    listed = list(headers)
    return [(name, value) for name in dict.fromkeys(key for key, _ in listed) for key, value in listed if key == name]
