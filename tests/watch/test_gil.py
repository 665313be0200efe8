"""Who waits for the GIL is not to blame, but who keeps it."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve, Served

APPS = Path(__file__).parent / "apps"
SOURCE = (APPS / "gil.py").read_text().splitlines()

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a thread waits for")


def line_of(mark: str) -> int:
    return next(number for number, line in enumerate(SOURCE, 1) if line.endswith(f"  # {mark}"))


@pytest.fixture(scope="module", params=["auto", "off"], ids=["compiled", "stock"])
def served(request: pytest.FixtureRequest, serve_once: Serve) -> Served:
    return serve_once("gil:app", "--compile", request.param, app_dir=APPS)


def get(served: Served, path: str) -> None:
    assert httpx.get(f"{served.url}{path}", timeout=30).status_code == 200


@pytest.mark.parametrize("compiling", ["auto", "off"], ids=["compiled", "stock"])
def test_a_thread_that_keeps_the_gil_is_to_blame(serve: Serve, compiling: str) -> None:
    served = serve("gil:app", "--compile", compiling, "--report", app_dir=APPS)
    keeper = threading.Thread(target=get, args=(served, "/sleeps"))
    keeper.start()
    get(served, "/victim")
    keeper.join()
    told = served.wait_for(r"(.*) blocked the event loop for \d+ ms; .*?gil\.py:(\d+), in (\w+): ")
    assert told[1].endswith("another thread that kept the GIL")
    assert int(told[2]) == line_of("sleeps")
    served.stop()
    assert served.log.count("blocked the event loop") == 1
    assert re.search(r"^GET /victim .* OK$", served.log, re.MULTILINE)
    assert re.search(
        rf"^another thread that kept the GIL .* Bad\n +\S*gil\.py:{line_of('sleeps')} ", served.log, re.MULTILINE
    )


def test_of_a_thread_that_has_gone_on_the_endpoint_is_told(serve: Serve) -> None:
    served = serve("gil:app", app_dir=APPS)
    keeper = threading.Thread(target=get, args=(served, "/leaves"))
    keeper.start()
    get(served, "/victim")
    keeper.join()
    served.wait_for(
        r"another thread that kept the GIL blocked the event loop for \d+ ms; .*"
        r"(?:GET /leaves \(gil\.leaves\) was on a thread then|gil\.py:\d+, in leaves: )"
    )


def test_an_endpoint_that_sleeps_with_the_gil_is_to_blame_itself(served: Served) -> None:
    get(served, "/own")
    served.wait_for(r"GET /own \(gil\.own\) blocked the event loop for \d+ ms; ")


def test_an_endpoint_that_waits_for_another_lock_is_to_blame_itself(served: Served) -> None:
    get(served, "/lock")
    told = served.wait_for(r"GET /lock \(gil\.lock\) blocked the event loop for \d+ ms; \S*gil\.py:(\d+), in lock")
    assert int(told[1]) == line_of("lock")
