"""Strict clients: who blocks the loop of a test hears of it, and nobody else."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI

from overdrive import EventLoopBlocked
from overdrive.testing import TestClient

PAUSE = 0.3


def block() -> None:
    time.sleep(PAUSE)


def application(*, slow_start: bool = False, slow_end: bool = False) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.entered, app.state.may_end = threading.Event(), asyncio.Event()
        if slow_start:
            block()
        yield
        if slow_end:
            block()

    app = FastAPI(lifespan=lifespan)

    @app.get("/blocks-and-waits")
    async def blocks_and_waits() -> None:
        block()
        app.state.entered.set()
        await app.state.may_end.wait()

    @app.get("/lets-go")
    async def lets_go() -> None:
        app.state.may_end.set()

    @app.get("/fine")
    async def fine() -> None:
        pass

    @app.get("/timer")
    async def timer() -> None:
        asyncio.get_running_loop().call_later(0.02, block)

    return app


@pytest.mark.parametrize("compiling", ["auto", "off"])
def test_a_stall_is_raised_to_the_request_that_caused_it(compiling: str) -> None:
    raised: list[EventLoopBlocked] = []
    with TestClient(app := application(), watch="strict", compile=compiling) as client:

        def ask() -> None:
            try:
                client.get("/blocks-and-waits")
            except EventLoopBlocked as error:
                raised.append(error)

        blocking = threading.Thread(target=ask)
        blocking.start()
        assert app.state.entered.wait(10)
        # These end before, and the first of them hears of nothing.
        client.get("/fine")
        client.get("/lets-go")
        blocking.join()
    assert ["GET /blocks-and-waits" in str(error) for error in raised] == [True]


def test_a_stall_of_nobodys_is_raised_to_whoever_ends_next() -> None:
    with TestClient(application(), watch="strict") as client, pytest.raises(EventLoopBlocked):
        client.get("/timer")
        block()
        client.get("/fine")


def test_a_start_up_that_blocks_is_logged_and_raised(caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient(application(slow_start=True), watch="strict")
    with caplog.at_level(logging.ERROR, "overdrive.watch"), pytest.raises(EventLoopBlocked, match="start-up"), client:
        pytest.fail("it has started")
    assert "in block: time.sleep(PAUSE)" in caplog.text


def test_a_shutdown_that_blocks_is_logged_and_raised(caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient(application(slow_end=True), watch="strict")
    with caplog.at_level(logging.ERROR, "overdrive.watch"), pytest.raises(EventLoopBlocked, match="shutdown"), client:
        client.get("/fine")
    assert "in block: time.sleep(PAUSE)" in caplog.text


def test_what_a_block_fails_of_is_not_hidden_by_a_shutdown_that_blocks() -> None:
    with pytest.raises(LookupError), TestClient(application(slow_end=True), watch="strict"):
        raise LookupError


@pytest.mark.parametrize("mode", ["on", "off", ""])
def test_what_the_environment_says_to_servers_is_no_error(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("OVERDRIVE_WATCH", mode)
    assert TestClient(application()).get("/fine").status_code == 200


def test_a_mode_that_there_is_not_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERDRIVE_WATCH", "strickt")
    with pytest.raises(ValueError, match="OVERDRIVE_WATCH: one of on, strict, off, not 'strickt'"):
        TestClient(application())
