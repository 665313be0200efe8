"""Malformed and hostile requests: each is refused with the right status and a closed connection, or is harmless.

The table names the section of RFC 9112 (RFC 9110 where it says so) that a case is about. After each case the same
server still answers a well-behaved client.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.conftest import Serve, Served
from tests.http.wire import Wire

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
# 64 bytes of extension for each byte of the body: RFC 9112 section 7.1.1 asks to limit their total.
CHUNK_EXTENSIONS = (b"1;" + b"x" * 64 + b"\r\ny\r\n") * 1000 + b"0\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: a\r\n"


@dataclass(frozen=True)
class Case:
    """`sent` in pieces; `status` None for a connection that is closed without an answer."""

    name: str
    section: str
    sent: tuple[bytes, ...]
    status: int | tuple[int, ...] | None
    closes: bool = True


def case(
    name: str, section: str, sent: bytes | tuple[bytes, ...], status: int | tuple[int, ...] | None, closes: bool = True
) -> Case:
    return Case(name, section, sent if isinstance(sent, tuple) else (sent,), status, closes)


CASES = [
    # The request line.
    case("garbage", "3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    case("tls client hello", "3", bytes.fromhex("16030100c8010000c40303") + b"\0" * 40 + b"\r\n\r\n", 400),
    case("empty method", "3.1", b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("method with a separator", "3.1", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("method with a control character", "3.1", b"G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("method beyond ASCII", "3.1", b"G\xc3\xa9T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("no target", "3", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("two spaces before the target", "3", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("two spaces before the version", "3", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("tab instead of a space", "3", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("space in the target", "3.2", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("NUL in the target", "3.2", b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("control character in the target", "3.2", b"GET /a\x7fb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("target without a slash", "3.2.1", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("asterisk for GET", "3.2.4", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("authority for GET", "3.2.3", b"GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400),
    case("authority for CONNECT", "9.3.6 (9110)", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", (400, 405, 501)),
    case("path for CONNECT", "3.2.3", b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", (400, 405, 501)),
    case("absolute form without an authority", "3.2.2", b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("over-long method", "3.1", b"A" * 100_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", (400, 431)),
    case("empty lines without end", "2.2", b"\r\n" * 100_000, (400, 431)),
    case("space before the method", "3", b"  GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("bare CR in the request line", "2.2", b"GET /\rHTTP/1.1\r\nHost: a\r\n\r\n", 400),
    case("over-long target", "3", b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: a\r\n\r\n", (414, 431)),
    case("no version", "3", b"GET /\r\nHost: a\r\n\r\n", 400),
    case("lower-case protocol", "2.3", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    case("version 2.0", "2.3", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    case("version 0.9", "2.3", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400),
    case("version 1.10", "2.3", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    case("version with a sign", "2.3", b"GET / HTTP/+1.1\r\nHost: a\r\n\r\n", 400),
    case("HTTP/2 preface", "3", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    case("something after the version", "3", b"GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", 400),
    # Header fields.
    case("space before the colon", "5.1", HEAD + b"X : y\r\n\r\n", 400),
    case("tab before the colon", "5.1", HEAD + b"X\t: y\r\n\r\n", 400),
    case("folded line", "5.2", HEAD + b"X: y\r\n z\r\n\r\n", 400),
    case("first line folded", "5.2", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    case("empty name", "5.1", HEAD + b": y\r\n\r\n", 400),
    case("no colon", "5", HEAD + b"X y\r\n\r\n", 400),
    case("NUL in a name", "5.1", HEAD + b"X\0: y\r\n\r\n", 400),
    case("NUL in a value", "5.5 (9110)", HEAD + b"X: a\0b\r\n\r\n", 400),
    case("control character in a value", "5.5 (9110)", HEAD + b"X: a\x01b\r\n\r\n", 400),
    case("bare CR in a value", "2.2", HEAD + b"X: a\rb\r\n\r\n", 400),
    case("separator in a name", "5.1", HEAD + b"X(y): z\r\n\r\n", 400),
    case("name beyond ASCII", "5.1", HEAD + b"X\xc3\xa9: z\r\n\r\n", 400),
    case("over-long value", "5", HEAD + b"X: " + b"y" * 300_000 + b"\r\n\r\n", 431),
    case("over-long name", "5", HEAD + b"X" * 300_000 + b": y\r\n\r\n", (400, 431)),
    case("a hundred and one fields", "5", HEAD + b"".join(b"X%d: y\r\n" % n for n in range(100)) + b"\r\n", 431),
    case("head without end", "5", (HEAD, b"X: y\r\n" * 60_000), 431),
    case("vertical tab in a name", "5.1", HEAD + b"X\x0b: y\r\n\r\n", 400),
    case("folded line after Host", "5.2", b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
    case("bare CR as line end", "2.2", b"GET / HTTP/1.1\rHost: a\r\r", 400),
    case("bare CR before the last LF", "2.2", HEAD + b"\r\r\n", 400),
    # Host.
    case("no Host", "3.2", b"GET / HTTP/1.1\r\n\r\n", 400),
    case("two Hosts", "3.2", HEAD + b"Host: b\r\n\r\n", 400),
    case("the same Host twice", "3.2", HEAD + b"Host: a\r\n\r\n", 400),
    case("Host with a space", "3.2", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    case("Host with a path", "3.2", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    case("Host with user information", "3.2", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    case("Host with a port that is none", "3.2", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    case("Host list", "3.2", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    case("no Host, absolute form", "3.2", b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
    case("bracket without end", "3.2", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    # Content-Length.
    case("negative length", "6.3", POST + b"Content-Length: -1\r\n\r\n", 400),
    case("length with a plus", "6.3", POST + b"Content-Length: +1\r\n\r\nx", 400),
    case("hexadecimal length", "6.3", POST + b"Content-Length: 0x1\r\n\r\nx", 400),
    case("length with a fraction", "6.3", POST + b"Content-Length: 1.0\r\n\r\nx", 400),
    case("empty length", "6.3", POST + b"Content-Length: \r\n\r\n", 400),
    case("length beyond 64 bits", "6.3", POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    case("length of 2^64 - 1", "6.3", POST + b"Content-Length: 18446744073709551615\r\n\r\n", (400, 413, 431)),
    case("two different lengths", "6.3", POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy", 400),
    case("list of lengths", "6.3", POST + b"Content-Length: 1, 1\r\n\r\nx", 400),
    case("the same length twice", "6.3", POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 200, False),
    case("NUL in a length", "6.3", POST + b"Content-Length: 1\0\r\n\r\nx", 400),
    case("space in a length", "6.3", POST + b"Content-Length: 1 1\r\n\r\nx", 400),
    case("list of different lengths", "6.3", POST + b"Content-Length: 1, 2\r\n\r\nxy", 400),
    case("folded length", "5.2", POST + b"Content-Length:\r\n 1\r\n\r\nx", 400),
    case("underlined digits", "6.3", POST + b"Content-Length: 1_0\r\n\r\n" + b"x" * 10, 400),
    case("digits beyond ASCII", "6.3", POST + b"Content-Length: \xd9\xa1\r\n\r\nx", 400),
    # Transfer-Encoding.
    case("gzip", "6.1", POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    case("identity", "6.1", POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    case("gzip, chunked", "6.1", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    case("chunked, gzip", "6.1", POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    case("chunked, chunked", "6.1", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    case("chunked in two lines", "6.1", POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n", 400),
    case("xchunked", "6.1", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    case("quoted chunked", "6.1", POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 400),
    case("chunked with a parameter", "6.1", POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", 400),
    case("empty encoding", "6.1", POST + b"Transfer-Encoding: \r\n\r\n", 400),
    case("vertical tab before chunked", "6.1", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    case("chunked for HTTP/1.0", "6.1", b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    case(
        "length, then chunked",
        "6.1",
        POST + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        (200, 400),
    ),
    case(
        "chunked, then length",
        "6.1",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n",
        (200, 400),
    ),
    case(
        "smuggled request behind both",
        "6.1",
        POST
        + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        (200, 400),
    ),
    case("chunked in capitals", "7", POST + b"Transfer-Encoding: CHUNKED\r\n\r\n1\r\nx\r\n0\r\n\r\n", 200, False),
    case("folded encoding", "5.2", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    case("space before the colon of an encoding", "5.1", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    case("chunked and an empty element", "6.1", POST + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400),
    case("NUL after chunked", "6.1", POST + b"Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", 400),
    case(
        "encoding for a GET",
        "6.1",
        b"GET /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        200,
        False,
    ),
    # Chunks: the application waits for the body, and sees that it broke off.
    case("chunk size is no number", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    case("negative chunk size", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
    case("chunk size beyond 64 bits", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n", 400),
    case("chunk size with 0x", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n", 400),
    case("chunk longer than its size", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n", 400),
    case("chunk without CRLF", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx0\r\n\r\n", 400),
    case("chunk size with a plus", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n", 400),
    case("empty chunk size", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n\r\nx\r\n0\r\n\r\n", 400),
    case("chunk size in two parts", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n1 1\r\nx\r\n0\r\n\r\n", 400),
    case("bare LF after a chunk size", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", 400),
    case("bare CR after a chunk size", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n1\rx\r\n0\r\n\r\n", 400),
    case("bare LF after a chunk", "7.1", POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n", 400),
    case("a thousand chunk extensions", "7.1.1", POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK_EXTENSIONS, 400),
    case("over-long chunk extension", "7.1.1", POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 65536, 400),
    case(
        "bare LF in a chunk extension",
        "7.1.1",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;x\ny\r\nx\r\n0\r\n\r\n",
        400,
    ),
    case(
        "over-long trailers", "7.1.2", POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 300_000, (400, 431)
    ),
    # Lenient, as hyper is: harmless, and in use.
    case("bare LF instead of CRLF", "2.2", b"GET / HTTP/1.1\nHost: a\n\n", 200, False),
    case("empty line before the request", "2.2", b"\r\n" + HEAD + b"\r\n", 200, False),
    case("unknown method", "9.1 (9110)", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 200, False),
    case("spaces around a value", "5.1", HEAD + b"X:   y  \r\n\r\n", 200, False),
    case("value beyond ASCII", "5.5 (9110)", HEAD + b"X: \xc3\xa9\r\n\r\n", 200, False),
    case("head in single bytes", "2.1", tuple(bytes([byte]) for byte in HEAD + b"\r\n"), 200, False),
    case("absolute form with another Host", "3.2.2", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 200, False),
    case("asterisk for OPTIONS", "3.2.4", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200, False),
    case("empty Host", "3.2", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 200, False),
    case("HTTP/1.0 without Host", "3.2", b"GET / HTTP/1.0\r\n\r\n", 200),
    case(
        "upgrade to something unknown", "7.8 (9110)", HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", 200, False
    ),
]


@pytest.fixture(scope="module")
def server(serve_once: Serve) -> Iterator[Served]:
    served = serve_once("http_plain:app")
    yield served
    assert "panicked" not in served.log
    assert "internal error" not in served.log


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_hostile_requests_are_answered_and_the_next_connection_is_served(server: Served, case: Case) -> None:
    with Wire(server) as wire:
        # An error: refused before all was sent.
        with suppress(ConnectionError):
            for piece in case.sent:
                wire.send(piece)
        allowed = case.status if isinstance(case.status, tuple) else (case.status,)
        try:
            response = wire.response()
        except ConnectionError:
            assert None in allowed, "closed without an answer"
        else:
            assert response.status in allowed, response
            if case.closes:
                assert wire.rest() == b"", "nothing follows the last answer"
                assert wire.is_closed()
            else:
                assert wire.get().status == 200
    with Wire(server) as wire:
        assert wire.get().body == b"ok"


def test_the_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_malformed_request_behind_a_good_one_is_refused(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(HEAD + b"\r\n" + b"nonsense\r\n\r\n" + HEAD + b"\r\n")
        assert wire.response().status == 200
        assert wire.response().status == 400
        assert wire.rest() == b"", "what comes behind is not looked at"


@pytest.mark.parametrize("status", [200, 400])
def test_no_request_is_found_in_the_body_of_another(server: Served, status: int) -> None:
    """Bodies that look like requests, framed rightly (200), or with a length that the sender has wrong (400)."""
    inner = b"GET /go?smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    length = len(inner) if status == 200 else 3
    with Wire(server) as wire:
        wire.send(POST + b"Content-Length: %d\r\n\r\n" % length + inner)
        assert wire.response().body == inner[:length]
        wire.half_close()
        assert wire.rest().startswith(b"HTTP/1.1 400" if status == 400 else b"")


def test_a_head_that_never_ends_is_given_up(serve: Serve) -> None:
    server = serve("http_plain:app", "--timeout-header-read", "0.3")
    with Wire(server) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHo")
        assert wire.response().status == 408
        assert wire.is_closed()
    with Wire(server) as wire:
        assert wire.is_closed(), "a connection without a byte is closed without a word"
    with Wire(server) as wire:
        assert wire.get().status == 200


def test_a_head_sent_ever_so_slowly_is_given_up(serve: Serve) -> None:
    """Slow loris: a byte now and then does not prolong the time for a head."""
    server = serve("http_plain:app", "--timeout-header-read", "0.5")
    with Wire(server) as wire:
        wire.send(b"GET / HTTP/1.1\r\n")
        wire.sock.settimeout(0.05)
        for _ in range(400):
            try:
                wire.send(b"X: y\r\n")
                if wire.sock.recv(1, 2):  # MSG_PEEK
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        wire.sock.settimeout(10)
        assert wire.response().status == 408
