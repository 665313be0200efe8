"""A task queue beside the endpoints: taskiq's worker, in a process of its own, takes jobs from Redis."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve, Served
from tests.services.crowd import Ask, answered
from tests.services.daemons import Daemon

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module")
def worker(redis: Daemon) -> Iterator[None]:
    command = [sys.executable, "-m", "taskiq", "worker", "jobs:broker", "--workers", "1"]
    process = subprocess.Popen(command, cwd=APPS, env={**os.environ, "REDIS": redis.url})
    try:
        yield
        assert process.poll() is None, "the worker ended by itself"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, serve_once: Serve, redis: Daemon, worker: None) -> Served:
    return serve_once(
        "jobs:app", "--loop", request.param, "--compile", "strict", app_dir=APPS, env={"REDIS": redis.url}
    )


async def outcome(server: Served, job: str) -> Any:
    """The job's outcome, once there is one."""
    deadline = time.monotonic() + 30
    while True:
        status, found = await answered(server.port, Ask(f"/jobs/{job}"))
        if status == 200:
            return found
        assert (status, found) == (404, {"detail": "not ready"})
        assert time.monotonic() < deadline, "the worker never did it"


def test_jobs_are_done_by_the_worker(server: Served) -> None:
    async def one(number: int) -> Any:
        status, found = await answered(server.port, Ask("/sums", "POST", {"left": number, "right": 1}))
        assert status == 202
        return await outcome(server, found["job"])

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*map(one, range(50)))

    assert asyncio.run(all_of_them()) == [{"value": number + 1, "error": None} for number in range(50)]


def test_a_job_that_fails_says_so(server: Served) -> None:
    async def session() -> Any:
        status, found = await answered(server.port, Ask("/failures/broken", "POST"))
        assert status == 202
        return await outcome(server, found["job"])

    assert asyncio.run(session()) == {"value": None, "error": "broken"}


def test_a_job_is_handed_over_after_the_answer(server: Served) -> None:
    job = f"later-{server.port}"

    async def session() -> Any:
        assert await answered(server.port, Ask(f"/later/{job}", "POST", {"left": 20, "right": 22})) == (202, None)
        return await outcome(server, job)

    assert asyncio.run(session()) == {"value": 42, "error": None}


def test_a_job_that_is_no_job_is_refused_before_the_queue(server: Served) -> None:
    status, _ = asyncio.run(answered(server.port, Ask("/sums", "POST", {"left": "many"})))
    assert status == 422
