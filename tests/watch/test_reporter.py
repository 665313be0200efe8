"""The thread that tells of what does not end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from overdrive._overdrive import Watch
from overdrive.watch import LoopWatch
from overdrive.watch.pool import PoolWatch, Shortage
from overdrive.watch.reporter import PERIOD, Reporter


class Looks:
    """Stands for the watch and for the pool's: a look at once after the other, until there are no more to come."""

    def __init__(self, *looks: Callable[[], Shortage | None]) -> None:
        self._looks = list(looks)
        self.are_over = threading.Event()
        self._end = threading.Event()

    def pause(self, seconds: float) -> None:
        if not self._looks:
            self.are_over.set()
            self._end.wait()

    def end_pauses(self) -> None:
        self._end.set()

    def under_way(self) -> None:
        return None

    def look(self) -> Shortage | None:
        return self._looks.pop(0)() if self._looks else None


def shortage(*, is_stuck: bool) -> Shortage:
    return Shortage(threads=1, waiting=2, seconds=6.0, is_stuck=is_stuck, holders=(), requests=())


def report(*looks: Callable[[], Shortage | None]) -> None:
    stub = Looks(*looks)
    reporter = Reporter(cast(Watch, stub), cast(PoolWatch, stub), lambda _: None)
    reporter.start()
    assert stub.are_over.wait(10)
    reporter.stop()


def test_a_deadlock_in_no_code_of_the_users_is_told_without_a_stack(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "overdrive.watch"):
        report(lambda: shortage(is_stuck=False), lambda: shortage(is_stuck=True))
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert caplog.messages[1].endswith("it may be a deadlock")


def test_a_look_that_fails_is_logged_and_the_next_one_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Shortage | None:
        raise LookupError

    with caplog.at_level(logging.WARNING, "overdrive.watch"):
        report(fails, fails, lambda: shortage(is_stuck=False))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert caplog.records[0].exc_info is not None


def test_the_watch_stops_without_waiting_for_its_next_look() -> None:
    async def run() -> float:
        watch: Any = LoopWatch(1.0)
        watch.start(asyncio.get_running_loop())
        # Its thread has begun to wait.
        await asyncio.sleep(0.05)
        began = time.monotonic()
        watch.stop()
        return time.monotonic() - began

    assert min(asyncio.run(run()) for _ in range(3)) < PERIOD / 5
