"""Writes a request of httpx's, whatever it is, as one that HTTP allows, and lets its record tell the rest."""

from __future__ import annotations

from overdrive.testing.headers import TOKEN, Lines, carried, received
from overdrive.testing.library import httpx
from overdrive.testing.records import HEADER, Record
from overdrive.testing.wire import Connection, send_chunk, send_head

# Stands for methods that cannot be sent: CONNECT is for proxies, and of another form.
PLACEHOLDER = b"UNSENDABLE"


def send(connection: Connection, request: httpx.Request, lines: Lines, record: Record, name: bytes) -> bytes:
    """Writes the request with the headers `lines`; gives the method that went out."""
    method = request.method.encode()
    if not TOKEN.fullmatch(method) or method == b"CONNECT":
        record.method = record.scope["method"] = request.method
        method = PLACEHOLDER
    whole = request.read() if isinstance(request.stream, httpx.ByteStream) else None
    framing = [line for line in lines if line[0] in (b"content-length", b"transfer-encoding")]
    wanted = _framing(whole)
    headers = carried(line for line in lines if framing == wanted or line not in framing)
    if framing != wanted:
        headers += wanted
    if received(headers) != lines:
        record.headers = lines
        record.scope["headers"] = list(lines)
    send_head(connection, method, request.url.raw_path, [*headers, (HEADER, name)])
    if whole is not None:
        connection.send(whole)
    else:
        _send_stream(connection, request)
    return method


def _framing(whole: bytes | None) -> Lines:
    """The headers that say where the body ends (RFC 9112 section 6); `None`: it comes in pieces."""
    if whole is None:
        return [(b"transfer-encoding", b"chunked")]
    return [(b"content-length", b"%d" % len(whole))] if whole else []


def _send_stream(connection: Connection, request: httpx.Request) -> None:
    assert isinstance(request.stream, httpx.SyncByteStream)
    pieces = []
    for piece in request.stream:
        if piece:
            send_chunk(connection, piece)
            pieces.append(piece)
    send_chunk(connection, b"")
    # For a redirect that repeats it, and for `response.request.content`.
    request.stream = httpx.ByteStream(b"".join(pieces))
    request.read()
