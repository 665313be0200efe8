"""Requests to mounted applications are answered as FastAPI does it, wherever these stand and whatever they do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.differential.pair import Case, Pair, case, table
from tests.differential.test_sockets import Talk, listen
from tests.differential.wire import Request, get, json_post, method, post

# Where FastAPI applications with all routes are mounted: the path, and the root path that they see.
MOUNTS = {
    "plain": "/sub",
    "again-with-a-parameter": "/tenants/a%20b/api",
    "with-a-convertor": "/number/007",
    "behind-a-path": "/paths/a/b/end",
    "nested": "/sub/deep",
    "nested-with-a-parameter": "/tenants/t/api/deep",
    "in-included-routers": "/inner/outer/mounted",
    "with-handlers": "/handling",
    "with-middleware": "/layered",
    "below-one-with-middleware": "/layered/deep",
    "with-overrides": "/overriding",
    "with-a-root-path": "/rooted",
    "without-redirects": "/no-redirects",
    "behind-other-routes": "/before",
    "within-middleware-of-the-mount": "/within",
    "with-a-limit-of-the-mount": "/limited",
}

FORM = ("content-type", "application/x-www-form-urlencoded")
MULTIPART = ("content-type", "multipart/form-data; boundary=b")
PARTS = (
    b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nfile\r\n--b--\r\n'
)

# What is asked of each of them; status and what is shown are those of the plain one.
ASKED: dict[str, Case] = {
    "route": case(get("/item/5?q=3"), 200, "leaf 3", "exit"),
    "invalid": case(get("/item/x?q=y"), 422, "int_parsing", "exit"),
    "unconvertible": case(get(f"/item/{'9' * 5000}"), 422, "int_parsing_size", "exit"),
    "in-thread": case(get("/in-thread"), 200, "endpoint pool"),
    "body": case(json_post("/item", {"name": "n"}), 201, '"price":1', "exit"),
    "body-invalid": case(json_post("/item", {"price": "x"}), 422, "missing", "exit"),
    "body-no-json": case(json_post("/item", b"{"), 422, "json_invalid"),
    "body-longer": case(json_post("/any", ["x" * 200]), 200),
    "body-chunked": case(post("/any", (b'"' + b"x" * 30, b'"'), ("content-type", "application/json")), 200),
    "form": case(post("/form", b"a=1", FORM), 200, '["1"'),
    "form-with-file": case(post("/form", PARTS, MULTIPART), 200, '"file"'),
    "form-invalid": case(post("/form", b"b=1", FORM), 422),
    "seen": case(get("/seen/5?a=b"), 200, '"root_path"'),
    "seen-in-thread": case(get("/seen-in-thread"), 200, '"app_root_path"'),
    "seen-included": case(get("/included/seen"), 200, '"included_router"'),
    "parameter-of-the-mount": case(get("/tenant"), 200, "none"),
    "parameter-hides-that-of-the-mount": case(get("/hides/mine"), 200, "mine"),
    "url-of-the-mounted": case(get("/urls?name=sub:item"), 200, "http://differential.test/sub/item/7"),
    "handled": case(get("/fails/ours"), 418, "handler of Ours", "exit"),
    "handled-around": case(get("/fails/theirs"), 500, "sees Theirs", "outer handler of RuntimeError"),
    "fault": case(get("/fails/value"), 500, "sees ValueError", "outer handler of ValueError"),
    "group": case(get("/fails/group"), 500, "sees ExceptionGroup", "outer handler of ExceptionGroup"),
    "http-exception": case(get("/fails/http"), 418, "x-refused: yes", "exit"),
    "own-validation-error": case(get("/fails/invalid"), 422, '"own"', "exit"),
    "unserializable": case(get("/fails/answer"), 500, None, "outer handler of PydanticSerializationError"),
    "streams": case(get("/streams/well"), 200, "exit", "exit"),
    "background": case(get("/background"), 200, "x-injected: yes", "background"),
    "redirect-adds-a-slash": case(get("/slashed?q=%20&x"), 307, "/sub/slashed/?q=%20&x"),
    "redirect-removes-a-slash": case(get("/in-thread/"), 307, "location: http://differential.test/sub/in-thread"),
    "redirect-of-a-post": case(json_post("/slashed", {"a": 1}), 307, "/sub/slashed/"),
    "redirect-not-for-two-slashes": case(get("/in-thread//"), 307, "/sub/in-thread"),
    "slashes": case(get("//"), 404),
    "more-slashes": case(get("///"), 404),
    "unknown": case(get("/nowhere"), 404, "Not Found"),
    "unknown-post": case(post("/nowhere", b"x"), 404),
    "root": case(get("/"), 404, "Not Found"),
    "wrong-method": case(method("DELETE", "/item/5"), 405, "allow: GET"),
    "head": case(method("HEAD", "/item/5"), 405),
    "options": case(method("OPTIONS", "/item/5"), 405),
    "odd-method": case(method("PURGE", "/item/5"), 405),
    "newline": case(get("/item/5%0A"), 404),
    "encoded-slash": case(get("/item%2F5"), 200, "endpoint", "exit"),
    "not-unicode": case(get("/item/%FF"), 422, "int_parsing", "exit"),
    "schema": case(get("/openapi.json"), 200, '"servers":[{"url":"/sub"}]'),
    "docs": case(get("/docs"), 200, "/sub/openapi.json"),
    "head-of-the-schema": case(method("HEAD", "/openapi.json"), 200),
}


@pytest.fixture(params=["mounts", "mounts_layered"])
def mounts(request: pytest.FixtureRequest, pair_of: Callable[..., Pair]) -> Pair:
    """The application, and the same below middleware."""
    return pair_of(request.param)


def below(path: str, given: Request) -> Request:
    """The same request to another place."""
    assert isinstance(given.target, str)
    return Request(given.method, path + given.target, given.headers, given.body)


@pytest.mark.parametrize("name", ASKED)
def test_a_mounted_application_answers(mounts: Pair, name: str) -> None:
    asked = ASKED[name]
    requests = tuple(below("/sub", request) for request in asked.requests)
    mounts.check(Case(requests, asked.statuses, asked.shows, asked.until))


# Below middleware, where the plans of what is mounted always stand in the place of its router, few places say it all.
PLACES = [("mounts", where) for where in MOUNTS if where != "plain"] + [
    ("mounts_layered", where) for where in ("nested-with-a-parameter", "in-included-routers", "with-middleware")
]


@pytest.mark.parametrize(("module", "where"), PLACES)
def test_it_answers_wherever_it_is_mounted(pair_of: Callable[..., Pair], module: str, where: str) -> None:
    pair = pair_of(module)
    for name, asked in ASKED.items():
        # The path does not begin with that root path, so nothing is found there.
        until = None if where == "with-a-root-path" else OTHERWISE.get((where, name), asked.until)
        for request in asked.requests:
            pair.same(below(MOUNTS[where], request), until)


# What happens at last where something else does than in a plain mount.
OTHERWISE = {
    ("with-handlers", "handled-around"): "outer handler of RuntimeError",
}


OTHERS: dict[str, Case] = {
    "mount-itself": case(get("/sub"), 307, "location: http://differential.test/sub/"),
    "mount-itself-with-query": case(get("/sub?a=b"), 307, "/sub/?a=b"),
    "mount-itself-post": case(post("/sub", b"x"), 307, "/sub/"),
    "nested-mount-itself": case(get("/sub/deep"), 307, "/sub/deep/"),
    "prefix-is-no-mount": case(get("/substance"), 200, "no mount"),
    "prefix-is-nothing": case(get("/subs/item/5"), 404),
    "case-counts": case(get("/Sub/item/5"), 404),
    "hidden-by-the-mount": case(get("/sub/item/5"), 200, "endpoint", "exit"),
    "before-the-mount": case(get("/before/item"), 200, "before the mount"),
    "other-method-before-the-mount": case(json_post("/before/item", {"name": "a"}), 201),
    "convertor-of-the-mount-does-not-match": case(get("/number/x/item/5"), 404),
    "convertor-of-the-mount-fails": case(get(f"/number/{'9' * 5000}/item/5"), 500, None, "outer handler of ValueError"),
    "encoded-mount": case(get("/%73ub/item/5"), 200, "endpoint", "exit"),
    "urls-from-outside": case(get("/urls"), 200, "http://differential.test/sub/deep/item/7"),
    "urls-of-another-mount": case(get("/sub/urls?name=included:item"), 200, "/inner/outer/mounted/item/7"),
    "url-that-is-none": case(get("/sub/urls?name=nothing"), 500, None, "outer handler of NoMatchFound"),
    "raw": case(get("/raw/a/b"), 200, "/raw/a/b /raw"),
    "static": case(get("/static/file.txt"), 200, "a file"),
    "static-unknown": case(get("/static/nothing"), 404, "Not Found"),
    "static-wrong-method": case(post("/static/file.txt"), 405),
    "starlette": case(get("/starlette/5"), 200, "plain"),
    "host": case(get("/item/5", ("host", "a.hosted.test")), 200, "endpoint", "exit"),
    "derived": case(get("/derived/item?q=5"), 200, "5"),
    "own-call": case(get("/own/item"), 200, "own call"),
    "own-404": case(get("/handling/nowhere"), 404, "own 404"),
    "own-422": case(get("/handling/item/x"), 422, "GET /handling/item/{number}", "exit"),
    "own-422-nested": case(get("/sub/deep/item/x"), 422, "int_parsing", "exit"),
    "own-500": case(get("/handling/fails/value"), 500, "own 500 ValueError", "outer handler of ValueError"),
    "middleware": case(get("/layered/item/5"), 200, "x-dispatched: yes", "exit"),
    "middleware-nested": case(get("/layered/deep/item/5"), 200, "x-dispatched: yes", "exit"),
    "middleware-404": case(get("/layered/nowhere"), 404, "before"),
    "overrides": case(get("/overriding/item/5"), 200, "overridden leaf", "exit"),
    "root-path-of-its-own": case(get("/rooted/item/5"), 404),
    "servers": case(get("/served/openapi.json"), 200, "/elsewhere"),
    "no-redirect": case(get("/no-redirects/slashed"), 404),
    "beside-a-mount-in-a-router": case(get("/inner/outer/outer-route"), 200, "outer"),
    "larger-than-the-limit-of-the-mount": case(json_post("/limited/any", "x" * 30), 413),
    "limit-of-the-mounted-kept": case(json_post("/small/any", "x" * 10), 200, "xxx"),
    "limit-of-the-mounted-exceeded": case(json_post("/small/any", "x" * 30), 413),
    "limit-of-the-mounted-exceeded-chunked": case(post("/small/any", (b"1" * 10, b"1" * 30)), 413),
    "limit-of-the-mounted-nobody-reads": case(post("/small/nowhere", b"x" * 30), 413),
    "broken-stream": case(get("/sub/included/seen"), 200, "leaf"),
}


@table(OTHERS)
def test_around_mounted_applications(mounts: Pair, case: Case) -> None:
    mounts.check(case)


@pytest.mark.parametrize("how", ["ours", "theirs", "value"])
@pytest.mark.parametrize("where", ["/sub", "/sub/deep", "/handling", "/layered"])
def test_an_answer_that_breaks_off_has_its_exceptions_handled(mounts: Pair, where: str, how: str) -> None:
    # Handlers come too late for an answer that has begun.
    last = {"ours": "RuntimeError", "theirs": "RuntimeError", "value": "ValueError"}[how]
    mounts.same(get(f"{where}/streams/{how}"), f"outer handler of {last}")


SEEN = ["/seen/5", "/seen-in-thread", "/included/seen", "/in-thread", "/nowhere", "/slashed", "/openapi.json", "/docs"]


@pytest.mark.parametrize("where", MOUNTS)
def test_below_a_root_path(pair_of: Callable[..., Pair], where: str) -> None:
    pair = pair_of("mounts_rooted")
    for root in ("", "/proxy"):
        for target in SEEN:
            pair.same(get(f"{root}{MOUNTS[where]}{target}"))
        pair.same(get(f"{root}{MOUNTS[where]}"))


TALKS: dict[str, Talk] = {
    "socket": Talk("/socket/5?q=3", "closed 4001 done", ("a",), until=("exit",)),
    "invalid": Talk("/socket/x", "403"),
    "seen": Talk("/socket-seen", "app_root_path"),
    "websocket-exception": Talk("/socket-fails/websocket", "closed 4003 no entry", until=("exit",)),
    "websocket-exception-before": Talk("/socket-fails/websocket?accept=0", "403", until=("exit",)),
    "handled": Talk("/socket-fails/ours", "handler of Ours", until=("exit",)),
    "handled-around": Talk("/socket-fails/theirs", "outer handler of Theirs", until=("exit",)),
    "handled-around-before": Talk("/socket-fails/theirs?accept=0", "outer handler of Theirs", until=("exit",)),
    "fault": Talk("/socket-fails/value", "sees ValueError", until=("exit",)),
    "fault-before": Talk("/socket-fails/value?accept=0", "500", until=("exit",)),
    "http-exception": Talk("/socket-fails/http?accept=0", "418", until=("exit",)),
    "nowhere": Talk("/nowhere", "403"),
    "of-another-kind": Talk("/item/5", "403"),
}


TALKERS = [
    *(("mounts", where) for where in ("plain", "again-with-a-parameter", "nested", "in-included-routers")),
    *(("mounts", where) for where in ("with-handlers", "with-middleware")),
    *(("mounts_layered", where) for where in ("plain", "nested-with-a-parameter", "with-middleware")),
]


@pytest.mark.parametrize("name", TALKS)
@pytest.mark.parametrize(("module", "where"), TALKERS)
def test_websockets_of_mounted_applications(pair_of: Callable[..., Pair], module: str, where: str, name: str) -> None:
    talk = TALKS[name]
    here = Talk(MOUNTS[where] + talk.path, talk.shows, talk.sends, until=talk.until)
    told = pair_of(module).alike(lambda story: listen(story, here))
    if where == "plain":
        assert talk.shows in str(told), told


@pytest.fixture
def growing(mounts: Pair) -> Iterator[Pair]:
    """While what is mounted changes."""
    yield mounts
    mounts.same(post("/grow?name=x&how=undo"))


# Enough requests after a change to meet what is mounted before and after it was compiled again.
AFTERWARDS = 12


def test_routes_added_to_a_mounted_application_are_there_at_once(growing: Pair) -> None:
    for name, how in (("first", "route"), ("second", "route"), ("deep", "deep")):
        path = f"/growing/{'deep/' if how == 'deep' else ''}{name}"
        assert growing.same(get(path)).status == 404
        growing.same(post(f"/grow?name={name}&how={how}"))
        for _ in range(AFTERWARDS):
            assert growing.same(get(path)).status == 200


def test_overrides_of_a_mounted_application_count_at_once(growing: Pair) -> None:
    assert growing.same(get("/growing/fixed")).body == b'"leaf 0"'
    growing.same(post("/grow?name=overridden&how=override"))
    assert growing.same(get("/growing/fixed")).body == b'"overridden"'


def test_overrides_of_the_application_around_do_not_count_in_a_mounted_one(growing: Pair) -> None:
    growing.same(post("/grow?name=overridden&how=override-around"))
    assert growing.same(get("/growing/fixed")).body == b'"leaf 0"'


def test_what_is_mounted_may_be_another(growing: Pair) -> None:
    for how, status in (("swap", 404), ("swap-back", 200), ("unmount", 404), ("mount", 200), ("stack", 200)):
        growing.same(post(f"/grow?name=x&how={how}"))
        for _ in range(AFTERWARDS):
            assert growing.same(get("/growing/fixed")).status == status, how


COUNTED = re.compile(r"Compiled (\d+) of (\d+) routes of the application mounted at (\S+)")


def test_mounted_applications_are_compiled_at_their_first_request(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of("mounts_rooted")
    log = pair.overdrive.served.log
    assert "Compiled 6 of 6 routes" in log
    pair.same(get("/derived/item"))
    pair.overdrive.served.wait_for("Compiled 1 of 1 routes of the application mounted at /derived")
    assert ("1", "1", "/derived") not in COUNTED.findall(log)
