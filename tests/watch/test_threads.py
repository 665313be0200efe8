"""Calls on threads that the application, Starlette or FastAPI make themselves are on the clocks of their requests."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.conftest import Serve
from tests.watch.test_inspect import Inspected
from tests.watch.test_within import route

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module", params=["auto", "off"])
def threads(request: pytest.FixtureRequest, serve_once: Serve) -> Inspected:
    return Inspected(serve_once("threads:app", "--inspect=127.0.0.1:0", f"--compile={request.param}", app_dir=APPS))


@pytest.mark.parametrize("path", ["/def", "/pooled", "/anyio", "/background", "/generator", "/fails"])
def test_a_call_counts_whoever_makes_it(threads: Inspected, path: str) -> None:
    assert threads.call(path).status_code == 200
    found = route(threads, path)
    assert found["thread_calls"] == 1
    assert 0.1 <= found["thread_ran"] < 1
    assert 0 <= found["thread_queued"] < 1
    kinds = [event["kind"] for event in threads.events_of(f"GET {path}")]
    assert kinds.count("thread-wanted") == kinds.count("thread-ran") == 1


def test_waiting_for_a_thread_is_told_from_running(serve: Serve) -> None:
    threads = Inspected(serve("threads:app", "--inspect=127.0.0.1:0", "--compile=off", app_dir=APPS))
    assert threads.call("/queues").status_code == 200
    found = route(threads, "/queues")
    assert found["thread_calls"] == 3
    assert 0.3 <= found["thread_ran"] < 1
    assert 0.1 <= found["thread_queued"] < 1


def test_the_applications_own_limiters_are_left_alone(threads: Inspected) -> None:
    assert threads.call("/own").status_code == 200
    assert route(threads, "/own")["thread_calls"] == 0


def test_the_limiter_is_what_it_was_to_all_who_use_it(threads: Inspected) -> None:
    found = threads.call("/limiter").json()
    assert found == {"is_limiter": True, "class": str(_class_of_anyio()), "borrowed": 1, "tokens": 2}


def _class_of_anyio() -> type:
    async def find() -> type:
        return type(anyio.CapacityLimiter(1))

    return anyio.run(find)
