"""Opentelemetry: what it records of requests is what it records under uvicorn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.instruments.asked import assert_plans_answer, each
from tests.instruments.recorded import Ask, Pair

UNTIL = '"span_kind": "SERVER"'


@pytest.fixture
def both(pair_of: Callable[[str], Pair]) -> Pair:
    return pair_of("with_opentelemetry")


@each
def test_records_the_same(both: Pair, ask: Ask) -> None:
    assert both.same(ask, UNTIL)


def test_websocket(both: Pair) -> None:
    assert both.same_conversation("/socket/one?q=x", UNTIL)


def test_plans_answer(both: Pair) -> None:
    """The last: it ends the server."""
    assert_plans_answer(both, observers="OpenTelemetry")
