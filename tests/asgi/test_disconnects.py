"""A client that leaves ends what was done for it, through Starlette's own means, with and without a middleware."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Serve, Served
from tests.http.test_messages import eventually
from tests.http.wire import Wire


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Served:
    return serve_once("asgi_streams:app", "--loop", request.param)


def count(server: Served, event: str) -> int:
    with Wire(server) as wire:
        return int(json.loads(wire.get("/events").body).count(event))


def begun(server: Served, wire: Wire, path: str, rest: str = "\r\n") -> int:
    """Sends a request and waits until the application has it; how many of its kind have ended before."""
    before, ended = count(server, f"begun {path}"), count(server, f"ended {path}")
    method = "POST" if "length" in rest else "GET"
    wire.send(f"{method} {path} HTTP/1.1\r\nhost: a\r\n{rest}".encode())
    eventually(lambda: count(server, f"begun {path}") == before + 1)
    return ended


def leave(wire: Wire, how: str) -> None:
    if how == "reset":
        wire.reset()
    else:
        wire.sock.close()


both_ways = pytest.mark.parametrize("prefix", ["", "/middleware"])
every_end = pytest.mark.parametrize("how", ["close", "reset"])


@every_end
@both_ways
@pytest.mark.parametrize("stream", ["quiet", "busy"])
def test_a_stream_is_cancelled_when_its_client_leaves(server: Served, stream: str, prefix: str, how: str) -> None:
    path = f"{prefix}/{stream}"
    wire = Wire(server)
    ended = begun(server, wire, path)
    wire.until(b"\r\n\r\n")
    wire.exactly(5)
    assert count(server, f"ended {path}") == ended
    leave(wire, how)
    eventually(lambda: count(server, f"ended {path}") == ended + 1)


@every_end
def test_a_handler_that_asks_hears_that_its_client_has_left(server: Served, how: str) -> None:
    wire = Wire(server)
    ended = begun(server, wire, "/polling")
    assert count(server, "ended /polling") == ended
    leave(wire, how)
    eventually(lambda: count(server, "ended /polling") == ended + 1)


@every_end
def test_a_handler_that_asks_once_hears_of_it_before_its_empty_body(server: Served, how: str) -> None:
    wire = Wire(server)
    before = count(server, "begun /asking-once")
    wire.send(f"GET /asking-once?name={how} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
    eventually(lambda: count(server, "begun /asking-once") == before + 1)
    leave(wire, how)
    with Wire(server) as other:
        assert other.get(f"/release?name={how}").status == 200
    eventually(lambda: count(server, "ended /asking-once") == before + 1)
    assert count(server, f"left True {how}") == 1


@every_end
@both_ways
def test_an_upload_that_breaks_off_raises(server: Served, prefix: str, how: str) -> None:
    path = f"{prefix}/upload"
    raised = count(server, f"ClientDisconnect {path}")
    wire = Wire(server)
    begun(server, wire, path, "content-length: 10\r\n\r\nhalf")
    leave(wire, how)
    eventually(lambda: count(server, f"ClientDisconnect {path}") == raised + 1)


def test_a_half_closed_client_of_a_stream_is_taken_for_one_that_left(server: Served) -> None:
    """ASGI has no word for a client that still reads: `http.disconnect` is what tells that nothing more will come."""
    with Wire(server) as wire:
        ended = begun(server, wire, "/quiet")
        wire.until(b"first\r\n")
        wire.half_close()
        eventually(lambda: count(server, "ended /quiet") == ended + 1)
        assert wire.rest() == b"", "a stream that was cancelled does not end as if it were whole"
