"""Mixed traffic for minutes, and what the server holds after each round of it: always the same.

`SOAK_SECONDS` says for how long (`make soak`: ten minutes; otherwise two). The first third fills pools and caches, and
the allocator's as well; after it memory, descriptors, tasks and reference counts must stay where they are. Rounds end
with the clients gone, so that what is compared is what is left of their requests and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

import websockets

from tests.conftest import Serve
from tests.services.crowd import Ask, Crowd, answered
from tests.services.daemons import Daemon
from tests.services.test_pools import APPS, EVERYTHING, Application, at_rest, eventually

SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
ROUNDS = 12
"""At the least."""
BOUNDARY = "a-boundary"
MEBIBYTE = 1024 * 1024


def reads(chance: random.Random) -> Ask:
    number = chance.choice(["5", "17", "none", "9" * 30])
    return Ask(f"/parts/{number}?q=wheel", headers=(f"page: {chance.choice(['1', 'x'])}", "cookie: session=a; b=c"))


def orders(chance: random.Random) -> Ask:
    parts = [{"name": "wheel", "count": number} for number in range(chance.randrange(20))]
    return Ask("/orders", "POST", {"customer": chance.choice(["ada", None]), "parts": parts, "notes": {"a": "b"}})


def nonsense(chance: random.Random) -> Ask:
    return Ask("/orders", "POST", headers=("content-type: application/json",), body=b'{"customer": ')


def mine(chance: random.Random) -> Ask:
    return Ask("/mine", headers=chance.choice([("authorization: Bearer secret",), ("authorization: Bearer x",), ()]))


def threaded(chance: random.Random) -> Ask:
    return Ask(f"/threaded/{chance.randrange(5)}")


def forms(chance: random.Random) -> Ask:
    kind = "content-type: application/x-www-form-urlencoded"
    return Ask("/registrations", "POST", headers=(kind,), body=chance.choice([b"name=ada&age=36", b"name=ada&age=x"]))


def uploads(chance: random.Random) -> Ask:
    # Some of them are more than is kept in memory.
    size = chance.choice([10, 10_000, 100_000, 1_200_000 if chance.random() < 0.1 else 100])
    disposition = 'Content-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    title = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="title"\r\n\r\nthe title'
    body = f"--{BOUNDARY}\r\n{disposition}{'x' * size}{title}\r\n--{BOUNDARY}--\r\n"
    kind = f"content-type: multipart/form-data; boundary={BOUNDARY}"
    return Ask("/uploads", "POST", headers=(kind,), body=body[: chance.choice([None, -10])].encode())


def later(chance: random.Random) -> Ask:
    return Ask("/later", "POST")


def streams(chance: random.Random) -> Ask:
    return Ask(chance.choice(["/events", "/documents", "/file"]))


def layered(chance: random.Random) -> Ask:
    headers = ("accept-encoding: gzip", f"origin: http://{chance.choice('ab')}.test")
    return Ask(chance.choice(["/layered/parts", "/layered/none", "/layered/openapi.json"]), headers=headers)


def nowhere(chance: random.Random) -> Ask:
    return chance.choice([Ask("/none"), Ask("/orders", "PUT"), Ask("/orders/")])


KINDS = [*EVERYTHING, reads, orders, nonsense, mine, threaded, forms, uploads, later, streams, layered, nowhere]


@dataclass
class Soak:
    """Rounds of traffic, and a sample after each."""

    application: Application
    requests: int = 0
    sessions: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)
    answers: set[int] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    async def run(self, seconds: float) -> None:
        """Makes rounds for so long; on a slow machine for longer, as fewer would tell nothing."""
        started = time.monotonic()
        while time.monotonic() - started < seconds or len(self.samples) < ROUNDS:
            crowd = Crowd(self.application.port, KINDS, clients=30, requests=40, vanishing=0.1, seed=self.requests)
            async with asyncio.TaskGroup() as group:
                group.create_task(crowd.run())
                for number in range(4):
                    group.create_task(self._sockets(random.Random(f"{self.requests}-{number}")))
            self.requests += crowd.answers.total() + crowd.left.total()
            self.answers |= {status for _, status in crowd.answers}
            self.broken += crowd.broken
            await at_rest(self.application)
            await self._sample()

    async def _sockets(self, chance: random.Random) -> None:
        for _ in range(10):
            self.sessions += 1
            async with websockets.connect(f"ws://127.0.0.1:{self.application.port}/echo") as socket:
                for _ in range(chance.randrange(10)):
                    text = "x" * chance.randrange(1000)
                    await socket.send(text)
                    assert await socket.recv() == text
                if chance.random() < 0.3:
                    await socket.send("one that is not waited for")
                    socket.transport.abort()

    async def _sample(self) -> None:
        async def look() -> dict[str, Any]:
            status, found = await answered(self.application.port, Ask("/memory"))
            assert status == 200
            assert isinstance(found, dict)
            return found

        async def is_quiet() -> bool:
            nonlocal descriptors
            before, descriptors = descriptors, (await look())["descriptors"]
            return descriptors == before

        # What clients left behind is closed when the loop comes to it.
        descriptors = -1
        await eventually(is_quiet, look)
        self.samples.append(await look())

    def table(self) -> str:
        """The samples in twelve lines."""
        step = max(1, len(self.samples) // 12)
        names = [name for name in self.samples[0] if name != "references"]
        lines = [f"{self.requests} requests and {self.sessions} WebSocket sessions in {len(self.samples)} rounds"]
        lines.append(" ".join(f"{name:>12}" for name in [*names, "references"]))
        for sample in self.samples[::step]:
            values = [*(sample[name] for name in names), sum(sample["references"])]
            lines.append(" ".join(f"{value:>12}" for value in values))
        return "\n".join(lines)


def growth(samples: Sequence[dict[str, Any]], name: str) -> float:
    """By how much the last quarter's samples are above the first's, by their medians."""
    quarter = max(1, len(samples) // 4)
    return median(one[name] for one in samples[-quarter:]) - median(one[name] for one in samples[:quarter])


def without_leap(samples: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The samples without the largest rise from one to the next.

    Python doubles its table of interned strings once, after some 70 000 requests, for the marks of those that are gone.
    """
    values = [one[name] for one in samples]
    leap, place = max((after - before, place) for place, (before, after) in enumerate(pairwise(values), 1))
    return [{name: value - leap * (at >= place)} for at, value in enumerate(values)]


