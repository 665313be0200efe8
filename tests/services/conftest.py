"""The services that the tests share, started once and stopped at the end."""

from __future__ import annotations

import signal
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import daemons
from tests.services.daemons import Daemon

PACKAGES = Path(sysconfig.get_path("purelib"))


@pytest.fixture(scope="session", autouse=True)
def _ended_in_order() -> Iterator[None]:
    """A test run that is terminated stops what it has started."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Daemon]:
    """A PostgreSQL of the tests' own."""
    with daemons.postgres(PACKAGES) as started:
        yield started


@pytest.fixture(scope="session")
def redis() -> Iterator[Daemon]:
    """A Redis of the tests' own."""
    with daemons.redis(PACKAGES) as started:
        yield started
