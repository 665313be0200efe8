"""Every test here that takes `Client` runs with Starlette's `TestClient`, the oracle, and with ours."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from overdrive import testing

with warnings.catch_warnings():
    # It recommends another httpx.
    warnings.simplefilter("ignore")
    from starlette import testclient

CLIENTS = {"starlette": testclient.TestClient, "overdrive": testing.TestClient}


@pytest.fixture(params=list(CLIENTS))
def Client(request: pytest.FixtureRequest) -> Any:
    """The class under test."""
    return CLIENTS[request.param]
