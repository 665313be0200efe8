"""Responses in pieces: what arrives of them, what runs in which order, and what is left when a client leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.differential.pair import Case, Pair, Story, case, table
from tests.differential.wire import Request, get, json_post, method, post

LEFT = "exit session"
PLAIN = "exit plain session"


@pytest.fixture(params=["streams", "streams_layered"])
def streams(request: pytest.FixtureRequest, pair_of: Callable[..., Pair]) -> Pair:
    """The application, and the same below middleware."""
    return pair_of(request.param)


WHOLE: dict[str, Case] = {
    "lines-of-models": case(get("/lines/items"), 200, '"theSize":1.0'),
    "lines-of-models-in-thread": case(get("/lines/items-in-thread"), 200, '"theSize":null', "ends pool"),
    "lines-of-dicts-for-models": case(get("/lines/dicts-for-items"), 200, '"theSize":1.5'),
    "lines-wrong-at-once": case(get("/lines/wrong/0"), 200, "sees ResponseValid", PLAIN),
    "lines-wrong-later": case(get("/lines/wrong/2"), 200, "sees ResponseValid", PLAIN),
    "lines-wrong-at-once-in-thread": case(get("/lines/wrong-in-thread/0"), 200, "sees ResponseValid", LEFT),
    "lines-wrong-later-in-thread": case(get("/lines/wrong-in-thread/2"), 200, "sees ResponseValid", LEFT),
    "lines-with-a-serializer": case(get("/lines/marked"), 200, "É"),
    "lines-with-options": case(get("/lines/options"), 200, '"size":2.0'),
    "lines-of-anything": case(get("/lines/anything"), 200, "x-dressed: twice", "background"),
    "lines-unannotated": case(get("/lines/unannotated"), 200, "\\u00fc"),
    "lines-unannotated-in-thread": case(get("/lines/unannotated-in-thread"), 202, "\\u00fc", "background"),
    "lines-unwritable-object": case(get("/lines/unwritable/object"), 200, "plain session sees", PLAIN),
    "lines-unwritable-nesting": case(get("/lines/unwritable/deep"), 200, "plain session sees", PLAIN),
    "lines-unwritable-digits": case(get("/lines/unwritable/digits"), 200, "plain session sees", PLAIN),
    "lines-of-a-surrogate": case(get("/lines/unwritable/surrogate"), 200, "ud800 alone", PLAIN),
    "lines-for-head": case(method("HEAD", "/lines/items"), 405),
    "events-of-models": case(get("/events/items"), 200, 'data: {"name":"b"'),
    "events-of-models-in-thread": case(get("/events/items-in-thread"), 200, 'data: {"name":"b"'),
    "events-posted": case(json_post("/events/posted", {"name": "n"}), 201, "event: posted\ndata: {", "background"),
    "events-posted-wrong": case(json_post("/events/posted", {}), 422, "missing"),
    "events-dressed-in-thread": case(get("/events/dressed-in-thread"), 200, "x-dressed: twice", LEFT),
    "events-of-anything": case(get("/events/anything"), 200, "\u2028"),
    "events-unannotated": case(get("/events/unannotated"), 200, "data: null"),
    "events-with-all-fields": case(get("/events/fields"), 200, "id: 7 7\nretry: 0"),
    "events-mixed": case(get("/events/mixed"), 200, '"loud"'),
    "events-wrong": case(get("/events/wrong"), 200, 'data: {"name":"a"', PLAIN),
    "events-invalid": case(get("/events/invalid"), 200, "session sees ExceptionGroup", LEFT),
    "events-of-a-subclass": case(get("/events/subclass"), 200, "text/event-stream"),
    "events-none": case(get("/events/none"), 200, "no-cache"),
    "raw": case(get("/raw/async"), 200, "bytes té view", "background"),
    "raw-in-thread": case(get("/raw/threaded"), 200, "two pool", "background"),
    "raw-of-a-class": case(get("/raw/csv"), 203, "text/csv; charset=latin-1"),
    "raw-of-a-class-for-wholes": case(get("/raw/plain"), 500),
    "own": case(get("/own/async"), 206, "x-own: 1", PLAIN),
    "own-of-an-iterator": case(get("/own/sync"), 200, "2 pool", PLAIN),
    "own-of-a-list-with-length": case(get("/own/list"), 200, "ab", "background"),
    "own-shorter-than-said": case(get("/own/short"), 200, "RuntimeError", PLAIN),
    "own-longer-than-said": case(get("/own/long"), 200, "RuntimeError", PLAIN),
    "own-empty": case(get("/own/empty"), 200),
    "own-no-content": case(get("/own/no-content"), 204),
    "own-for-head": case(method("HEAD", "/own/bodiless/200"), 200, "goes on after 3", PLAIN),
    "own-without-a-body": case(get("/own/bodiless/304"), 304, "goes on after 3", PLAIN),
    "own-of-an-iterator-of-another-kind": case(get("/own/iterator-without-send"), 200, "piece piece"),
    "own-with-a-wrong-piece": case(get("/own/wrong-piece"), 200, "AttributeError", PLAIN),
    "own-with-a-bytearray": case(get("/own/bytearray"), 200, "a"),
    "own-overridden": case(get("/own/overridden"), 200, "streams itself"),
    "own-called": case(get("/own/called"), 200, "is called with http"),
    "own-changed": case(get("/own/changed"), 201, "x-changed: yes"),
    "own-runs-in-a-task-of-its-own": case(get("/own/state"), 200, "False /own/state more", PLAIN),
    "own-with-timeouts-and-task-groups": case(get("/own/cancels"), 200, "atimeout group", PLAIN),
    "background-fails": case(get("/fails/background"), 200, "plain session sees ValueError", PLAIN),
    "parameters-invalid": case(get("/fails/invalid?number=x"), 422, "int_parsing", PLAIN),
    "exits-late": case(get("/fails/exit"), 200, "background", LEFT),
    "included-events": case(get("/outer/inner/events"), 200, "/outer/inner/events", PLAIN),
    "included-lines": case(get("/outer/inner/lines/5"), 200, "5"),
    "included-lines-invalid": case(get("/outer/inner/lines/x"), 422),
}


@table(WHOLE)
def test_a_stream_is_as_fastapis(streams: Pair, case: Case) -> None:
    streams.check(case)


KINDS = {
    "lines": LEFT,
    "lines-plain": PLAIN,
    "lines-in-thread": PLAIN,
    "events": LEFT,
    "events-plain": PLAIN,
    "events-in-thread": PLAIN,
    "raw": PLAIN,
    "own": PLAIN,
}


# At each place what is plainly wrong, and what is treated in a way of its own in one.
FAILURES = [("value", 0), ("value", 1), ("value", 2), *((how, 1) for how in ("http", "custom", "group", "stop", "no"))]


@pytest.mark.parametrize(("how", "after"), FAILURES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_in_a_stream_ends_it(streams: Pair, kind: str, after: int, how: str) -> None:
    streams.check(case(get(f"/fails/{kind}/{how}/{after}"), 200, "finally", KINDS[kind]))


@pytest.fixture
def impatient(streams: Pair) -> Iterator[Pair]:
    """While silence is broken early."""
    streams.same(post("/interval?seconds=0.6"))
    yield streams
    streams.same(post("/interval?seconds=15"))


@pytest.mark.parametrize("query", ["first=0.9", "then=0.9", "first=0.9&then=0.9"])
def test_silence_is_broken_by_pings(impatient: Pair, query: str) -> None:
    impatient.check(case(get(f"/events/slow?{query}"), 200, ": ping"))


def left(path: str, *before: str, after: tuple[str, ...] = (PLAIN,)) -> Callable[[Story], None]:
    """A client that leaves once there was all of `before`."""

    def story(told: Story) -> None:
        told.send("client", get(path))
        told.wait_for(*before)
        told.leave("client")
        told.wait_for(*after)

    return story


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("/stays/lines", "lines waits", (LEFT, PLAIN, "lines is left", "background")),
        ("/stays/lines-plain", "lines waits", (PLAIN, "lines is left")),
        ("/stays/events", "events waits", (LEFT, PLAIN, "events is left", "background")),
        ("/stays/events-plain", "events waits", (PLAIN, "events is left")),
        ("/stays/events-silent", "begins", (PLAIN, "silent is left")),
        ("/stays/raw", "raw waits", (PLAIN, "raw is left")),
        ("/stays/own", "own waits", (PLAIN, "own is left", "own background")),
        ("/stays/shielded", "begins", (PLAIN, "shielded is left")),
        ("/stays/busy", "begins", (PLAIN,)),
    ],
)
def test_a_client_that_leaves_ends_its_stream(streams: Pair, path: str, before: str, after: tuple[str, ...]) -> None:
    streams.alike(left(path, before, after=after))


def test_a_client_that_leaves_a_generator_in_a_thread(streams: Pair) -> None:
    streams.alike(left("/stays/lines-in-thread", "lines begins"))


def test_an_endpoint_that_has_not_answered_is_not_cancelled(streams: Pair) -> None:
    def story(told: Story) -> None:
        told.send("client", get("/stays/endpoint"))
        told.wait_for("endpoint waits")
        told.leave("client")
        told.ask("other", get("/open"))
        told.wait_for(PLAIN)

    told = streams.alike(story)
    assert "endpoint goes on" in told, told


def test_streams_are_served_by_plans(streams: Pair) -> None:
    log = streams.overdrive.served.log
    assert "Compiled" in log, log
    assert "streaming" not in log, log


def test_pipelined_requests_after_a_stream_are_answered(streams: Pair) -> None:
    streams.same(Request("GET", "/lines/items", (("connection", "keep-alive"),)))
    streams.same(get("/own/sync"), PLAIN)
