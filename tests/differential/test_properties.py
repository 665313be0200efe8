"""Requests that fit the application's schema, and requests that do not, are answered as with FastAPI."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.differential.around import Around, Operation, operations
from tests.differential.pair import Pair
from tests.differential.wire import Request

# How many requests for each operation; the same ones each time unless this is set.
EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "25"))

# Operations that are no functions of their request.
STATEFUL = {
    "/limits/gate/{state}": "opens and shuts what others wait for",
    "/limits/tokens": "changes how many threads there are",
    "/limits/in-thread": "waits for the gate",
    "/limits/two-at-once": "waits for the gate",
    "/limits/one-thread-at-once": "waits for the gate",
    "/limits/one-holder": "waits for the gate",
    "/limits/one-holder-in-function": "waits for the gate",
    "/limits/one-holder-in-thread": "waits for the gate",
    "/limits/unlimited": "waits for the gate",
    "/state/app": "counts",
    "/params/factory": "counts",
    "/state/lifespan": "makes a list of all requests longer",
}


def _schema() -> dict[str, object]:
    from tests.differential.application.main import app

    with warnings.catch_warnings():
        # Operations with several methods have one name.
        warnings.simplefilter("ignore")
        return app.openapi()


SCHEMA = _schema()
AROUND = Around(SCHEMA)
OPERATIONS = [operation for operation in operations(SCHEMA) if operation.path not in STATEFUL]


@pytest.fixture
def both(pair_of: Callable[..., Pair]) -> Pair:
    """The main application, which tells on uvicorn when a request is over."""
    return pair_of("main", "counted")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_around_the_schema(both: Pair, operation: Operation) -> None:
    # What takes nothing has little that could differ.
    takes_something = bool(operation.parameters) or operation.body is not None
    examples = EXAMPLES if takes_something else max(1, EXAMPLES // 10)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize="DIFFERENTIAL_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        print_blob=True,
    )
    @given(st.shared(AROUND.requests(operation), key=operation.name))
    def alike(request: Request) -> None:
        both.same_whatever(request)

    alike()
