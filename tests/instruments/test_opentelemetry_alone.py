"""OpenTelemetry's middleware, for which one function of ours stands, in its other ways of doing things."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.instruments.asked import ASKED, OTHERS, PARENT, each
from tests.instruments.recorded import Ask, Pair

UNTIL = '"span_kind": "SERVER"'

OWN = {
    "left-out": Ask("GET", "/left-out", 200),
    "propagated": Ask("GET", "/propagated", 200),
    "propagated-within-a-trace": Ask("GET", "/propagated", 200, {**PARENT, "tracestate": "a=b", "baggage": "c=d"}),
    "baggage-alone": Ask("GET", "/propagated", 200, {"baggage": "c=d"}),
    "not-sampled": Ask("GET", "/left-out", 200, {"traceparent": PARENT["traceparent"][:-1] + "0"}),
    "received": Ask("POST", "/read", 200, content=b"body"),
    "agent": Ask("GET", "/", 200, {"user-agent": "a googlebot"}),
    "credentials": Ask("GET", "/@", 404),
    "another-method": Ask("PURGE", "/", 405),
    "host-alone": Ask("GET", "/", 200, {"host": "other.test:80"}),
}


@pytest.fixture
def both(pair_of: Callable[[str], Pair]) -> Pair:
    return pair_of("with_opentelemetry_alone")


@each
def test_records_the_same(both: Pair, ask: Ask) -> None:
    assert both.same(ask, UNTIL)


@pytest.mark.parametrize("ask", [pytest.param(ask, id=name) for name, ask in OWN.items()])
def test_requests_that_it_tells_apart(both: Pair, ask: Ask) -> None:
    assert both.same(ask, UNTIL)


@pytest.mark.parametrize("name", ["async", "sync", "fails"])
def test_request_lines_that_were_seen_before(both: Pair, name: str) -> None:
    assert both.same(ASKED[name], UNTIL)


def test_plans_answer(both: Pair) -> None:
    """The last: it ends the server."""
    for ask in ASKED.values():
        both.overdrive.answer(ask)
    answered, handed_over = both.plans_answered()
    assert answered >= len(ASKED) - sum(handed_over.values())
    assert handed_over.keys() <= OTHERS
