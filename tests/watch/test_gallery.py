"""Each fault of the gallery is told of with its endpoint and its line, by compiled requests and by stock ones."""

from __future__ import annotations

import re
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.conftest import Serve, Served

# Before Python 3.12 a task keeps its context to itself.

HAS_TASK_CONTEXTS = sys.version_info >= (3, 12)
APPS = Path(__file__).parent / "apps"
SOURCE = (APPS / "gallery.py").read_text().splitlines()

BLOCKING = (
    ("sleep", "sleep", "sleep"),
    ("dependency", "dependency", "deeper"),
    ("database", "database", "database"),
    ("requests", "with_requests", "with_requests"),
    ("urllib", "with_urllib", "with_urllib"),
    ("cpu", "cpu", "cpu"),
    ("regex", "regex", "regex"),
    ("json", "big_json", "big_json"),
    ("hash", "hashed", "hashed"),
    ("file", "file", "file"),
    ("join", "join", "join"),
    ("background", "background", "after"),
)


def line_of(mark: str) -> int:
    """The line of the gallery that ends with a comment."""
    return next(number for number, line in enumerate(SOURCE, 1) if line.endswith(f"  # {mark}"))


@pytest.fixture(scope="module", params=["auto", "off"], ids=["compiled", "stock"])
def gallery(request: pytest.FixtureRequest, serve_once: Serve) -> Served:
    return serve_once("gallery:app", "--compile", request.param, "--report", app_dir=APPS)


def get(served: Served, path: str) -> httpx.Response:
    response = httpx.get(f"{served.url}{path}", timeout=30)
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize(("name", "endpoint", "function"), BLOCKING, ids=[name for name, *_ in BLOCKING])
def test_what_blocks_the_loop_is_told_with_its_line(gallery: Served, name: str, endpoint: str, function: str) -> None:
    get(gallery, f"/{name}")
    told = gallery.wait_for(
        rf"GET /{name} \(gallery\.{endpoint}\) blocked the event loop for (\d+) ms; "
        rf"\S*gallery\.py:(\d+), in {function}: (.*)"
    )
    assert int(told[1]) >= 100
    assert int(told[2]) == line_of(name)
    assert told[3].strip() == SOURCE[line_of(name) - 1].strip()


def test_a_websocket_that_blocks_is_told_of(gallery: Served) -> None:
    with connect(f"{gallery.ws_url}/socket") as socket:
        socket.send("block")
        assert socket.recv() == "slept"
    told = gallery.wait_for(r"WebSocket /socket .*blocked the event loop for \d+ ms; \S*gallery\.py:(\d+), in socket")
    assert int(told[1]) == line_of("socket")


def test_outside_of_requests_the_task_or_callback_is_named(gallery: Served) -> None:
    get(gallery, "/task")
    told = gallery.wait_for(
        r"the task aside \(aside\) blocked the event loop for \d+ ms; "
        r"(?:started by GET /task(?: \(gallery\.\S+\))?; )?\S*gallery\.py:(\d+), in aside"
    )
    assert int(told[1]) == line_of("task")
    get(gallery, "/timer")
    told = gallery.wait_for(r"a callback outside of requests blocked the event loop .*gallery\.py:(\d+), in late")
    assert int(told[1]) == line_of("timer")


def test_requests_that_had_to_wait_are_counted(gallery: Served) -> None:
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        waiting = [stack.enter_context(socket.create_connection((gallery.host, gallery.port))) for _ in range(3)]
        blocking = pool.submit(get, gallery, "/long-sleep")
        gallery.wait_for("asleep")
        for one in waiting:
            one.sendall(b"GET /fine HTTP/1.1\r\nhost: x\r\n\r\n")
        blocking.result()
        for one in waiting:
            assert one.recv(1000).startswith(b"HTTP/1.1 200")
    told = gallery.wait_for(r"GET /long-sleep .*blocked the event loop for (\d+) ms; 3 requests waited; ")
    gallery.process.send_signal(signal.SIGUSR1)
    row = gallery.wait_for(r"GET /long-sleep +async +1 +1 +(\d+) ms +(\d+) ms +(\d+) ms +Bad")
    assert row[1] == row[2] == told[1]
    assert int(row[1]) < int(row[3]) <= 3 * int(row[1]) + 1
    assert "use await asyncio.sleep(...)" in gallery.log


def test_a_coroutine_that_nobody_awaits_is_told_of(gallery: Served) -> None:
    get(gallery, "/unawaited")
    told = gallery.wait_for(r"the coroutine never \(\S*gallery\.py:(\d+)\) was never awaited; in GET /unawaited")
    assert SOURCE[int(told[1]) - 1].startswith("async def never")


