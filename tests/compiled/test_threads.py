"""`def` endpoints run on threads, several at once, with anyio's tokens; and nothing of a request outlives it."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve, Served

APPS = Path(__file__).parent / "apps"


@pytest.fixture
def served(serve: Serve) -> Served:
    served = serve("threads:app", "--no-access-log", app_dir=APPS)
    assert re.search(r"Compiled (\d+) of \1 routes", served.log), served.log
    return served


def at_once(served: Served, count: int, path: str) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: httpx.get(f"{served.url}{path}", timeout=30), range(count)))


@pytest.mark.parametrize("path", ["/meet", "/meet-with-resource"])
def test_def_endpoints_run_at_the_same_time(served: Served, path: str) -> None:
    answers = at_once(served, 5, path)
    assert sorted(answer.json() for answer in answers) == [0, 1, 2, 3, 4]


def test_no_more_run_at_once_than_there_are_tokens(served: Served) -> None:
    httpx.post(f"{served.url}/tokens/2")
    with ThreadPoolExecutor(6) as pool:
        crowd = [pool.submit(httpx.get, f"{served.url}/crowd", timeout=30) for _ in range(6)]
        while httpx.get(f"{served.url}/most").json()["running"] < 2:
            pass
        assert httpx.get(f"{served.url}/borrowed").json() == 2
        httpx.post(f"{served.url}/open-gate")
        assert all(answer.result().status_code == 200 for answer in crowd)
    assert httpx.get(f"{served.url}/most").json() == {"running": 0, "most": 2}
    assert httpx.get(f"{served.url}/borrowed").json() == 0


def test_how_long_calls_waited_is_measured(serve: Serve) -> None:
    served = serve("threads:app", "--log-level", "debug", app_dir=APPS)
    httpx.post(f"{served.url}/tokens/1")
    with ThreadPoolExecutor(3) as pool:
        # Two hold nothing but their places in the queue until the gate opens.
        crowd = [pool.submit(httpx.get, f"{served.url}/crowd", timeout=30) for _ in range(3)]
        while httpx.get(f"{served.url}/waiting").json() < 2:
            pass
        began = time.monotonic()
        while time.monotonic() - began < 0.05:
            httpx.get(f"{served.url}/waiting")
        httpx.post(f"{served.url}/open-gate")
        assert all(answer.result().status_code == 200 for answer in crowd)
    served.stop()
    found = re.search(r"3 call\(s\) on threads waited ([\d.]+) s in all, ([\d.]+) s at the longest", served.log)
    assert found is not None, served.log
    total, longest = map(float, found.groups())
    assert total >= 2 * 0.05 - 0.001
    assert longest >= 0.05 - 0.001
    assert re.search(r"Plans answered \d+ request", served.log)


def test_each_call_has_a_context_of_its_own(served: Served) -> None:
    with httpx.Client(base_url=served.url) as client:
        assert [client.get(f"/variable/{value}").json() for value in "abc"] == ["unset"] * 3


def test_an_exception_in_a_thread_is_answered_and_gives_its_token_back(served: Served) -> None:
    with httpx.Client(base_url=served.url) as client:
        assert [client.get("/boom").status_code for _ in range(50)] == [500] * 50
        assert client.get("/borrowed").json() == 0
    assert "ValueError: boom" in served.log


def test_a_stop_waits_for_a_thread_no_longer_than_it_was_told(serve: Serve) -> None:
    served = serve("threads:app", "--timeout-graceful-shutdown", "1", app_dir=APPS)
    with served.connect() as client:
        client.sendall(b"GET /crowd HTTP/1.1\r\nHost: x\r\n\r\n")
        while httpx.get(f"{served.url}/most").json()["running"] < 1:
            pass
        served.signal(signal.SIGTERM)
        served.wait_for("timeout graceful shutdown exceeded")
    served.wait_for("Finished server process")


async def mixed_traffic(url: str, rounds: int) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def one(number: int) -> None:
            kind = number % 7
            body: Any = {"name": "n", "values": list(range(5))}
            if kind == 0:
                assert (await client.post("/item", json=body)).status_code == 200
            elif kind == 1:
                assert (await client.post("/item", json={"nome": 1})).status_code == 422
            elif kind == 2:
                assert (await client.post("/item", json={"name": "refused"})).status_code == 400
            elif kind == 3:
                assert (await client.post("/thread-item", json=body)).status_code == 200
            elif kind == 4:
                assert (await client.get("/scope/x")).json() == "x"
            elif kind == 5:
                assert (await client.get("/nowhere")).status_code == 404
            else:
                assert (await client.get("/boom")).status_code == 500

        for start in range(0, rounds, 50):
            await asyncio.gather(*(one(number) for number in range(start, start + 50)))


def test_nothing_of_thousands_of_requests_stays_behind(served: Served) -> None:
    asyncio.run(mixed_traffic(served.url, 1000))
    before = httpx.get(f"{served.url}/alive").json()
    asyncio.run(mixed_traffic(served.url, 3000))
    after = httpx.get(f"{served.url}/alive").json()
    assert after["open"] == 0
    assert after["tasks"] == before["tasks"]
    # A third of an object for each request would show.
    assert after["objects"] - before["objects"] < 1000
    assert after["blocks"] - before["blocks"] < 3000
    assert abs(after["none"] - before["none"]) < 1000
