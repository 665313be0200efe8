"""FastAPI's own telemetry."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.instruments.asked import ASKED, assert_plans_answer, each
from tests.instruments.recorded import Ask, Pair

# Of the span of the request, which ends with the response; some work comes after it.
UNTIL = '"span_kind": "SERVER"'
LATER = {
    ASKED["dependencies"].path: '"in a dependency"',
    ASKED["response"].path: '"later of a response"',
    ASKED[
        "background"
    ].path: r"\"name\": \"fastapi\.background_task[^\n]*\n(?s:.*)\"name\": \"fastapi\.background_task",
}


@pytest.fixture
def both(pair_of: Callable[[str], Pair]) -> Pair:
    return pair_of("with_native")


@each
def test_records_the_same(both: Pair, ask: Ask) -> None:
    assert both.same(ask, LATER.get(ask.path, UNTIL))


def test_operations_are_traced(both: Pair) -> None:
    names = [line["name"] for line in both.same(ASKED["async"], UNTIL) if line["kind"] == "span"]
    assert names == ["fastapi.dependencies", "in the endpoint", "fastapi.endpoint", "fastapi.serialization", "GET /"]


def test_websocket(both: Pair) -> None:
    recorded = both.same_conversation("/socket/one?q=x", UNTIL)
    assert [line["name"] for line in recorded if line["kind"] == "span"][-1] == "WS /socket/{name}"


def test_metrics(both: Pair) -> None:
    recorded = both.same(Ask("GET", "/metered", 200), '"kind": "metrics"')
    points = next(line for line in recorded if line["kind"] == "metrics")["points"]
    assert any(name == "http.server.request.duration" for name, _, _ in points)


def test_plans_answer(both: Pair) -> None:
    """The last: it ends the server."""
    assert_plans_answer(both, observers="FastAPI's telemetry")
