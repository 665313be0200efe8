"""The applications, each served by both servers for the whole run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import _servers
from tests.differential.known import KNOWN
from tests.differential.pair import Pair

UVICORN = [sys.executable, "-m", "uvicorn"]
# Sets are listed in the order of their hashes, which is seen in `Allow`. Nothing else of the environment may differ.
SEEDED = {"PYTHONHASHSEED": "1"}
# Connections are kept for as long as the tests take, and what is printed is what went wrong.
SHARED_OPTIONS = ["--timeout-keep-alive", "300", "--no-access-log"]


@pytest.fixture(scope="session")
def pair_of() -> Iterator[Callable[..., Pair]]:
    """`pair_of("module")`: the application `application.module:app` on both servers, started once.

    `pair_of("module", "counted")` has another attribute of the module on uvicorn.
    """
    pairs: dict[tuple[str, str], Pair] = {}
    failed: dict[tuple[str, str], Exception] = {}
    more = shlex.split(os.environ.get("DIFFERENTIAL_OPTIONS", ""))
    with _servers() as start:

        def pair(module: str, oracle: str = "app") -> Pair:
            key = module, oracle
            if key in failed:
                raise failed[key]
            if key not in pairs:
                options = {"env": SEEDED, "app_dir": Path(__file__).parent}
                try:
                    uvicorn = start(f"application.{module}:{oracle}", *SHARED_OPTIONS, command=UVICORN, **options)
                    overdrive = start(f"application.{module}:app", *SHARED_OPTIONS, *more, **options)
                    pairs[key] = Pair(uvicorn, overdrive)
                except Exception as error:
                    # One start that fails, not one for each test.
                    failed[key] = error
                    raise
            return pairs[key]

        yield pair


@pytest.fixture
def both(pair_of: Callable[..., Pair]) -> Pair:
    """The main application."""
    return pair_of("main")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Differences that are known must be there, where it is overdrive that compiles."""
    if "OVERDRIVE_TEST_COMMAND" in os.environ or "off" in os.environ.get("DIFFERENTIAL_OPTIONS", ""):
        return
    for item in items:
        reason = KNOWN.get(item.name)
        if reason is not None and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
