"""A client's connection, and HTTP/1.1 on it (RFC 9112): whatever one likes is written, and what comes back is read.

Unlike the clients at hand it refuses nothing that it is told to write, and reads while it writes: a server that answers
before it has read everything never waits for a client that waits for it.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CHUNK = 64 * 1024


class Broken(Exception):
    """The connection ended in the middle of something."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a response. Names are in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]

    def value(self, name: bytes) -> bytes | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key == name), None)


class Connection:
    """A TCP connection to an engine in this process."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._received = bytearray()
        self._ended = False
        self._poll = select.poll()
        self._poll.register(self._socket, 0)

    def close(self) -> None:
        """Leaves. Harmless when repeated."""
        self._ended = True
        self._socket.close()

    def send(self, data: bytes | bytearray) -> None:
        """Writes all of it, as long as there is somebody to read."""
        left = memoryview(data)
        while left and not self._ended:
            try:
                sent = self._socket.send(left)
            except BlockingIOError:
                # To read meanwhile is what lets the other side go on, should it wait for us.
                if self._wait(select.POLLOUT | select.POLLIN) & ~select.POLLOUT:
                    self._receive()
                continue
            except OSError:
                # It has left; what it said before is still to be read.
                return
            left = left[sent:]

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, at least one."""
        self._fill(1)
        return self._take(min(size, len(self._received)))

    def read_exactly(self, size: int) -> bytes:
        """`size` bytes.

        Raises:
            Broken: there are none any more.
        """
        self._fill(size)
        return self._take(size)

    def read_line(self) -> bytes:
        """Up to the next CRLF, without it."""
        start = 0
        while (end := self._received.find(b"\r\n", start)) < 0:
            start = max(len(self._received) - 1, 0)
            self._fill(len(self._received) + 1)
        line = self._take(end)
        del self._received[:2]
        return line

    def read_rest(self) -> Iterator[bytes]:
        """Everything up to the end of the connection."""
        while self._received or not self._ended:
            if self._received:
                yield self._take(len(self._received))
            else:
                self._wait(select.POLLIN)
                self._receive()

    def _fill(self, size: int) -> None:
        while len(self._received) < size:
            if self._ended:
                raise Broken
            self._wait(select.POLLIN)
            self._receive()

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._received)[:size])
        del self._received[:size]
        return taken

    def _wait(self, events: int) -> int:
        self._poll.modify(self._socket, events)
        ready = self._poll.poll()
        return ready[0][1] if ready else 0

    def _receive(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._ended = not data
        self._received += data


def send_head(connection: Connection, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Writes the head of a request."""
    lines = [b"%s %s HTTP/1.1" % (method, target), *(b"%s: %s" % line for line in headers), b"", b""]
    connection.send(b"\r\n".join(lines))


def send_chunk(connection: Connection, data: bytes) -> None:
    """Writes a piece of a body that is sent in chunks; an empty piece ends it."""
    connection.send(b"%x\r\n%s\r\n" % (len(data), data))


def read_head(connection: Connection) -> Head:
    """Reads the head of the final response; those before it (1xx, but for 101) are passed over."""
    while True:
        _, status, *_ = connection.read_line().split(b" ", 2)
        headers = []
        while line := connection.read_line():
            name, _, value = line.partition(b":")
            headers.append((name.lower(), value.strip(b" \t")))
        head = Head(int(status), headers)
        if head.status >= 200 or head.status == 101:
            return head


def read_body(connection: Connection, method: bytes, head: Head) -> Iterator[bytes]:
    """Reads the body of a response to a request with `method` (RFC 9112 section 6.3).

    Raises:
        Broken: the server has broken off.
    """
    if method == b"HEAD" or head.status in (204, 304):
        return
    if head.value(b"transfer-encoding") is not None:
        while size := int(connection.read_line().partition(b";")[0], 16):
            while size:
                piece = connection.read(size)
                size -= len(piece)
                yield piece
            connection.read_line()
        while connection.read_line():
            pass
    elif (length := head.value(b"content-length")) is not None:
        left = int(length)
        while left:
            piece = connection.read(left)
            left -= len(piece)
            yield piece
    else:
        yield from connection.read_rest()
