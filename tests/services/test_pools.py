"""Pools under load, with requests that fail and clients that vanish: every connection and transaction comes back.

Each test runs against compiled routes, and against FastAPI's own code on uvicorn: what stock FastAPI would leave
behind, too, would be no fault of ours.
"""

from __future__ import annotations

import asyncio
import random
import shlex
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import COMMAND, Serve, Served
from tests.services.apps.pools import ACCOUNTS, CONNECTIONS, OPENED_WITH
from tests.services.crowd import Ask, Crowd, answered
from tests.services.daemons import Daemon

APPS = Path(__file__).parent / "apps"
UVICORN = [sys.executable, "-m", "uvicorn"]
NORMAL = {"size": CONNECTIONS, "idle": CONNECTIONS, "open": 0, "redis in use": 0}

SERVERS = {
    "overdrive": (COMMAND, "--loop asyncio --compile strict"),
    "overdrive-uvloop": (COMMAND, "--loop uvloop --compile strict"),
    "uvicorn": (UVICORN, "--loop asyncio"),
}


@dataclass
class Application:
    """The served application, and its database as another client sees it."""

    served: Served
    name: str
    database: str

    @property
    def port(self) -> int:
        return self.served.port

    async def holdings(self) -> dict[str, int]:
        status, found = await answered(self.port, Ask("/holdings"))
        assert status == 200
        assert isinstance(found, dict)
        return found

    async def query(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    async def sessions(self) -> list[str]:
        """The state in which PostgreSQL sees each connection of the application's."""
        rows = await self.query("select state from pg_stat_activity where application_name = $1", self.name)
        return sorted(row["state"] for row in rows)

    async def is_at_rest(self) -> bool:
        held = await self.holdings()
        return {name: held[name] for name in NORMAL} == NORMAL and await self.sessions() == ["idle"] * CONNECTIONS

    async def balances(self) -> list[int]:
        return [row["balance"] for row in await self.query("select balance from account order by id")]

    async def ledger(self) -> list[asyncpg.Record]:
        return await self.query("select source, target, amount from ledger")


@pytest.fixture(params=list(SERVERS))
def application(request: pytest.FixtureRequest, serve: Serve, postgres: Daemon, redis: Daemon) -> Application:
    command, options = SERVERS[request.param]
    name = f"pools-{request.param}"
    served = serve(
        "pools:app",
        *shlex.split(options),
        "--timeout-keep-alive=600",  # On a busy machine a client may be long in sending its next request.
        app_dir=APPS,
        command=command,
        env={"POSTGRES": postgres.url, "REDIS": redis.url, "APPLICATION": name},
    )
    return Application(served, name, postgres.url)


async def eventually(condition: Callable[[], Awaitable[bool]], say: Callable[[], Awaitable[object]]) -> None:
    """Waits until `condition` holds, at most 20 s; each look is a request, which is what paces it."""
    deadline = time.monotonic() + 20
    while not await condition():
        assert time.monotonic() < deadline, await say()


async def at_rest(application: Application) -> None:
    """Once the last clients are gone, both pools are whole and PostgreSQL sees no transaction."""

    async def say() -> object:
        return await application.holdings(), await application.sessions()

    await eventually(application.is_at_rest, say)


def transfer(chance: random.Random, target: str, most: int) -> Ask:
    document = {
        "source": chance.randrange(ACCOUNTS),
        "target": chance.randrange(ACCOUNTS),
        "amount": chance.randint(1, most),
    }
    return Ask(target, "POST", document)


def read_account(chance: random.Random) -> Ask:
    return Ask(f"/accounts/{chance.randrange(ACCOUNTS + 5)}")


def moved(chance: random.Random) -> Ask:
    return transfer(chance, "/transfers", 300)


def failing(chance: random.Random) -> Ask:
    how = chance.choice(["refused", "fault", "query", "timeout", "counter"])
    return transfer(chance, f"/transfers/failing/{how}", 20)


def invalid(chance: random.Random) -> Ask:
    return Ask("/transfers", "POST", {"source": ACCOUNTS, "target": 0, "amount": "much"})


def slow(chance: random.Random) -> Ask:
    return Ask("/slow")


def lines(chance: random.Random) -> Ask:
    return Ask("/lines")


def blocking(chance: random.Random) -> Ask:
    return Ask("/blocking/7")


EVERYTHING = [read_account, moved, moved, failing, invalid, slow, lines, blocking]


def statuses(crowd: Crowd, start: str) -> set[int]:
    return {status for target, status in crowd.answers if target.startswith(start)}


def count(crowd: Crowd, target: str, status: int) -> int:
    return crowd.answers[target, status]


def test_no_connection_and_no_transaction_is_left(application: Application) -> None:
    crowd = Crowd(application.port, EVERYTHING, seed=1)

    async def session() -> None:
        await at_rest(application)
        tasks = (await application.holdings())["tasks"]
        await crowd.run()
        await at_rest(application)
        assert (await application.holdings())["tasks"] <= tasks

    asyncio.run(session())
    assert crowd.broken == []
    assert crowd.left.total() > 150
    # Each kind took part, and was answered as it must be.
    assert statuses(crowd, "/accounts/") == {200, 404}
    assert statuses(crowd, "/transfers/failing/") >= {402, 500}
    assert statuses(crowd, "/transfers/failing/refused") <= {402, 409}
    assert {201, 422} <= statuses(crowd, "/transfers") <= {201, 402, 409, 422, 500}
    assert statuses(crowd, "/slow") == statuses(crowd, "/lines") == statuses(crowd, "/blocking") == {200}


def test_money_is_neither_made_nor_lost(application: Application) -> None:
    crowd = Crowd(application.port, [moved, moved, failing, slow], seed=2)
    asyncio.run(crowd.run())
    asyncio.run(at_rest(application))
    balances = asyncio.run(application.balances())
    ledger = asyncio.run(application.ledger())
    assert sum(balances) == ACCOUNTS * OPENED_WITH
    expected = [OPENED_WITH] * ACCOUNTS
    for line in ledger:
        expected[line["source"]] -= line["amount"]
        expected[line["target"]] += line["amount"]
    assert balances == expected
    # Committed is what was answered so, and what some of those that left never heard of.
    committed = count(crowd, "/transfers", 201)
    assert committed > 50
    assert committed <= len(ledger) <= committed + crowd.left["/transfers"]


def test_failing_requests_alone_leave_nothing(application: Application) -> None:
    crowd = Crowd(application.port, [failing], clients=20, vanishing=0.0, seed=3)
    asyncio.run(crowd.run())
    asyncio.run(at_rest(application))
    assert crowd.broken == []
    assert asyncio.run(application.ledger()) == []
    assert asyncio.run(application.balances()) == [OPENED_WITH] * ACCOUNTS


def test_clients_that_leave_streams_leave_no_cursor_open(application: Application) -> None:
    crowd = Crowd(application.port, [lines], clients=20, requests=10, vanishing=0.9, seed=4)
    asyncio.run(crowd.run())
    asyncio.run(at_rest(application))
    assert statuses(crowd, "/lines") == {200}


def test_more_clients_than_connections_wait_their_turn(application: Application) -> None:
    crowd = Crowd(application.port, [slow], clients=10 * CONNECTIONS, requests=2, vanishing=0.0, seed=5)
    asyncio.run(crowd.run())
    asyncio.run(at_rest(application))
    assert crowd.answers == {("/slow", 200): 20 * CONNECTIONS}


def test_a_database_that_ends_its_sessions_costs_the_requests_alone(application: Application) -> None:
    crowd = Crowd(application.port, [moved, slow, read_account], clients=20, requests=40, vanishing=0.1, seed=6)

    async def session() -> None:
        running = asyncio.create_task(crowd.run())
        ended = 0
        while not running.done():
            rows = await application.query(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1 limit 3",
                application.name,
            )
            ended += len(rows)
            await asyncio.sleep(0.05)
        await running
        assert ended > 3
        # The pool opens lost connections again when they are wanted: all of them at once.
        whole = Crowd(application.port, [slow], clients=4 * CONNECTIONS, requests=3, vanishing=0.0)
        await whole.run()
        await at_rest(application)
        assert whole.answers == {("/slow", 200): 12 * CONNECTIONS}

    asyncio.run(session())
    assert statuses(crowd, "/slow") <= {200, 500}
    assert sum(asyncio.run(application.balances())) == ACCOUNTS * OPENED_WITH


def test_a_stop_under_load_ends_every_session(application: Application) -> None:
    crowd = Crowd(application.port, [moved, failing, slow, read_account], clients=20, requests=1000, seed=7)

    async def session() -> int:
        running = asyncio.create_task(crowd.run())
        while crowd.answers.total() < 200:
            await application.holdings()
        code = await asyncio.to_thread(application.served.stop)
        # Those that come too late are refused a connection.
        await asyncio.gather(running, return_exceptions=True)
        return code

    assert asyncio.run(session()) in (0, -signal.SIGTERM)  # uvicorn ends by the signal that it was sent.

    async def gone() -> bool:
        return await application.sessions() == []

    asyncio.run(eventually(gone, application.sessions))
    assert sum(asyncio.run(application.balances())) == ACCOUNTS * OPENED_WITH
