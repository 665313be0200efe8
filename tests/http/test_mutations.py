"""Requests with random mistakes, and right ones in random pieces; the seeds make every run the same."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.conftest import Serve, Served
from tests.http.wire import Wire

REQUESTS = [
    b"GET /?a=b HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\nUser-Agent: mutant\r\n\r\n",
    b"POST /tolerant HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    b"POST /tolerant HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nt: u\r\n\r\n",
    b"PUT /tolerant HTTP/1.1\r\nHost: [::1]:80\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
]
# What is put in: bytes that mean something to a parser, and some that mean nothing.
MATERIAL = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"f", b"-", b"\xff", b"\x7f", b"chunked"]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Iterator[Served]:
    served = serve_once("http_plain:app", "--loop", request.param, "--no-access-log")
    yield served
    assert "Traceback" not in served.log
    assert "panicked" not in served.log
    assert "internal error" not in served.log


def mutated(chance: random.Random) -> bytes:
    data = bytearray(b"".join(chance.choices(REQUESTS, k=chance.randint(1, 3))))
    for _ in range(chance.randint(1, 4)):
        if len(data) < 10:
            break
        place = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randint(1, 8)]
            case 2:
                data[place:place] = chance.choice(MATERIAL)
            case 3:
                data[place:place] = data[chance.randrange(len(data)) :][: chance.randint(1, 40)]
            case _:
                del data[place:]
                data += b"\r\n"
    return bytes(data)


# 403 is the application's own, to a WebSocket.
ANSWERS = {100, 200, 400, 403, 405, 414, 426, 431, 501}
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@pytest.mark.parametrize("seed", range(8))
def test_mutated_requests_harm_nothing(server: Served, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        sent = mutated(chance)
        with Wire(server) as wire:
            # An error: refused before all was sent.
            with suppress(ConnectionError):
                wire.send(sent)
                wire.half_close()
            received = wire.rest()
        if received:
            first = STATUS_LINE.match(received)
            assert first, (sent, received)
        statuses = {int(status) for status in STATUS_LINE.findall(received)}
        assert statuses <= ANSWERS, (sent, received)
    with Wire(server) as wire:
        assert wire.get().body == b"ok"


@pytest.mark.parametrize("seed", range(4))
def test_right_requests_are_answered_however_they_are_cut(server: Served, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        bodies = [bytes(chance.randbytes(chance.choice([1, 10, 1000, 30_000]))) for _ in range(chance.randint(1, 8))]
        stream = b""
        for body in bodies:
            if chance.random() < 0.5:
                stream += b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                continue
            stream += b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            step = chance.randint(1 + len(body) // 50, len(body))
            for start in range(0, len(body), step):
                chunk = body[start : start + step]
                stream += b"%x\r\n%s\r\n" % (len(chunk), chunk)
            stream += b"0\r\n\r\n"
        with Wire(server) as wire:
            place = 0
            while place < len(stream):
                size = chance.choice([1, 2, 17, 1000, 100_000])
                wire.send(stream[place : place + size])
                place += size
            for body in bodies:
                assert wire.response().body == body
