"""Streams and files that plans send: what becomes of them when the client leaves, or the server stops."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.conftest import Serve, Served
from tests.http.test_messages import eventually
from tests.http.wire import Wire

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def shared(serve_once: Serve, request: pytest.FixtureRequest) -> Served:
    served = serve_once("streams:app", "--no-access-log", "--loop", request.param, app_dir=APPS)
    assert re.search(r"Compiled (\d+) of \1 routes", served.log), served.log
    return served


@pytest.fixture
def served(shared: Served) -> Served:
    """With nothing noted yet."""
    ask(shared, "/forget")
    return shared


def ask(served: Served, path: str) -> object:
    with Wire(served) as wire:
        return json.loads(wire.get(path).body)


def count(served: Served, path: str) -> int:
    found = ask(served, path)
    assert isinstance(found, int)
    return found


def noted(served: Served) -> list[str]:
    events = ask(served, "/noted")
    assert isinstance(events, list)
    return events


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("/lines/60", "close"),
        ("/lines/0", "reset"),
        ("/events/60", "reset"),
        ("/events/0", "close"),
        ("/own/60", "close"),
        ("/own/0", "reset"),
    ],
)
def test_a_client_that_leaves_ends_a_stream_with_all_that_belongs_to_it(served: Served, path: str, how: str) -> None:
    before = count(served, "/tasks")
    wire = Wire(served)
    wire.request(path)
    wire.until(b"\r\n\r\n")
    wire.exactly(500)
    if path.endswith("/0"):
        # So much that the generator is stopped by a client that does not read.
        wire.exactly(500_000)
    if how == "close":
        wire.sock.close()
    else:
        wire.reset()
    eventually(lambda: {"finalized", "exit"} <= set(noted(served)))
    eventually(lambda: count(served, "/tasks") == before)
    assert ("background" in noted(served)) == path.startswith("/own")
    assert "Traceback" not in served.log


def test_a_client_that_leaves_a_generator_in_a_thread_ends_it(served: Served) -> None:
    wire = Wire(served)
    wire.request("/thread")
    wire.until(b"\r\n\r\n")
    wire.exactly(500)
    wire.sock.close()
    eventually(lambda: noted(served) == ["exit"])
    assert "Traceback" not in served.log


def test_a_client_that_leaves_a_file_closes_it(served: Served) -> None:
    wire = Wire(served)
    wire.request("/file")
    wire.until(b"\r\n\r\n")
    wire.exactly(1000)
    assert count(served, "/descriptors") == 1
    assert noted(served) == ["begun"], "nothing follows a file that is being sent"
    wire.reset()
    eventually(lambda: noted(served) == ["begun", "background", "exit"])
    eventually(lambda: count(served, "/descriptors") == 0)
    assert "Traceback" not in served.log


def test_streams_that_were_left_leave_nothing_behind(served: Served) -> None:
    paths = ["/lines/60", "/lines/0", "/events/60", "/events/0", "/own/60", "/thread", "/file"]

    def leave_all(times: int) -> int:
        before = noted(served).count("exit")
        for _ in range(times):
            for path in paths:
                wire = Wire(served)
                wire.request(path)
                wire.until(b"\r\n\r\n")
                wire.exactly(500)
                wire.reset()
        eventually(lambda: noted(served).count("exit") == before + times * len(paths))
        return count(served, "/objects")

    tasks = count(served, "/tasks")
    first = leave_all(5)
    assert leave_all(20) - first < 100
    eventually(lambda: count(served, "/tasks") == tasks)
    assert count(served, "/descriptors") == 0


def test_a_file_is_sent_as_its_client_reads(served: Served) -> None:
    before = count(served, "/resident")
    with Wire(served) as wire:
        wire.request("/file")
        wire.until(b"\r\n\r\n")
        wire.exactly(1000)
        assert noted(served) == ["begun"]
        assert count(served, "/resident") - before < 16 * 1024 * 1024
        for _ in range(63):
            wire.exactly(1024 * 1024)
        wire.exactly(1024 * 1024 - 1000)
        eventually(lambda: noted(served) == ["begun", "background", "exit"])
        assert wire.get("/noted").status == 200, "the connection goes on"


def test_files_of_pipelined_requests_are_sent_in_order(served: Served) -> None:
    with Wire(served) as wire:
        for _ in range(20):
            wire.send(b"GET /middle-file HTTP/1.1\r\nhost: a\r\n\r\nGET /small-file HTTP/1.1\r\nhost: a\r\n\r\n")
        for _ in range(20):
            assert wire.response().body == b"m" * 300_000
            assert wire.response().body == Path(APPS / "streams.py").read_bytes()
    eventually(lambda: noted(served).count("background") == 20)
    assert "Traceback" not in served.log


@pytest.mark.parametrize("path", ["/lines/60", "/events/60", "/own/60", "/file"])
def test_a_server_that_stops_leaves_what_streams_are_within(serve: Serve, path: str) -> None:
    served = serve("streams:app", "--timeout-graceful-shutdown", "1", app_dir=APPS)
    with Wire(served) as wire:
        wire.request(path)
        wire.until(b"\r\n\r\n")
        wire.exactly(500)
        served.signal(signal.SIGTERM)
        served.wait_for("at the end")
    assert "'exit'" in served.log.partition("at the end")[2], served.log
