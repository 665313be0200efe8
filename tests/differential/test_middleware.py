"""Starlette's own middleware does to an answer what it does there, whoever applies it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.differential.application.release import IS_AS_WRITTEN
from tests.differential.pair import Pair, case
from tests.differential.wire import Header, Request, get, json_post, method, post

FIRST = ("origin", "https://first.test")
OTHER = ("origin", "https://other.test")
GZIP = ("accept-encoding", "gzip, deflate")

# What any stack may do something to.
ANSWERS: dict[str, tuple[Request, int]] = {
    "plain": (get("/plain"), 200),
    "sized-0": (get("/sized/0"), 200),
    "sized-9": (get("/sized/9"), 200),
    "sized-10": (get("/sized/10"), 200),
    "sized-499": (get("/sized/499"), 200),
    "sized-500": (get("/sized/500"), 200),
    "sized-501": (get("/sized/501"), 200),
    "sized-for-a-thread": (get("/sized/1800"), 200),
    "sized-200000": (get("/sized/200000"), 200),
    "big": (get("/big"), 200),
    "big-in-thread": (get("/big-in-thread"), 200),
    "image": (get("/typed?kind=image/png"), 200),
    "svg": (get("/typed?kind=image/svg%2Bxml"), 200),
    "type-in-upper-case": (get("/typed?kind=IMAGE/PNG;%20a=b"), 200),
    "grpc": (get("/typed?kind=application/grpc%2Bproto"), 200),
    "events": (get("/typed?kind=text/event-stream"), 200),
    "type-of-latin-1": (get("/typed?kind=text/%C3%84"), 200),
    "untyped": (get("/untyped"), 200),
    "html": (get("/html"), 200),
    "status-204": (get("/status/204"), 204),
    "status-304": (get("/status/304"), 304),
    "status-206": (get("/status/206?size=1000"), 206),
    "status-404-big": (get("/status/404?size=1000"), 404),
    "encoded": (get("/encoded"), 200),
    "vary": (get("/vary"), 200),
    "vary-injected": (get("/vary-injected"), 200),
    "own-cors": (get("/own-cors"), 200),
    "raw-names": (get("/raw-names"), 200),
    "cookies": (get("/cookies"), 200),
    "stream": (get("/stream"), 200),
    "stream-of-nothing": (get("/stream?pieces=0"), 200),
    "stream-of-one": (get("/stream?pieces=1"), 200),
    "stream-with-length": (get("/stream?length=900"), 200),
    "file": (get("/file"), 200),
    "file-range": (get("/file", ("range", "bytes=0-9")), 206),
    "image-file": (get("/image"), 200),
    "image-range": (get("/image?filename=a.png", ("range", "bytes=0-9")), 206),
    "image-refused-range": (get("/image", ("range", "bytes=9-0")), 400),
    "lines": (get("/lines"), 200),
    "events-generated": (get("/events"), 200),
    "event-stream": (get("/event-stream"), 200),
    "event-stream-with-upper-case": (get("/event-stream?upper=1"), 200),
    "json": (json_post("/item", {"name": "n"}), 200),
    "json-in-pieces": (post("/item", (b'{"name":', b'"n"}'), ("content-type", "application/json")), 200),
    "invalid": (json_post("/item", {"size": "x" * 600}), 422),
    "raw": (post("/raw", b"x" * 100), 200),
    "http-404": (get("/http/404"), 404),
    "http-204": (get("/http/204"), 204),
    "http-304": (get("/http/304"), 304),
    "handled": (get("/handled"), 420),
    "unhandled": (get("/unhandled"), 500),
    "unserializable": (get("/unserializable"), 500),
    "no-route": (get("/nowhere"), 404),
    "no-method": (method("DELETE", "/plain"), 405),
    "head": (method("HEAD", "/plain"), 405),
    "head-of-the-schema": (method("HEAD", "/openapi.json"), 200),
    "options": (method("OPTIONS", "/plain"), 405),
    "redirected-slash": (get("/plain/"), 307),
    "schema": (get("/openapi.json"), 200),
    "scope": (get("/scope"), 200),
    "contextvar": (get("/inside"), 200),
}
# What is over after the answer.
LATE: dict[str, tuple[Request, str]] = {
    "stream-with-session": (get("/stream-with-session"), "exit session"),
    "background": (get("/background"), "exit session"),
    "background-fails": (get("/background-fails"), "background fails"),
    "late-exception": (get("/late-exception"), "late"),
    "unhandled-later": (get("/unhandled"), "exit session"),
}
# What is noted last there, some turns of the loop later; the others are over with the last of `LATE`.
LATE_IN_MIXED = {
    "stream-with-session": "exit session",
    "background": "exit session",
    "background-fails": "around sees Unhandled of NoneType",
    "late-exception": "around sees RuntimeError of Handled",
    "unhandled-later": "outermost goes on ['outermost', 'middle', 'innermost']",
}
STACKS = ["cors", "cors_open", "cors_open_credentials", "gzip", "gzip_all", "several", "pure", "dispatch", "mixed"]
SENDERS: dict[str, tuple[Header, ...]] = {
    "bare": (),
    "browser": (FIRST, GZIP),
    "foreign": (OTHER, ("accept-encoding", "br")),
}


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest, pair_of: Callable[..., Pair]) -> Pair:
    """Each stack in its own application."""
    return pair_of(f"middleware.{request.param}")


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("name", ANSWERS)
def test_answers(stack: Pair, name: str, sender: str) -> None:
    request, status = ANSWERS[name]
    answer = stack.same(request.with_headers(*SENDERS[sender]))
    assert answer.status == status


@pytest.mark.parametrize("name", LATE)
@pytest.mark.parametrize("app", [name for name in STACKS if name != "mixed"])
def test_what_comes_after_the_answer(pair_of: Callable[..., Pair], app: str, name: str) -> None:
    stack = pair_of(f"middleware.{app}")
    request, until = LATE[name]
    answer = stack.same(request.with_headers(*SENDERS["browser"]), until)
    assert answer.status in (200, 500)


@pytest.mark.parametrize("name", LATE_IN_MIXED)
def test_what_comes_after_the_answer_through_middleware_of_all_kinds(pair_of: Callable[..., Pair], name: str) -> None:
    pair_of("middleware.mixed").same(LATE[name][0].with_headers(*SENDERS["browser"]), LATE_IN_MIXED[name])


def test_a_stream_that_fails_is_cut_off(stack: Pair, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["stack"]
    last = "around sees RuntimeError of Handled" if name == "mixed" else "stream fails"
    answer = stack.same(get("/stream?fails_at=1", *SENDERS["browser"]), last)
    # Middleware that dispatches ends it as if nothing had been.
    assert answer.cut == (name not in ("dispatch", "mixed"))


@pytest.mark.parametrize("app", ["gzip", "several"])
def test_a_stream_that_fails_before_compression_has_seen_it_is_an_error(pair_of: Callable[..., Pair], app: str) -> None:
    answer = pair_of(f"middleware.{app}").same(get("/stream?fails_at=0", *SENDERS["browser"]), "stream fails")
    assert answer.status == 500


def preflight(origin: str, wanted: str, *headers: Header) -> Request:
    return method("OPTIONS", "/plain", ("origin", origin), ("access-control-request-method", wanted), *headers)


WANTED = "access-control-request-headers"
NETWORK = ("access-control-request-private-network", "true")
PREFLIGHTS: dict[str, Request] = {
    "allowed": preflight("https://first.test", "GET"),
    "by-pattern": preflight("https://a.inside.test", "POST"),
    "only-beginning-with-the-pattern": preflight("https://a.inside.test.evil", "POST"),
    "foreign": preflight("https://other.test", "GET"),
    "foreign-with-everything-wrong": preflight("https://other.test", "PATCH", (WANTED, "x-other"), NETWORK),
    "of-latin-1": preflight("https://\xe4.test", "G\xc4T"),
    "other-method": preflight("https://first.test", "PATCH"),
    "method-in-lower-case": preflight("https://first.test", "get"),
    "headers": preflight("https://first.test", "GET", (WANTED, "X-Token, content-type")),
    "headers-in-any-case": preflight("https://first.test", "GET", (WANTED, "x-TOKEN ,\tAccept")),
    "headers-that-are-not-allowed": preflight("https://first.test", "GET", (WANTED, "x-token,x-other")),
    "no-headers": preflight("https://first.test", "GET", (WANTED, "")),
    "headers-of-latin-1": preflight("https://first.test", "GET", (WANTED, "x-t\xf6ken")),
    "private-network": preflight("https://first.test", "GET", NETWORK),
    "without-origin": method("OPTIONS", "/plain", ("access-control-request-method", "GET")),
    "without-method": method("OPTIONS", "/plain", FIRST),
    "of-no-route": method("OPTIONS", "/nowhere", FIRST, ("access-control-request-method", "GET")),
    "of-two-origins": method("OPTIONS", "/plain", OTHER, FIRST, ("access-control-request-method", "GET")),
    "with-get": get("/plain", FIRST, ("access-control-request-method", "GET")),
    "compressed": preflight("https://first.test", "GET", GZIP),
}


@pytest.mark.parametrize("name", PREFLIGHTS)
def test_preflights(stack: Pair, name: str) -> None:
    assert stack.same(PREFLIGHTS[name]).status in (200, 400, 404, 405)


def test_an_origin_is_allowed_from_when_the_application_allows_it(pair_of: Callable[..., Pair]) -> None:
    cors = pair_of("middleware.cors")
    late = ("origin", "https://late.test")
    assert cors.same(get("/plain", late)).header("access-control-allow-origin") is None
    cors.same(get("/add-origin?origin=https://late.test"))
    assert cors.same(get("/plain", late)).header("access-control-allow-origin") == late[1]


# What is no host at all the server itself refuses.
HOSTS = {
    "differential.test": 200,
    "DIFFERENTIAL.test:8000": 200,
    "a.wild.test": 200,
    "wild.test": 400,
    "wild.test.evil": 400,
    "upper.test": 200,
    "moved.test": 307,
    "moved.test:8000": 307,
    "www.moved.test": 200,
    "other.test": 400,
    "[::1]": 200,
    "[::1]:80": 200,
    "[::2]": 400,
    "[v1.a]": 400,
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("target", ["/plain", "/nowhere?a=b%20c", "/sized/10"])
def test_hosts(pair_of: Callable[..., Pair], host: str, target: str) -> None:
    answer = pair_of("middleware.hosts").same(get(target, ("host", host)))
    if IS_AS_WRITTEN:
        assert answer.status == (404 if HOSTS[host] == 200 and "nowhere" in target else HOSTS[host])


PROXIED = ("x-forwarded-proto", "https")
SCHEMES: dict[str, tuple[Request, int]] = {
    "http": (get("/plain?a=b"), 307),
    "https": (get("/plain?a=b", PROXIED), 200),
    "http-by-a-proxy": (get("/plain", ("x-forwarded-proto", "http")), 307),
    "with-a-port": (get("/plain", ("host", "a.test:8000")), 307),
    "with-the-port-of-http": (get("/plain", ("host", "a.test:80")), 307),
    "with-a-body": (post("/raw", b"x" * 100), 307),
    "of-no-route": (get("/nowhere"), 307),
    "of-no-route-with-https": (get("/nowhere", PROXIED), 404),
    "of-no-host-of-ours": (get("/plain", ("host", "a.evil")), 400),
    "of-no-host-of-ours-with-https": (get("/plain", ("host", "a.evil"), PROXIED), 400),
    "scope": (get("/scope", PROXIED), 200),
}


@pytest.mark.parametrize("app", ["https", "https_subclass"])
@pytest.mark.parametrize("name", SCHEMES)
def test_schemes(pair_of: Callable[..., Pair], name: str, app: str) -> None:
    request, status = SCHEMES[name]
    pair_of(f"middleware.{app}").check(case(request, status))