def test_nothing_grows(serve: Serve, postgres: Daemon, redis: Daemon) -> None:
    served = serve(
        "everything:app",
        *shlex.split("--compile strict --timeout-keep-alive 600 --no-access-log"),
        app_dir=APPS,
        env={"POSTGRES": postgres.url, "REDIS": redis.url, "APPLICATION": "soak"},
    )
    soak = Soak(Application(served, "soak", postgres.url))
    asyncio.run(soak.run(SECONDS))
    print(f"\n{soak.table()}")
    assert soak.broken == []
    assert {200, 201, 202, 402, 403, 404, 405, 409, 418, 422, 500} <= soak.answers
    settled = soak.samples[len(soak.samples) // 3 :]
    # Python takes its memory a mebibyte at a time.
    assert growth(settled, "resident") < 4 * MEBIBYTE
    # What malloc has given out hardly moves: ten bytes kept for each request would show.
    assert growth(without_leap(settled, "allocated"), "allocated") < 64 * 1024
    # A thread more, of those that come and go, is fifty objects.
    assert growth(settled, "blocks") < 1500
    assert growth(settled, "objects") < 500
    for exact in ("descriptors", "tasks"):
        assert growth(settled, exact) <= 0, exact
    assert max(sample["threads"] for sample in soak.samples) < 60
    counts = zip(*(sample["references"] for sample in (settled[0], settled[-1])), strict=True)
    assert [(before, after) for before, after in counts if after > before] == []
