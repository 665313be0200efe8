"""Compiled routes answer as FastAPI on uvicorn does: status, reason, headers, body, and the order of what ran."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from overdrive.compiler import known
from tests.compiled.exchange import Request, ask, files_request, form_request, json_request, send
from tests.conftest import Serve, Served

APPS = Path(__file__).parent / "apps"
UVICORN = [sys.executable, "-m", "uvicorn"]
# Sets are listed in the order of their hashes, and that is seen in Allow.
SEED = {"PYTHONHASHSEED": "0"}

# Releases that make defaults twice have one route that is not compiled (tests/releases runs this file on them).
DEFAULTS_TWICE = known.behaves("fastapi.dependencies.utils:_get_multidict_value") == "default-at-once"
COMPILED = 75 if DEFAULTS_TWICE else 76

AUTH = ("authorization", "Bearer token")
UUID = "123e4567-e89b-12d3-a456-426614174000"

REQUESTS = [
    # Parameters.
    Request(f"/path/t%20x/007/1.50/{UUID}/a/b%2Fc/?x=1"),
    Request(f"/path/t/x/1.5/{UUID}/a"),
    Request(f"/path/t/{'9' * 5000}/1.5/{UUID}/a"),
    Request("/number/5"),
    Request("/number/5%0A"),
    Request("/number/0"),
    Request("/number/x?q=y"),
    Request("/number/5?q=1e3&q=2"),
    Request("/query"),
    Request("/query?q=a&many=1&many=2&flag=on&s-h=abc"),
    Request("/query?q=%C3%A9+%zz%ff&many=x&flag=perhaps&s-h=abcd&choice=z"),
    Request("/query?q=&q=last&&=&many="),
    Request("/mutable"),
    Request("/mutable"),
    Request("/mutable?many=x&stamped=y"),
    Request("/filter?limit=5&tags=a&tags=b"),
    Request("/filter?limit=500&other=1"),
    Request(
        "/headers",
        headers=(("User-Agent", "a"), ("X-Values", "1"), ("x-values", "2"), ("Cookie", 'one=1; two="q\\"x"; one=2')),
    ),
    Request("/headers", headers=(("strange", "s"), ("user-agent", "\xe9"), ("cookie", "one=x"))),
    Request("/header-model", headers=(("x-token", "t"), ("x-many", "a"), ("x-many", "b"))),
    Request("/header-model"),
    # Bodies.
    json_request("/item", {"name": "n", "tags": ["a"], "nested": {"name": "m"}}),
    json_request("/item", {"name": "bad", "price": "x"}),
    json_request("/item", {"name": "bad"}),
    json_request("/item", b"{"),
    json_request("/item", b'{"name": "\xff"}'),
    json_request("/item", b'\xef\xbb\xbf{"name": "bom"}'),
    json_request("/item", '{"name": "utf-16"}'.encode("utf-16")),
    json_request("/item", b'{"name": "a", "name": "b", "price": NaN}'),
    json_request("/item", b'{"name": "n", "price": ' + b"1" * 5000 + b"}"),
    json_request("/item", b"null"),
    json_request("/item", b"[]"),
    json_request("/item", b""),
    Request("/item", "POST"),
    Request("/item", "POST", (("content-type", "text/plain"),), b'{"name": "n"}'),
    Request("/item", "POST", (), b'{"name": "n"}'),
    Request("/item", "POST", (("content-type", "application/problem+json; charset=utf-8"),), b'{"name": "n"}'),
    json_request("/optional", b"null"),
    Request("/optional", "POST"),
    json_request("/several/1?q=a", {"item": {"name": "n"}, "amount": 2}),
    json_request("/several/x", {"item": {"nome": "n"}}),
    json_request("/several/1", [1]),
    json_request("/several/1", b'"text"'),
    json_request("/embedded", {"item": {"name": "n"}}),
    json_request("/embedded", {"name": "n"}),
    json_request("/any", {"a": [1, None, {"b": "é"}]}),
    Request("/any", "POST", (("content-type", "application/octet-stream"),), b"\x00\x01"),
    json_request("/union", b"[1, 2]"),
    json_request("/union", {"a": "x"}),
    Request("/raw", "POST", (), b"x" * 100_000),
    # Forms.
    form_request("/form/1", b"name=n&ages=1&ages=2"),
    form_request("/form/x?q=y", b"ages=x&name="),
    form_request("/form/1", b""),
    json_request("/form/1", {"name": "n"}),
    form_request("/form-model", b"name=nn&ages=1&ages=2"),
    form_request("/form-model", b"name=n&other=1"),
    files_request("/files", one="text of one", raw="raw"),
    files_request("/files", one="text of one"),
    Request("/files", "POST", (("content-type", "multipart/form-data; boundary=b"),), b"--b\r\nbroken"),
    # Dependencies.
    Request("/tree?q=5"),
    Request("/tree?q=x"),
    Request("/failing?x=a"),
    Request("/failing?x=1"),
    Request("/failing?x=1&y=2"),
    Request("/opened"),
    Request("/opened?fail=http"),
    Request("/opened?fail=boom"),
    Request("/opened-for-function"),
    Request("/opened-in-thread"),
    Request("/opened-in-thread?fail=1"),
    Request("/swallow"),
    Request("/swallow-for-function"),
    Request("/turn?x=1"),
    Request("/turn?x=y"),
    Request("/late"),
    Request("/late-for-function"),
    Request("/meddled/1?q=a"),
    json_request("/enriched", {"a": 1}),
    json_request("/guarded", {"name": "bad"}),
    json_request("/guarded", {"name": "bad"}, authorization="x"),
    # Security.
    Request("/me"),
    Request("/me", headers=(AUTH,)),
    Request("/me", headers=(("Authorization", "bearer  spaced "),)),
    Request("/me", headers=(("Authorization", "Basic x"),)),
    Request("/both", headers=(AUTH,)),
    Request("/maybe"),
    Request("/basic"),
    Request("/basic", headers=(("authorization", "Basic dXNlcjpwdw=="),)),
    Request("/basic", headers=(("authorization", "Basic !"),)),
    Request("/bearer"),
    Request("/bearer", headers=(AUTH,)),
    Request("/digest", headers=(("authorization", "Digest x"),)),
    Request("/keys?key=q", headers=(("x-key", "h"), ("cookie", "session=c"))),
    Request("/keys"),
    # Responses.
    Request("/model"),
    Request("/model-wrong"),
    Request("/model-unset"),
    Request("/models"),
    Request("/model-explicit"),
    Request("/model-floats"),
    Request("/plain-values"),
    Request("/not-a-number"),
    Request("/surrogate"),
    Request("/html"),
    Request("/text"),
    Request("/redirected"),
    Request("/nothing"),
    Request("/injected"),
    Request("/injected?fail=1"),
    Request("/returned"),
    Request("/streamed"),
    # Errors.
    json_request("/oops", {"a": 1}),
    Request("/sync-oops"),
    Request("/boom"),
    Request("/stop"),
    Request("/http/404"),
    Request("/http/404?detail=x"),
    Request("/http/204"),
    Request("/http/599"),
    # Threads, connections, routing.
    Request("/in-thread"),
    Request("/connection?a=1"),
    Request("/waits"),
    Request("/scoped-thread"),
    Request("/many-methods", "PUT", (), b""),
    Request("/many-methods", "HEAD"),
    Request("/many-methods"),
    Request("/first/literal"),
    Request("/first/literal", "POST", (), b""),
    Request("/first/literal", "DELETE"),
    Request("/outer/more/inner/x"),
    Request("/inner/x?q=a"),
    Request("/inner/x/"),
    Request("/inner"),
    Request("/inner/limited/body"),
    Request("/sub/here"),
    Request("/sub/nowhere"),
    Request("/sub"),
    Request("/nowhere"),
    Request("/nowhere/"),
    Request("/number/5", "OPTIONS"),
    Request("/number/5", "HEAD"),
    Request("/number/5", "PROPFIND"),
    Request("/openapi.json", "HEAD"),
    Request("//number/5"),
    Request("/number//5"),
]


@pytest.fixture(scope="module")
def oracle(serve_once: Serve) -> Served:
    """FastAPI on uvicorn."""
    return serve_once("features:app", app_dir=APPS, command=UVICORN, env=SEED)


@pytest.fixture(scope="module")
def oracle_within_middleware(serve_once: Serve) -> Served:
    """The same below middleware."""
    return serve_once("within_middleware:app", app_dir=APPS, command=UVICORN, env=SEED)


@pytest.fixture(scope="module")
def compiled(serve_once: Serve) -> Served:
    """overdrive, plans straight from the engine."""
    served = serve_once("features:app", app_dir=APPS, env=SEED)
    assert f"Compiled {COMPILED} of 76 routes" in served.log, served.log
    return served


@pytest.fixture(scope="module")
def compiled_within_middleware(serve_once: Serve) -> Served:
    """overdrive, plans below middleware."""
    return serve_once("within_middleware:app", app_dir=APPS, env=SEED)


@pytest.fixture(scope="module")
def compiled_for_uvicorn(serve_once: Serve) -> Served:
    """uvicorn, plans within the application."""
    return serve_once("for_any_server:app", app_dir=APPS, command=UVICORN, env=SEED)


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_the_answer_is_fastapis(oracle: Served, compiled: Served, request_: Request) -> None:
    assert ask(compiled, request_) == ask(oracle, request_)


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_the_answer_is_fastapis_below_middleware(
    oracle_within_middleware: Served, compiled_within_middleware: Served, request_: Request
) -> None:
    assert ask(compiled_within_middleware, request_) == ask(oracle_within_middleware, request_)


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_the_answer_is_fastapis_on_another_server(
    oracle: Served, compiled_for_uvicorn: Served, request_: Request
) -> None:
    assert ask(compiled_for_uvicorn, request_) == ask(oracle, request_)


def test_a_request_object_has_what_fastapi_puts_into_its_scope(oracle: Served, compiled: Served) -> None:
    assert ask(compiled, Request("/opened-and-seen")) == ask(oracle, Request("/opened-and-seen"))


def test_overrides_of_dependencies_are_seen_at_once(oracle: Served, compiled: Served) -> None:
    for served in (oracle, compiled):
        assert send(served, Request("/overridden")).body == b'"1"'
        send(served, Request("/override?on=1", "POST", (), b""))
        assert send(served, Request("/overridden")).body == b'"overridden"'
        send(served, Request("/override?on=0", "POST", (), b""))
        assert send(served, Request("/overridden")).body == b'"1"'
        send(served, Request("/journal"))


def test_a_route_added_at_run_time_is_served_at_once_and_compiled_soon(serve: Serve) -> None:
    served = serve("features:app", app_dir=APPS)
    assert send(served, Request("/added")).status == 404
    send(served, Request("/add-route", "POST", (), b""))
    assert send(served, Request("/added")).body == b'"added"'
    served.wait_for(f"The routes have changed. Compiled {COMPILED + 1} of 77 routes")
    assert send(served, Request("/added")).body == b'"added"'
