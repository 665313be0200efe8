"""Sentry without tracing, where one function of ours does what it does around a request: nobody can tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.instruments.asked import ASKED, assert_plans_answer, each
from tests.instruments.recorded import Ask, Pair

UNTIL = '"kind": "session"'
TRACE = "771a43a4192642f0b136d5159a501700"
CONTINUED = {
    "sentry-trace": f"{TRACE}-1234567890abcdef-1",
    "baggage": f"other=1,sentry-trace_id={TRACE},sentry-public_key=key,sentry-sample_rate=0.5",
}

OWN = {
    "continued": Ask("GET", "/", 200, CONTINUED),
    "continued-as-environment": Ask("GET", "/", 200, {"http_sentry_trace": CONTINUED["sentry-trace"]}),
    "agent": Ask("GET", "/", 200, {"user-agent": "a test", "cookie": "a=b"}),
    "forwarded": Ask("GET", "/", 200, {"x-forwarded-for": "10.1.2.3, 10.1.2.4", "x-forwarded-host": "other.test"}),
    "real-ip": Ask("GET", "/", 200, {"x-real-ip": "10.1.2.3"}),
    "no-transaction": Ask("HEAD", "/", 405),
    "scopes-within": Ask("GET", "/within", 200),
    "two-hosts": Ask("GET", "/", 200, {"x-forwarded-host": "one.test, localhost"}),
    "in-a-thread": Ask("GET", "/in-thread?q=1", 200),
    "changed-scope": Ask("GET", "/changed?q=1", 200),
    "then-a-file": Ask("GET", "/then/file", 203),
    "then-pieces": Ask("GET", "/then/pieces", 202),
    "then-nothing": Ask("GET", "/then/nothing", 500),
}


@pytest.fixture
def both(pair_of: Callable[[str], Pair]) -> Pair:
    return pair_of("with_sentry_untraced")


@each
def test_holds_and_records_the_same(both: Pair, ask: Ask) -> None:
    assert both.same(ask, UNTIL)


@pytest.mark.parametrize("ask", [pytest.param(ask, id=name) for name, ask in OWN.items()])
def test_requests_that_it_tells_apart(both: Pair, ask: Ask) -> None:
    assert both.same(ask, UNTIL)


@pytest.mark.parametrize("cookie", ["", "a=b; c=d"])
def test_what_identifies_people(pair_of: Callable[[str], Pair], cookie: str) -> None:
    headers = {"cookie": cookie, "x-forwarded-for": "10.1.2.3"} if cookie else {}
    recorded = pair_of("with_sentry_personal").same(Ask("GET", "/cookies/x?q=1", 200, headers), '"kind": "end"')
    sent = next(line for line in recorded if line["kind"] == "sent")
    assert sent["request"]["cookies"] == ({"a": "b", "c": "d"} if cookie else {})


def test_counts_sessions(pair_of: Callable[[str], Pair]) -> None:
    both = pair_of("with_sentry_personal")
    for ask in (Ask("GET", "/cookies/x", 200), Ask("GET", "/fails", 500), Ask("GET", "/counted", 200)):
        both.same(ask, '"kind": "end"')


@pytest.mark.parametrize(
    ("headers", "around"), [({}, []), ({"sentry-trace": CONTINUED["sentry-trace"]}, ["observe", "within"])]
)
def test_plans_enter_it_themselves(both: Pair, headers: dict[str, str], around: list[str]) -> None:
    answer = both.overdrive.answer(Ask("GET", "/around", 200, headers))
    assert sorted(answer.json()) == around


def test_websocket(both: Pair) -> None:
    assert both.same_conversation("/socket/one?q=x", UNTIL)


def test_plans_answer(both: Pair) -> None:
    """The last: it ends the server."""
    assert_plans_answer(both, observers="Sentry")


@pytest.mark.parametrize(
    "name",
    ["async", "body", "http-503", "fails", "handled", "nothing-there", "in-middleware", "included-fails"],
)
def test_below_middleware_of_the_users(pair_of: Callable[[str], Pair], name: str) -> None:
    ask = Ask("GET", "/?fail", 500) if name == "in-middleware" else ASKED[name]
    assert pair_of("with_sentry_middleware").same(ask, UNTIL)
