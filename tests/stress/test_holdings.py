"""Thousands of requests, and what is left of them: nothing.

Memory is compared after a warm-up that has filled every pool, with room for the noise of an allocator; descriptors,
tasks and reference counts are exact.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.conftest import Serve, Served
from tests.http.test_messages import eventually
from tests.http.wire import Wire

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": KEY}


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Served:
    return serve_once("stress_probe:app", "--loop", request.param, "--no-access-log")


def holdings(server: Served) -> dict[str, int]:
    with Wire(server) as wire:
        found = json.loads(wire.get("/holdings").body)
        assert isinstance(found, dict)
        return found


def keep_alive(server: Served) -> None:
    with Wire(server) as wire:
        for _ in range(1000):
            assert wire.get("/").status == 200


def connections(server: Served) -> None:
    for _ in range(300):
        with Wire(server) as wire:
            assert wire.get("/").status == 200


def suspended(server: Served) -> None:
    wires = [Wire(server) for _ in range(20)]
    for _ in range(10):
        for wire in wires:
            wire.request("/slow")
        for wire in wires:
            assert wire.response().status == 200
    for wire in wires:
        wire.sock.close()


def bodies(server: Served) -> None:
    with Wire(server) as wire:
        for size in (1, 1000, 100_000, 1_000_000):
            for _ in range(10):
                wire.request("/echo", "POST", body=b"x" * size)
                assert len(wire.response().body) == size


def exceptions(server: Served) -> None:
    for _ in range(200):
        with Wire(server) as wire:
            assert wire.get("/raise").status == 500


def cycles(server: Served) -> None:
    with Wire(server) as wire:
        for round_ in range(300):
            assert wire.get("/cycle" if round_ % 10 else "/collect-elsewhere").status == 200


def vanishing(server: Served) -> None:
    """Clients that leave at random places of a request or its answer."""
    chance = random.Random(1)
    request = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 50000\r\n\r\n" + b"x" * 50_000
    for _ in range(200):
        wire = Wire(server)
        path = chance.choice([request, b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"])
        wire.send(path[: chance.randrange(1, len(path) + 1)])
        wire.reset() if chance.random() < 0.5 else wire.sock.close()


def half_closed(server: Served) -> None:
    """Clients that end their side with their last byte, and leave with the answer."""
    for _ in range(100):
        with Wire(server) as wire:
            wire.request("/slow")
            wire.half_close()
            assert wire.response().status == 200
        with Wire(server) as wire:
            wire.request("/echo", "POST", body=b"x" * 1000)
            wire.half_close()
            assert wire.rest().endswith(b"x" * 1000)


def refused(server: Served) -> None:
    """Requests that never reach the application."""
    for request in (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    ):
        for _ in range(50):
            with Wire(server) as wire, suppress(ConnectionError):
                wire.send(request)
                assert 400 <= wire.response().status < 500


def vanishing_websockets(server: Served) -> None:
    """WebSocket clients that leave at random places of the handshake, a message, or the answer to it."""
    chance = random.Random(2)
    lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    stream = f"GET /ws HTTP/1.1\r\nhost: a\r\n{lines}\r\n".encode() + b"\x82\xfe\xff\xff\0\0\0\0" + b"x" * 65_535
    for _ in range(200):
        wire = Wire(server)
        wire.send(stream[: chance.choice([chance.randrange(1, 300), chance.randrange(1, len(stream) + 1)])])
        wire.reset() if chance.random() < 0.5 else wire.sock.close()


def websockets(server: Served) -> None:
    for round_ in range(100):
        with Wire(server) as wire:
            assert wire.get("/ws", UPGRADE).status == 101
            wire.send(b"\x81\x85\0\0\0\0hello")
            assert wire.exactly(7) == b"\x81\x05hello"
            if round_ % 2:
                wire.send(b"\x88\x80\0\0\0\0")
                assert wire.exactly(2) == b"\x88\0"


@pytest.mark.parametrize(
    "use",
    [
        keep_alive,
        connections,
        suspended,
        bodies,
        exceptions,
        cycles,
        vanishing,
        half_closed,
        refused,
        websockets,
        vanishing_websockets,
    ],
    ids=lambda f: f.__name__,
)
def test_nothing_is_left_behind(server: Served, use: Callable[[Served], None]) -> None:
    use(server)
    before = holdings(server)
    for _ in range(3):
        use(server)
    # The last connections may still be about to end.
    eventually(lambda: holdings(server)["descriptors"] <= before["descriptors"])
    eventually(lambda: holdings(server)["tasks"] <= before["tasks"])
    after = holdings(server)
    assert after["resident"] - before["resident"] < 4 << 20
    for name in ("header_references", "body_references"):
        assert after[name] == before[name], name
    assert after["objects"] - before["objects"] < 50
    assert after["none_references"] - before["none_references"] < 300


def test_a_fork_in_a_handler_disturbs_nothing(server: Served) -> None:
    with Wire(server) as other:
        assert other.get("/").status == 200
        for path in ("/fork", "/fork-and-close", "/fork-and-loop", "/multiprocessing"):
            with Wire(server) as wire:
                assert wire.get(path).body == b"0"
                assert other.get("/").status == wire.get("/").status == 200
    with Wire(server) as wire:
        assert wire.get("/").status == 200


def test_other_tasks_of_the_loop_go_on_under_full_load(server: Served) -> None:
    """A loop that only ever serves would never come to its timers."""
    wires = [Wire(server, timeout=60) for _ in range(64)]
    before = holdings(server)["ticks"]
    for _ in range(20):
        for wire in wires:
            wire.send(b"GET /burn HTTP/1.1\r\nhost: a\r\n\r\n" * 4)
        for wire in wires:
            for _ in range(4):
                assert wire.response().status == 200
    # 5 120 requests of 250 us: more than a second, in which a ticker of 10 ms has a hundred turns if it gets any.
    assert holdings(server)["ticks"] - before > 20
    for wire in wires:
        wire.sock.close()
