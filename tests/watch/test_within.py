"""What a request does behind middleware, in another task or on anyio's threads, is on its clock all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import Serve
from tests.watch.test_inspect import Inspected, until

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module", params=["dispatch", "plain"])
def within(request: pytest.FixtureRequest, serve_once: Serve) -> Inspected:
    environment = {"BEHIND": request.param}
    return Inspected(serve_once("within:app", "--inspect=127.0.0.1:0", app_dir=APPS, env=environment))


def route(within: Inspected, path: str, requests: int = 1) -> Any:
    """What the route has come to; it is told once a second."""

    def find() -> Any:
        found = (route for route in within.json("/routes") if route["path"] == path)
        return next((route for route in found if route["requests"] == requests), None)

    return until(find)


def test_a_call_on_a_thread_counts(within: Inspected) -> None:
    assert within.call("/thread").status_code == 200
    found = route(within, "/thread")
    assert found["thread_calls"] == 1
    assert 0.1 <= found["thread_ran"] < 1
    assert 0 <= found["thread_queued"] < 1
    kinds = [event["kind"] for event in within.events_of("GET /thread")]
    assert kinds.count("thread-wanted") == kinds.count("thread-ran") == 1


def test_calls_of_dependencies_and_calls_that_fail_count(within: Inspected) -> None:
    assert within.call("/depends").status_code == 404
    found = route(within, "/depends")
    assert found["thread_calls"] == 2
    assert 0.15 <= found["thread_ran"] < 1


def test_steps_count_wherever_they_are_made(within: Inspected) -> None:
    assert within.call("/works").status_code == 200
    found = route(within, "/works")
    assert 0.09 <= found["loop_time"] < 1
    assert 0.03 <= found["longest_step"] < 1
    assert found["waits"] >= 4
    # uvloop counts a timer from when its turn began, so that one may be over before the wait for it begins.
    assert 0.01 <= found["waited"] < 1
    kinds = [event["kind"] for event in within.events_of("GET /works")]
    assert kinds.count("step-began") == kinds.count("step-ended") >= 5
    steps = [kind for kind in kinds if kind.startswith("step-")]
    assert steps == ["step-began", "step-ended"] * (len(steps) // 2), "one at a time"


def test_calls_of_websockets_count(within: Inspected) -> None:
    with connect(f"ws{within.served.url.removeprefix('http')}/socket") as socket, pytest.raises(ConnectionClosed):
        socket.recv()
    assert route(within, "/socket")["thread_calls"] == 1
