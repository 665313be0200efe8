"""The applications, each served by both servers for the whole run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import _servers
from tests.instruments.recorded import Pair

UVICORN = [sys.executable, "-m", "uvicorn"]
# What another environment would say to instruments.
ENVIRONMENT = {"PYTHONHASHSEED": "1", "OTEL_SERVICE_NAME": "tests"}
OPTIONS = ["--no-access-log"]
APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="session")
def pair_of() -> Iterator[Callable[[str], Pair]]:
    """`pair_of("module")`: the application `module:app` on both servers, started once."""
    pairs: dict[str, Pair] = {}
    with _servers() as start:

        def pair(module: str) -> Pair:
            if module not in pairs:
                app = f"{module}:app"
                uvicorn = start(app, *OPTIONS, command=UVICORN, env=ENVIRONMENT, app_dir=APPS)
                # Its own output, so that the counters can be read at its end.
                overdrive = start(app, *OPTIONS, "--log-level", "debug", env=ENVIRONMENT, app_dir=APPS)
                pairs[module] = Pair(uvicorn, overdrive)
            return pairs[module]

        yield pair
