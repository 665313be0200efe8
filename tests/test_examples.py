"""Every program of `examples/`, served and used as its docstring says.

What ran at the same time is read from the intervals that the handlers report on the machine's monotonic clock, never
from how long an answer took.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from .conftest import Serve

EXAMPLES = Path(__file__).parent.parent / "examples"

# Long enough for two requests sent together to meet on a loaded machine, and short enough to wait for.
SECONDS = {"EXAMPLE_SECONDS": "1"}
DEADLINE = 30.0

Interval = dict[str, Any]


def overlap(first: Interval, second: Interval) -> bool:
    """Whether there was an instant at which both ran."""
    return bool(first["began"] < second["ended"] and second["began"] < first["ended"])


async def together(url: str, *paths: str) -> list[Interval]:
    """Requests all `paths` at once, each on its own connection."""
    async with httpx.AsyncClient(base_url=url, timeout=DEADLINE) as client:
        answers = await asyncio.gather(*(client.get(path) for path in paths))
    return [answer.raise_for_status().json() for answer in answers]


def test_two_async_handlers_overlap(serve: Serve) -> None:
    served = serve("two_async:app", app_dir=EXAMPLES, env=SECONDS)
    tea, toast = asyncio.run(together(served.url, "/tea", "/toast"))
    assert overlap(tea, toast)


def test_two_def_handlers_overlap_on_two_threads(serve: Serve) -> None:
    served = serve("two_def:app", app_dir=EXAMPLES, env=SECONDS)
    tea, toast, loop = asyncio.run(together(served.url, "/tea", "/toast", "/loop"))
    assert overlap(tea, toast)
    assert len({tea["thread"], toast["thread"], loop["thread"]}) == 3


def test_a_blocking_async_handler_holds_everybody_up(serve: Serve) -> None:
    served = serve("blocking:app", app_dir=EXAMPLES, env=SECONDS)
    # Several that block and several that do not: in whatever order they arrive, none runs during another.
    answers = asyncio.run(together(served.url, "/blocks", "/quick", "/blocks", "/quick"))
    answers.sort(key=lambda answer: answer["began"])
    assert all(earlier["ended"] <= later["began"] for earlier, later in itertools.pairwise(answers))


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_an_executor_leaves_the_loop_free(serve: Serve, executor: str) -> None:
    served = serve("executors:app", app_dir=EXAMPLES, env=SECONDS)

    async def ask() -> tuple[Interval, list[Interval]]:
        async with httpx.AsyncClient(base_url=served.url, timeout=DEADLINE) as client:
            work = asyncio.create_task(client.get(f"/{executor}"))
            alive = []
            # One after the other for as long as the work lasts; on a blocked loop none would begin within it.
            while not work.done():
                alive.append((await client.get("/alive")).raise_for_status().json())
            return (await work).raise_for_status().json(), alive

    work, alive = asyncio.run(ask())
    assert any(work["began"] < answer["began"] and answer["ended"] < work["ended"] for answer in alive)
    assert (work["process"] == alive[0]["process"]) == (executor == "thread")


def test_the_process_pool_leaves_ctrl_c_to_the_server(serve: Serve) -> None:
    served = serve("executors:app", app_dir=EXAMPLES, env={"EXAMPLE_SECONDS": "0.1"})
    with httpx.Client(base_url=served.url, timeout=DEADLINE) as client:
        worker = client.get("/process").raise_for_status().json()["process"]
        os.kill(worker, signal.SIGINT)
        # A pool that has lost a process raises in every call from then on.
        assert client.get("/process").raise_for_status().json()["process"] != served.process.pid
    served.signal(signal.SIGINT)
    served.wait()
    assert "Traceback" not in served.log


def test_a_background_task_ends_after_the_answer(serve: Serve) -> None:
    served = serve("background:app", app_dir=EXAMPLES, env={"EXAMPLE_SECONDS": "0.2"})
    with httpx.Client(base_url=served.url, timeout=DEADLINE) as client:
        answer = client.post("/letters/anna")
        assert answer.status_code == 202
        accepted = answer.json()
        assert accepted["sent"] is None

    async def sent() -> Interval:
        async with asyncio.timeout(DEADLINE), httpx.AsyncClient(base_url=served.url) as client:
            while True:
                (letter,) = (await client.get("/letters")).json()
                if letter["sent"] is not None:
                    return dict(letter)

    letter = asyncio.run(sent())
    assert letter["to"] == "anna"
    assert letter["sent"] > letter["accepted"] == accepted["accepted"]


def test_the_websocket_echoes_text_and_bytes(serve: Serve) -> None:
    served = serve("websocket_echo:app", app_dir=EXAMPLES)

    async def talk() -> None:
        async with asyncio.timeout(DEADLINE), connect(f"{served.ws_url}/echo", proxy=None) as socket:
            for message in ("", "grüezi", b"", b"\x00\xff", "x" * 70_000):
                await socket.send(message)
                assert await socket.recv() == message

    asyncio.run(talk())
    served.stop()
    assert "Traceback" not in served.log


def test_the_lifespan_keeps_its_resource_over_a_restart(serve: Serve, tmp_path: Path) -> None:
    env = {"EXAMPLE_VISITS": str(tmp_path / "visits")}
    first = serve("lifespan_resource:app", app_dir=EXAMPLES, env=env)
    assert [httpx.get(f"{first.url}/visits").json() for _ in range(2)] == [{"visits": 1}, {"visits": 2}]
    first.stop()
    second = serve("lifespan_resource:app", app_dir=EXAMPLES, env=env)
    assert httpx.get(f"{second.url}/visits").json() == {"visits": 3}


def test_the_dependency_commits_and_rolls_back(serve: Serve) -> None:
    served = serve("dependency_yield:app", app_dir=EXAMPLES)
    with httpx.Client(base_url=served.url, timeout=DEADLINE) as client:
        paid, refused = client.post("/payments/30"), client.post("/payments/80")
        assert (paid.status_code, paid.json()) == (200, {"balance": 70})
        assert (refused.status_code, refused.json()) == (409, {"detail": "10 short"})
        account = client.get("/account").json()
    assert account == {"balance": 70, "journal": ["begin", "commit", "begin", "roll back"]}


def test_server_sent_events_arrive_one_by_one_and_end_with_their_client(serve: Serve) -> None:
    served = serve("sse:app", app_dir=EXAMPLES, env={"EXAMPLE_SECONDS": "0.2"})

    async def listen() -> None:
        async with asyncio.timeout(DEADLINE), httpx.AsyncClient(base_url=served.url, timeout=DEADLINE) as client:
            async with client.stream("GET", "/ticks") as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                ids = []
                async for line in answer.aiter_lines():
                    if line.startswith("id: "):
                        ids.append(int(line[4:]))
                    if len(ids) == 3:
                        break
                assert ids == [0, 1, 2]
                # The stream has no end of its own, so three events can only have come while it was open.
                assert (await client.get("/listeners")).json() == {"listeners": 1}
            while (await client.get("/listeners")).json() != {"listeners": 0}:
                pass

    asyncio.run(listen())


def test_every_example_is_listed_and_says_how_to_run_it() -> None:
    index = (EXAMPLES / "README.md").read_text()
    programs = sorted(EXAMPLES.glob("*.py"))
    assert programs
    for program in programs:
        assert f"[{program.stem}]({program.name})" in index
        assert f"overdrive {program.stem}:app --app-dir examples\n" in program.read_text()
