"""The services that the tests share, started once and stopped at the end."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import daemons
from tests.services.daemons import Daemon

PACKAGES = Path(sysconfig.get_path("purelib"))


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