def test_tasks_that_are_lost_and_exceptions_nobody_asks_for_are_told_with_their_request(gallery: Served) -> None:
    get(gallery, "/raises-unseen")
    get(gallery, "/collect")
    started = r"; started by GET /raises-unseen" if HAS_TASK_CONTEXTS else ""
    gallery.wait_for(
        rf"a task of raises_unseen\.<locals>\.fail \(\S+\) has raised LookupError, and nobody asked{started}"
    )
    get(gallery, "/lost")
    get(gallery, "/collect")
    started = r"; started by GET /lost" if HAS_TASK_CONTEXTS else ""
    gallery.wait_for(rf"a task of lost\.<locals>\.wait \(\S+\) was destroyed while it was pending{started}")


def test_garbage_collection_is_not_the_endpoints_line(gallery: Served) -> None:
    get(gallery, "/many")
    get(gallery, "/collect")
    gallery.wait_for(r"blocked the event loop for \d+ ms.*; \d+ ms of it were the garbage collector's")


def test_a_full_thread_pool_is_told_of_with_those_who_hold_it(gallery: Served) -> None:
    get(gallery, "/threads/2")
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: get(gallery, "/hold"), range(5)))
    told = gallery.wait_for(
        r"the thread pool is full: 2 threads taken, \d calls? waiting, for .*; "
        r"2 in hold at \S*gallery\.py:(\d+), in hold"
    )
    assert int(told[1]) == line_of("hold")
    if HAS_TASK_CONTEXTS:
        assert "2 for GET /hold" in told[0]


def test_a_pool_that_waits_for_itself_is_told_to_be_stuck(gallery: Served) -> None:
    get(gallery, "/threads/1")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(get, gallery, "/deadlock")
        told = gallery.wait_for(
            r"nothing has moved: it may be a deadlock.*1 in deadlock at \S*gallery\.py:(\d+), in deadlock", timeout=20
        )
        assert int(told[1]) == line_of("deadlock")
        gallery.wait_for(r"The stack of one of its threads")
        get(gallery, "/threads/40")
        assert waiting.result().json() == "there was a thread left"


def test_a_deadlock_between_pool_and_loop_is_told_while_it_lasts(gallery: Served) -> None:
    asking = threading.Thread(target=httpx.get, args=(f"{gallery.url}/loop-deadlock",), kwargs={"timeout": 30})
    asking.start()
    told = gallery.wait_for(
        r"has been blocking the event loop for \d\.\d s and goes on; \S*gallery\.py:(\d+), in loop_deadlock"
    )
    assert int(told[1]) == line_of("loop-deadlock")
    asking.join()


def test_a_start_up_that_blocks_is_told_of(serve: Serve) -> None:
    served = serve("gallery:app", app_dir=APPS, env={"SLOW_START": "1"})
    told = served.wait_for(
        r"the application's start-up or shutdown blocked the event loop for \d+ ms; \S*gallery\.py:(\d+), in lifespan"
    )
    assert int(told[1]) == line_of("start-up")


def test_strict_ends_with_an_error_and_says_where_a_coroutine_was_made(serve: Serve) -> None:
    served = serve("gallery:app", "--watch", "strict", app_dir=APPS)
    get(served, "/unawaited")
    told = served.wait_for(r"was never awaited; it was made at \S*gallery\.py:(\d+), in unawaited: never\(\)")
    assert int(told[1]) == line_of("unawaited")
    get(served, "/sleep")
    assert re.search(r"ERROR: +GET /sleep", served.wait_for(r".*GET /sleep.*")[0])
    served.process.send_signal(signal.SIGTERM)
    assert served.wait() == 4


@pytest.mark.parametrize("several", [("--workers", "2"), ("--reload",)], ids=["workers", "reload"])
@pytest.mark.parametrize("path", ["/fine", "/sleep"])
def test_strict_ends_with_an_error_whoever_runs_the_server(serve: Serve, several: tuple[str, ...], path: str) -> None:
    served = serve("gallery:app", "--watch", "strict", *several, app_dir=APPS, cwd=APPS)
    served.wait_for("Application startup complete", count=2 if "--workers" in several else 1)
    get(served, path)
    assert served.stop() == (4 if path == "/sleep" else 0)


def test_without_the_watch_nothing_is_told(serve: Serve) -> None:
    served = serve("gallery:app", "--watch", "off", app_dir=APPS)
    get(served, "/sleep")
    served.process.send_signal(signal.SIGTERM)
    served.wait()
    assert "blocked" not in served.log


def test_a_clean_application_under_load_is_told_nothing_of(serve: Serve) -> None:
    served = serve("gallery:app", "--no-access-log", "--report", app_dir=APPS)
    ends = time.monotonic() + 5

    def ask(number: int) -> None:
        with httpx.Client(base_url=served.url) as client:
            while time.monotonic() < ends:
                assert client.get("/fine").status_code == 200
                assert client.get(f"/fine-def/{number}").status_code == 200

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    served.process.send_signal(signal.SIGTERM)
    served.wait()
    assert "blocked the event loop" not in served.log
    assert "blocking" not in served.log
    assert re.search(r"GET /fine +async .* OK", served.log)
