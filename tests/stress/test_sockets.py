"""Thousands of sessions with WebSocket routes that plans serve, and what is left of them: nothing."""

from __future__ import annotations

import json
import random

import pytest

from tests.conftest import Serve, Served
from tests.http.test_messages import eventually
from tests.http.wire import Wire
from tests.stress.test_holdings import UPGRADE

HELLO = b"\x81\x85\0\0\0\0hello"
ANSWER = b"\x81\x05hello" + b"\x82\x64" + b"b" * 100
GOODBYE = b"\x88\x80\0\0\0\0"

# Exact; the rest leaves room for the noise of an allocator.
EXACT = (
    "tasks",
    "header_references",
    "bytes_references",
    "value_references",
    "session_references",
    "class_references",
    "sockets",
    "entered",
)


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Served:
    return serve_once("stress_sockets:app", "--loop", request.param, "--no-access-log", "--compile", "strict")


def holdings(server: Served) -> dict[str, int]:
    with Wire(server) as wire:
        found = json.loads(wire.get("/holdings").body)
        assert isinstance(found, dict)
        return found


def talk(server: Served, path: str, messages: int = 1) -> None:
    """A session as it should be."""
    with Wire(server) as wire:
        assert wire.get(path, UPGRADE).status == 101
        for _ in range(messages):
            wire.send(HELLO)
            assert wire.exactly(len(ANSWER)) == ANSWER
        wire.send(GOODBYE)
        assert wire.exactly(2) == b"\x88\0"


def vanish(server: Served, path: str, chance: random.Random) -> None:
    """One whose client leaves without a goodbye, at a random place."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    stream = f"GET {path} HTTP/1.1\r\nhost: a\r\n{lines}\r\n".encode() + HELLO * 5
    wire = Wire(server)
    wire.send(stream[: chance.randrange(1, len(stream) + 1)])
    wire.reset() if chance.random() < 0.5 else wire.sock.close()


def hear(server: Served, path: str, end: bytes) -> None:
    """One that the application ends."""
    with Wire(server) as wire:
        assert wire.get(path, UPGRADE).status == 101
        assert wire.exactly(len(end)) == end


def refused(server: Served, path: str) -> None:
    """One that comes to nothing."""
    with Wire(server) as wire:
        assert wire.get(path, UPGRADE).status == 403


def sessions(server: Served, below: str, rounds: int) -> None:
    """Sessions of all kinds, eight a round."""
    chance = random.Random(rounds)
    for _ in range(rounds):
        talk(server, f"{below}/echo")
        talk(server, f"{below}/pass-on", messages=3)
        talk(server, f"{below}/cycle")
        vanish(server, f"{below}/echo", chance)
        hear(server, f"{below}/raise", b"\x88\x02\x03\xf3")
        hear(server, f"{below}/close", b"\x88\x02\x0f\xa1")
        refused(server, f"{below}/refuse")
        refused(server, f"{below}/echo?number=x")


@pytest.mark.parametrize(
    "below", ["", "/plain/5", "/mounted", "/layered"], ids=["own", "parameter", "mounted", "layered"]
)
def test_sessions_leave_nothing_behind(server: Served, below: str) -> None:
    sessions(server, below, 20)
    eventually(lambda: holdings(server)["entered"] == 0)
    before = holdings(server)
    if below:
        assert f"Compiled 1 of 1 routes of the application mounted at {below.removesuffix('/5')}" in server.log
    sessions(server, below, 125)
    # The last connections may still be about to end.
    eventually(lambda: holdings(server)["descriptors"] <= before["descriptors"])
    eventually(lambda: holdings(server)["tasks"] <= before["tasks"])
    after = holdings(server)
    assert {name: after[name] for name in EXACT} == {name: before[name] for name in EXACT}
    assert after["sockets"] == after["entered"] == 0
    assert after["objects"] - before["objects"] < 50
    assert after["resident"] - before["resident"] < 4 << 20
