"""The life of a connection between and beyond requests: idle times, clients that leave, the end of the server."""

from __future__ import annotations

import signal
import time

import pytest

from tests.conftest import Serve, Served
from tests.http.test_messages import eventually, seen
from tests.http.wire import Wire

# A connection that has been idle for longer gives its buffers back until the next byte comes.
PARKED_AFTER = 1.0


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Served:
    # A keep-alive time that no test of this module reaches.
    return serve_once("http_plain:app", "--loop", request.param, "--timeout-keep-alive", "60")


@pytest.fixture(scope="module")
def parked(server: Served) -> list[Wire]:
    """Connections that were used once and then idle for so long that they are parked."""
    wires = [Wire(server) for _ in range(8)]
    for wire in wires:
        assert wire.get().status == 200
    # Time itself is what matters here: the server has to see it pass, and is not left alone meanwhile.
    until = time.monotonic() + PARKED_AFTER + 0.3
    with Wire(server) as other:
        while time.monotonic() < until:
            assert other.get("/slow").status == 200
    return wires


def test_a_connection_serves_after_a_long_idle_time(parked: list[Wire]) -> None:
    with parked.pop() as wire:
        assert wire.get().body == b"ok"
        wire.request("/echo", "POST", body=b"x" * 300_000)
        assert wire.response().body == b"x" * 300_000


def test_a_head_in_single_bytes_is_read_after_a_long_idle_time(parked: list[Wire]) -> None:
    with parked.pop() as wire:
        for byte in b"GET /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi":
            wire.send(bytes([byte]))
        assert wire.response().body == b"hi"


def test_pipelined_requests_are_answered_after_a_long_idle_time(parked: list[Wire]) -> None:
    with parked.pop() as wire:
        wire.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert [wire.response().body for _ in range(2)] == [b"slow", b"ok"]


def test_nonsense_is_refused_after_a_long_idle_time(parked: list[Wire]) -> None:
    with parked.pop() as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.response().status == 400
        assert wire.is_closed()


def test_a_request_with_the_end_of_the_stream_is_answered_after_a_long_idle_time(parked: list[Wire]) -> None:
    with parked.pop() as wire:
        wire.request("/slow")
        wire.half_close()
        assert wire.response().body == b"slow"
        assert wire.is_closed()


def test_the_end_of_the_stream_is_seen_after_a_long_idle_time(parked: list[Wire]) -> None:
    with parked.pop() as wire:
        wire.half_close()
        assert wire.is_closed()


def test_the_time_for_a_head_begins_with_its_first_byte(serve: Serve) -> None:
    """Not with the end of the last answer: idle time is the keep-alive time's affair."""
    server = serve("http_plain:app", "--timeout-header-read", "0.3", "--timeout-keep-alive", "60")
    with Wire(server) as wire:
        assert wire.get().status == 200
        until = time.monotonic() + 0.6
        with Wire(server) as other:
            while time.monotonic() < until:
                assert other.get("/slow").status == 200
        assert wire.get().status == 200
        wire.send(b"GET / HTTP/1.1\r\n")
        assert wire.response().status == 408
        assert wire.is_closed()


def test_the_time_for_a_head_does_not_end_a_slow_body(serve: Serve) -> None:
    server = serve("http_plain:app", "--timeout-header-read", "0.2", "--timeout-keep-alive", "0.2")
    with Wire(server) as wire:
        wire.send(b"POST /count HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n")
        until = time.monotonic() + 0.5
        sent = 0
        with Wire(server) as other:
            while time.monotonic() < until or sent < 4:
                if sent < 4:
                    wire.send(b"x")
                    sent += 1
                assert other.get("/slow").status == 200
        assert wire.response().body == b"4"


def test_without_a_keep_alive_time_each_answer_is_whole(serve: Serve) -> None:
    server = serve("http_plain:app", "--timeout-keep-alive", "0")
    for _ in range(20):
        with Wire(server) as wire:
            assert wire.get("/chunks").body == b"chunk 0;chunk 1;chunk 2;"
            assert wire.is_closed()


def test_a_client_that_resets_in_the_middle_of_an_answer_is_noticed(server: Served) -> None:
    before = seen(server, "disconnected")
    wire = Wire(server)
    wire.request("/endless")
    wire.exactly(1_000_000)
    wire.reset()
    eventually(lambda: seen(server, "disconnected") == before + 1)


def test_a_client_that_leaves_with_pipelined_requests_is_noticed(server: Served) -> None:
    before = seen(server, "disconnected")
    wire = Wire(server)
    wire.send(b"GET /until-disconnect HTTP/1.1\r\nhost: a\r\n\r\n" * 3)
    wire.sock.close()
    eventually(lambda: seen(server, "disconnected") > before)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_stop_lets_an_upload_come_to_its_end(serve: Serve, loop: str) -> None:
    server = serve("http_plain:app", "--loop", loop)
    with Wire(server) as idle, Wire(server) as upload:
        assert idle.get().status == 200
        upload.send(b"POST /count HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nhalf")
        eventually(lambda: seen(server, "read") == 4)
        server.signal(signal.SIGTERM)
        assert idle.is_closed()
        upload.send(b"x" * 999_996)
        response = upload.response()
        assert (response.body, response.header("connection")) == (b"1000000", "close")
        assert upload.is_closed()
    assert server.wait() in (0, -signal.SIGTERM)
    assert "Traceback" not in server.log


def test_a_stop_lets_a_stream_come_to_its_end(serve: Serve) -> None:
    server = serve("http_plain:app")
    with Wire(server) as stream, Wire(server) as opener:
        stream.request("/stream?end")
        stream.until(b"first\r\n")
        # The request that opens the gate is under way when the stop comes.
        opener.send(b"POST /go?end HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n")
        server.signal(signal.SIGTERM)
        server.wait_for("Waiting for connections to close")
        opener.send(b"\r\nx")
        assert opener.response().status == 200
        assert stream.rest_of_chunks() == b"second"
        assert stream.is_closed()
    assert server.wait() in (0, -signal.SIGTERM)


def test_a_stop_answers_no_further_pipelined_request(serve: Serve) -> None:
    server = serve("http_plain:app")
    with Wire(server) as wire:
        wire.send(b"GET /wait?first HTTP/1.1\r\nhost: a\r\n\r\n")
        eventually(lambda: seen(server, "waiting") == 1)
        with Wire(server) as opener:
            opener.send(b"GET /go?first HTTP/1.1\r\nhost: a\r\n")
            server.signal(signal.SIGTERM)
            server.wait_for("Waiting for connections to close")
            wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            opener.send(b"\r\n")
            assert opener.response().status == 200
        assert wire.response().body == b"waited"
        assert wire.rest() == b""
    assert server.wait() in (0, -signal.SIGTERM)
