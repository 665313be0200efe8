"""Calls on threads that the application, Starlette or FastAPI make themselves are on the clocks of their requests."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from itertools import permutations
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

import overdrive
from overdrive.watch.limiter import LimiterWatch
from tests.conftest import Serve
from tests.watch.test_inspect import Inspected, until
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


def test_a_call_that_was_cancelled_does_not_queue(serve: Serve) -> None:
    threads = Inspected(serve("threads:app", "--inspect=127.0.0.1:0", "--compile=off", app_dir=APPS))
    assert threads.call("/cancelled").status_code == 200
    # Two others run, and one waits: it alone.
    holding = threads.begin("/held?seconds=2")
    until(lambda: threads_of(threads) == (2, 1))
    holding.join()


@pytest.mark.parametrize("paths", [("/held",), ("/held-by-def",) * 3], ids=["anyio", "def"])
def test_calls_that_run_are_told_from_calls_that_wait(threads: Inspected, paths: tuple[str, ...]) -> None:
    holding = [threads.begin(f"{path}?seconds=2") for path in paths]
    until(lambda: threads_of(threads) == (2, 1))
    for thread in holding:
        thread.join()
    until(lambda: threads_of(threads) == (0, 0))


def test_the_applications_own_limiters_are_left_alone(threads: Inspected) -> None:
    assert threads.call("/own").status_code == 200
    assert route(threads, "/own")["thread_calls"] == 0


def test_the_limiter_is_what_it_was_to_all_who_use_it(threads: Inspected) -> None:
    found = threads.call("/limiter").json()
    assert found == {"is_limiter": True, "class": str(_class_of_anyio()), "borrowed": 1, "tokens": 2}


def test_a_call_under_way_at_the_end_of_the_watch_finishes() -> None:
    async def run() -> tuple[str, int]:
        limiter = anyio.to_thread.current_default_thread_limiter()
        watch = LimiterWatch()
        watch.begin(limiter)
        has_begun, may_end = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def call() -> str:
            loop.call_soon_threadsafe(has_begun.set)
            may_end.wait()
            return "done"

        limiter.total_tokens = 1
        running = asyncio.create_task(anyio.to_thread.run_sync(call))
        await has_begun.wait()
        queued = asyncio.create_task(anyio.to_thread.run_sync(call))
        # As many turns as it takes to queue.
        for _ in range(10):
            await asyncio.sleep(0)
        assert limiter.statistics().tasks_waiting == 1
        watch.end()
        may_end.set()
        async with asyncio.timeout(10):
            assert await queued == "done"
            return await running, limiter.borrowed_tokens

    assert anyio.run(run) == ("done", 0)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_servers_on_one_loop_watch_their_limiter_once(order: tuple[int, ...]) -> None:
    async def run() -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        own = type(limiter)
        watches = [LimiterWatch() for _ in order]
        classes = set()
        for watch in watches:
            watch.begin(limiter)
            classes.add(type(limiter))
        assert len(classes) == 1
        for number in order:
            assert type(limiter) is not own
            watches[number].end()
        assert type(limiter) is own
        # An answer that comes too late begins nothing.
        watches[0].begin(limiter)
        assert type(limiter) is own

    anyio.run(run)


def test_servers_on_one_loop_count_their_own_calls_once() -> None:
    def application() -> FastAPI:
        app = FastAPI()

        @app.get("/pooled")
        async def pooled() -> None:
            await run_in_threadpool(time.sleep, 0.01)

        return app

    async def run() -> list[int]:
        servers = [overdrive.Server(overdrive.Config(application(), port=0, log_level="warning")) for _ in range(2)]
        running = []
        for server in servers:
            running.append(asyncio.create_task(server.serve()))
            await started(server)
        async with httpx.AsyncClient() as client:
            for server, times in zip(servers, (1, 2), strict=True):
                host, port = server.sockets[0].getsockname()
                for _ in range(times):
                    await client.get(f"http://{host}:{port}/pooled")
        counts = [server.watch.engine.routes()[0]["thread_calls"] for server in servers if server.watch is not None]
        for server, task in zip(servers, running, strict=True):
            server.should_exit = True
            await task
        return counts

    assert anyio.run(run) == [1, 2]


async def started(server: overdrive.Server) -> None:
    while not server.started:  # noqa: ASYNC110 - it has no event for it
        await asyncio.sleep(0.01)


def threads_of(served: Inspected) -> tuple[int, int]:
    """Calls that run, and calls that wait, now."""
    text = served.get("/metrics").text
    busy, queued = (
        re.search(rf"^overdrive_threadpool_{name}{{.*}} (\d+)$", text, re.MULTILINE)
        for name in ("busy_threads", "queued_calls")
    )
    assert busy is not None
    assert queued is not None
    return int(busy[1]), int(queued[1])


def _class_of_anyio() -> type:
    async def find() -> type:
        return type(anyio.CapacityLimiter(1))

    return anyio.run(find)
