"""The `with` block: one loop, and the application's lifespan around it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Request


class Custom(Exception):
    """Raised by applications."""


def recorded(events: list[str], *, startup: Exception | None = None, shutdown: Exception | None = None) -> FastAPI:
    """An application that notes what happens to it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        events.append("startup")
        if startup is not None:
            raise startup
        yield {"shared": []}
        events.append("shutdown")
        if shutdown is not None:
            raise shutdown

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def home(request: Request) -> list[str]:
        events.append("request")
        request.state.shared.append("seen")
        return request.state.shared

    @app.get("/loop")
    async def loop() -> int:
        return id(asyncio.get_running_loop())

    return app


def test_the_lifespan_runs_around_the_block_and_shares_its_state(Client: Any) -> None:
    events: list[str] = []
    with Client(recorded(events)) as client:
        assert events == ["startup"]
        assert client.get("/").json() == ["seen"]
        assert client.get("/").json() == ["seen", "seen"]
        assert client.app_state["shared"] == ["seen", "seen"]
    assert events == ["startup", "request", "request", "shutdown"]


def test_without_a_block_no_lifespan_runs(Client: Any) -> None:
    events: list[str] = []
    with pytest.raises(AttributeError):
        Client(recorded(events)).get("/")
    assert events == ["request"]


def test_a_client_can_be_entered_again_and_used_between(Client: Any) -> None:
    events: list[str] = []
    client = Client(recorded(events))
    for _ in range(2):
        with client:
            client.get("/")
        assert client.get("/loop").status_code == 200
    assert events == ["startup", "request", "shutdown"] * 2


def test_requests_share_the_loop_of_the_block_only(Client: Any) -> None:
    loops = []
    app = recorded([])

    @app.get("/keep")
    async def keep() -> None:
        # Kept, or the next may get its place in memory.
        loops.append(asyncio.get_running_loop())

    client = Client(app)
    with client:
        client.get("/keep")
        client.get("/keep")
        loops.append(client.portal.call(asyncio.get_running_loop))
    client.get("/keep")
    client.get("/keep")
    assert loops[0] is loops[1] is loops[2]
    assert len(set(map(id, loops))) == 3


def test_the_portal_is_there_within_the_block_only(Client: Any) -> None:
    client = Client(recorded([]))
    assert client.portal is None
    with client:
        assert client.portal.call(asyncio.sleep, 0, "result") == "result"
    assert client.portal is None


def test_a_failing_startup_is_raised_and_leaves_nothing_behind(Client: Any) -> None:
    events: list[str] = []
    client = Client(recorded(events, startup=Custom("startup")))
    with pytest.raises(Custom, match="startup"), client:
        events.append("block")
    assert events == ["startup"]
    assert client.portal is None


def test_a_failing_shutdown_is_raised(Client: Any) -> None:
    events: list[str] = []
    with pytest.raises(Custom, match="shutdown"), Client(recorded(events, shutdown=Custom("shutdown"))):
        events.append("block")
    assert events == ["startup", "block", "shutdown"]


def test_the_lifespan_ends_although_the_block_fails(Client: Any) -> None:
    events: list[str] = []
    with pytest.raises(Custom, match="block"), Client(recorded(events)):
        raise Custom("block")
    assert events == ["startup", "shutdown"]


def test_an_application_without_a_lifespan_raises_what_it_raises(Client: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http", "no lifespan here"

    with pytest.raises(AssertionError, match="no lifespan here"), Client(app):
        raise Custom


def test_backend_options_are_the_loops(Client: Any) -> None:
    with Client(recorded([]), backend_options={"debug": True}) as client:
        assert client.portal.call(asyncio.get_running_loop).get_debug()
        assert client.get("/").json() == ["seen"]


def test_tasks_of_the_lifespan_live_as_long_as_the_block(Client: Any) -> None:
    ticks: list[int] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def tick() -> None:
            while True:
                ticks.append(1)
                await asyncio.sleep(0)

        task = asyncio.create_task(tick())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def count() -> int:
        return len(ticks)

    with Client(app) as client:
        first = client.get("/").json()
        assert client.get("/").json() > first > 0
