"""Limits hold where FastAPI's hold: too long bodies, and too many at once in a dependency."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.differential.application.release import HAS_LIMITS
from tests.differential.pair import Case, Pair, Story, case, table
from tests.differential.wire import Request, get, json_post, method, post

pytestmark = pytest.mark.skipif(not HAS_LIMITS, reason="the limits are told here as FastAPI has them from 0.165 on")

JSON = ("content-type", "application/json")
BARE = b'{"name": "n"}'
OPEN = "exit session open"


def long(length: int) -> bytes:
    """A body of exactly so many bytes."""
    return b" " * (length - len(BARE)) + BARE


SIZES: dict[str, Case] = {
    "route-under-the-limit": case(post("/limits/route", long(20), JSON), 200, "endpoint"),
    "route-over-the-limit": case(post("/limits/route", long(21), JSON), 413, "Content Too Large"),
    "route-over-the-limit-broken-json": case(post("/limits/route", b"{" * 21, JSON), 413),
    "route-under-the-limit-broken-json": case(post("/limits/route", b"{", JSON), 422),
    "route-chunked-under": case(post("/limits/route", (BARE,), JSON), 200, "endpoint"),
    "route-chunked-over": case(post("/limits/route", (BARE, b" " * 10), JSON), 413),
    "route-chunked-over-at-once": case(post("/limits/route", (long(50),), JSON), 413),
    "route-in-thread-over": case(post("/limits/route-in-thread", long(21), JSON), 413),
    "route-unread-runs-first": case(post("/limits/route-unread", b"x" * 21), 413, "endpoint"),
    "route-unread-under": case(post("/limits/route-unread", b"x" * 20), 200, "endpoint"),
    "route-unread-chunked-over-is-let-through": case(post("/limits/route-unread", (b"x" * 21,)), 200, "endpoint"),
    "route-read-late": case(post("/limits/route-read-late", b"x" * 21), 413, "session sees", OPEN),
    "route-read-late-under": case(post("/limits/route-read-late", b"x" * 20), 200, '"length":20', OPEN),
    "route-read-late-chunked": case(post("/limits/route-read-late", (b"x" * 15,) * 2), 413, "session sees", OPEN),
    "route-streamed": case(post("/limits/route-streamed", b"x" * 21), 413, "after 0"),
    "route-streamed-under": case(post("/limits/route-streamed", b"x" * 20), 200, "20"),
    "route-swallowed-is-413-anyway": case(post("/limits/route-swallowed", b"x" * 21), 413, "swallowed"),
    "route-swallowed-chunked-is-not": case(post("/limits/route-swallowed", (b"x" * 21,)), 200, "swallowed"),
    "route-with-background": case(post("/limits/route-background", b"x" * 21), 413),
    "route-with-background-under": case(post("/limits/route-background", b"x"), 200, "background", "background"),
    "route-without-body-under-nothing": case(post("/limits/route-nothing"), 200, "endpoint"),
    "route-with-a-byte-over-nothing": case(post("/limits/route-nothing", b"x"), 413, "endpoint"),
    "route-get": case(get("/limits/route-get"), 200),
    "route-get-with-body": case(Request("GET", "/limits/route-get", (), b"x"), 413),
    "route-wrong-method": case(method("PUT", "/limits/route"), 405),
    "route-wrong-method-over": case(Request("PUT", "/limits/route", (), b"x" * 30), 405),
    "router-under": case(post("/limits/tight/default", long(30), JSON), 200),
    "router-over": case(post("/limits/tight/default", long(31), JSON), 413),
    "router-route-wins": case(post("/limits/tight/wider", long(60), JSON), 200),
    "router-route-wins-over": case(post("/limits/tight/wider", long(61), JSON), 413),
    "router-unread": case(post("/limits/tight/unread", b"x" * 31), 413, "endpoint"),
    "router-included-limit": case(post("/limits/tight/inner/default", long(40), JSON), 200),
    "router-included-limit-over": case(post("/limits/tight/inner/default", long(41), JSON), 413),
    "including-limit": case(post("/limits/including/inner/default", long(25), JSON), 200),
    "including-limit-over": case(post("/limits/including/inner/default", long(26), JSON), 413),
    "no-route-below-a-limited-router": case(post("/limits/tight/unknown", b"x" * 100), 404),
}

SIZES_OF_AN_APPLICATION: dict[str, Case] = {
    "under": case(post("/bodies/item", long(100), JSON), 200),
    "over": case(post("/bodies/item", long(101), JSON), 413),
    "over-chunked": case(post("/bodies/item", (long(60), b" " * 60), JSON), 413),
    "unread": case(post("/bodies/unread", b"x" * 101), 413, "endpoint"),
    "unread-chunked": case(post("/bodies/unread", (b"x" * 101,)), 200, "endpoint"),
    "read": case(post("/bodies/request-only", b"x" * 101), 413),
    "read-under": case(post("/bodies/request-only", b"x" * 100), 200),
    "streamed": case(post("/bodies/streamed", (b"x" * 60,) * 2), 413),
    "invalid-under": case(json_post("/bodies/item", {}), 422),
    "route-narrower": case(post("/narrower", b"[1, 2, 3, 4]", JSON), 413),
    "route-narrower-under": case(post("/narrower", b"[1, 2]", JSON), 200),
    "route-wider": case(post("/wider", b"[" + b" " * 900 + b"]", JSON), 200, "0"),
    "route-wider-over": case(post("/wider", b"[" + b" " * 1000 + b"]", JSON), 413),
    "route-of-a-router": case(post("/limits/route", long(21), JSON), 413),
    "router-over-the-application": case(post("/limits/tight/wider", long(60), JSON), 200),
    "no-route": case(post("/nowhere", b"x" * 101), 413),
    "no-route-under": case(post("/nowhere", b"x" * 100), 404),
    "no-route-chunked": case(post("/nowhere", (b"x" * 101,)), 404),
    "wrong-method": case(post("/sub/item/5", b"x" * 101), 413),
    "redirect": case(post("/bodies/unread/", b"x" * 101), 413),
    "mounted-fastapi": case(Request("GET", "/sub/item/5", (), b"x" * 101), 413),
    "mounted-raw": case(post("/raw/x", b"x" * 101), 413, "raw /raw/x"),
    "schema": case(Request("GET", "/openapi.json", (), b"x" * 101), 413),
}


@pytest.fixture
def limited(pair_of: Callable[..., Pair]) -> Pair:
    """The application that limits every body."""
    return pair_of("limited")


@table(SIZES)
def test_sizes(both: Pair, case: Case) -> None:
    both.check(case)


@table(SIZES_OF_AN_APPLICATION)
def test_sizes_of_an_application(limited: Pair, case: Case) -> None:
    limited.check(case)


def test_an_application_with_a_limit_is_compiled(limited: Pair) -> None:
    assert re.search(r"Compiled (\d+) of \1 routes", limited.overdrive.served.log)


@pytest.fixture
def gated(both: Pair) -> Iterator[Pair]:
    """The main application, in which some dependencies wait until the gate is opened."""
    both.same(post("/limits/gate/shut"))
    yield both
    both.same(post("/limits/gate/open"))


def test_no_more_than_allowed_are_in_a_dependency(gated: Pair) -> None:
    def story(told: Story) -> None:
        for label, count in (("a", 1), ("b", 2)):
            told.send(label, get(f"/limits/two-at-once?label={label}"))
            told.wait_for(f"{label} in, {count} inside")
        for label in "cd":
            told.send(label, get(f"/limits/two-at-once?label={label}"))
            told.wait_for(f"{label} arrived")
        told.ask("gate", post("/limits/gate/open"))
        told.read(*"abcd")

    told = gated.alike(story)
    assert not [event for event in told if "3 inside" in event]
    arrival = next(event for event in told if event.startswith("c in"))
    assert told.index(arrival) > told.index("a out")


def test_no_more_than_allowed_are_in_a_thread(gated: Pair) -> None:
    def story(told: Story) -> None:
        told.send("a", get("/limits/one-thread-at-once?label=a"))
        told.wait_for("a in pool, 1 inside")
        told.send("b", get("/limits/one-thread-at-once?label=b"))
        told.wait_for("b arrived")
        told.ask("gate", post("/limits/gate/open"))
        told.read("a", "b")

    told = gated.alike(story)
    assert told.index("b in pool, 1 inside") > told.index("a out")


@pytest.mark.parametrize("path", ["one-holder", "one-holder-in-thread"])
def test_a_place_is_held_until_the_request_is_over(gated: Pair, path: str) -> None:
    suffix = " pool" if "thread" in path else ""

    def story(told: Story) -> None:
        told.send("a", get(f"/limits/{path}?label=a"))
        told.wait_for("a in, 1 inside")
        told.send("b", get(f"/limits/{path}?label=b"))
        told.wait_for("b arrived")
        told.ask("gate", post("/limits/gate/open"))
        told.read("a", "b")
        told.wait_for(f"b released{suffix}")

    told = gated.alike(story)
    assert told.index(f"b held{suffix}") > told.index(f"a released{suffix}")


def test_a_place_is_held_until_the_endpoint_has_returned(gated: Pair) -> None:
    def story(told: Story) -> None:
        told.send("a", get("/limits/one-holder-in-function?label=a"))
        told.wait_for("a in, 1 inside")
        told.send("b", get("/limits/one-holder-in-function?label=b"))
        told.wait_for("b arrived")
        told.ask("gate", post("/limits/gate/open"))
        told.read("a", "b")

    told = gated.alike(story)
    assert told.index("b held") > told.index("a released")


def test_those_who_are_not_limited_do_not_wait(gated: Pair) -> None:
    def story(told: Story) -> None:
        for count, label in enumerate("abc", 1):
            told.send(label, get(f"/limits/unlimited?label={label}"))
            told.wait_for(f"{label} in, {count} inside")
        told.ask("gate", post("/limits/gate/open"))
        told.read(*"abc")

    gated.alike(story)


@pytest.mark.parametrize("how", ["value", "1", "x"])
def test_a_place_is_given_back_after_a_failure(both: Pair, how: str) -> None:
    for _ in range(3):
        both.same(get(f"/limits/fails-holding?label=a&how={how}"), "a released")


def test_one_who_leaves_the_queue_takes_no_place(gated: Pair) -> None:
    def story(told: Story) -> None:
        told.send("a", get("/limits/one-thread-at-once?label=a"))
        told.wait_for("a in pool, 1 inside")
        told.send("b", get("/limits/one-thread-at-once?label=b"))
        told.wait_for("b arrived")
        told.leave("b")
        told.send("c", get("/limits/one-thread-at-once?label=c"))
        told.wait_for("c arrived")
        told.ask("gate", post("/limits/gate/open"))
        told.read("a", "c")

    gated.alike(story)


def test_tokens_of_threads_are_anyios(gated: Pair) -> None:
    def story(told: Story) -> None:
        told.ask("tokens", get("/limits/tokens?set_to=1"))
        try:
            told.send("a", get("/limits/in-thread?label=a"))
            told.wait_for("a in")
            told.send("b", get("/limits/in-thread?label=b"))
            told.wait_for("b arrived")
            told.ask("tokens", get("/limits/tokens"))
            told.ask("gate", post("/limits/gate/open"))
            told.read("a", "b")
        finally:
            told.ask("tokens", get("/limits/tokens?set_to=40"))

    gated.alike(story)
