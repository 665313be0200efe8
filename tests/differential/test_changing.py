"""What an application changes while it runs counts at once, or never, as with FastAPI."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.differential.pair import Case, Pair, case, table
from tests.differential.wire import Request, get, json_post, method, post

BEARER = ("authorization", "Bearer x")

# Enough requests after a change to meet a route before and after it was compiled again.
AFTERWARDS = 12


@pytest.fixture
def changing(pair_of: Callable[..., Pair]) -> Iterator[Pair]:
    """The application that changes, as it was before."""
    pair = pair_of("changing")
    yield pair
    for undo in (
        method("DELETE", "/overrides"),
        method("DELETE", "/overrides?how=replace"),
        method("DELETE", "/routes"),
        post("/inside/undo"),
    ):
        pair.same(undo)


def ask(pair: Pair, *requests: Request, until: str | None = None, status: int = 200, shows: str = "") -> None:
    """Asks several times."""
    for _ in range(AFTERWARDS):
        for request in requests:
            answer = pair.same(request, until)
            assert answer.status == status, f"{request}\n{answer}"
            assert shows in str(answer)


EVERYWHERE = (get("/tree"), get("/tree-in-thread"), get("/included/tree"), get("/none"))


def test_overrides_count_at_once_and_until_they_are_gone(changing: Pair) -> None:
    ask(changing, get("/tree"), shows="leaf 1")
    changing.same(post("/overrides/leaf"))
    ask(changing, *EVERYWHERE)
    ask(changing, get("/tree"), shows="other leaf")
    changing.same(method("DELETE", "/overrides"))
    ask(changing, get("/tree"), shows="leaf 1")


def test_overrides_may_be_another_mapping(changing: Pair) -> None:
    changing.same(post("/overrides/leaf"))
    changing.same(post("/overrides/branch?how=replace"))
    ask(changing, *EVERYWHERE)
    ask(changing, get("/tree-in-thread"), shows="other branch")
    changing.same(method("DELETE", "/overrides?how=replace"))
    ask(changing, *EVERYWHERE)


def test_overrides_may_be_a_mapping_that_makes_them_up(changing: Pair) -> None:
    changing.same(post("/overrides-made-up"))
    ask(changing, *EVERYWHERE)
    ask(changing, get("/tree"), shows="asked for branch")


@pytest.mark.parametrize(
    ("name", "requests", "status"),
    [
        ("leaf-with-parameters", [get("/tree?q=6&n=2"), get("/included/tree?q=7")], 200),
        ("leaf-with-parameters", [get("/tree?q=5"), get("/tree"), get("/included/tree?q=x")], 422),
        (
            "leaf-with-body",
            [get("/tree"), Request("GET", "/tree", (("content-type", "application/json"),), b"{}")],
            200,
        ),
        ("branch", [get("/tree"), get("/tree?n=5")], 200),
        ("branch", [get("/tree?n=x")], 422),
        ("settings", [get("/settings"), get("/settings?debug=x")], 200),
        ("user", [get("/user"), get("/user", BEARER)], 200),
        ("raising", [get("/tree"), get("/tree-in-thread"), get("/included/tree")], 418),
        ("several", [get("/tree-in-thread")], 418),
        ("unused", [*EVERYWHERE], 200),
        ("unused", [get("/tree?n=x")], 422),
    ],
)
def test_overrides(changing: Pair, name: str, requests: list[Request], status: int) -> None:
    changing.same(post(f"/overrides/{name}"))
    for request in requests:
        ask(changing, request, status=status)


@pytest.mark.parametrize(
    ("name", "path", "until"),
    [
        ("resource", "/resource", "exit other"),
        ("resource", "/resource-in-function", "exit other"),
        ("resource-by-function", "/resource", None),
        ("resource-by-function", "/resource-in-function", None),
        ("leaf-by-resource", "/tree", "exit other"),
        ("leaf-by-resource", "/included/tree", "exit other"),
        ("unused", "/resource", "exit resource"),
    ],
)
def test_overrides_that_yield(changing: Pair, name: str, path: str, until: str | None) -> None:
    changing.same(post(f"/overrides/{name}"))
    ask(changing, get(path), until=until)


def test_overrides_count_for_what_follows_in_the_same_request(changing: Pair) -> None:
    for _ in range(AFTERWARDS):
        assert "other leaf" in str(changing.same(get("/overridden-within?name=leaf")))
        changing.same(method("DELETE", "/overrides"))


@pytest.mark.parametrize(
    ("how", "request_"),
    [
        ("get", get("/added/x?q=1")),
        ("post", post("/added/x?q=1")),
        ("thread", get("/added/x?q=1")),
        ("first", get("/added/x?q=1")),
        ("included", get("/included/added/x?q=1")),
        ("router", get("/late/item")),
        ("append", get("/added/x")),
        ("mount", get("/added/x/item?q=1")),
        ("host", get("/late/item", ("host", "x.test"))),
    ],
)
def test_a_route_that_is_added_is_served_at_once(changing: Pair, how: str, request_: Request) -> None:
    ask(changing, request_, status=404)
    changing.same(post(f"/routes/x?how={how}"))
    ask(changing, request_)
    ask(changing, get("/none?q=5"), shows="5")
    changing.same(method("DELETE", "/routes"))
    ask(changing, request_, status=404)


def test_a_route_that_is_added_in_front_is_the_first_match(changing: Pair) -> None:
    ask(changing, get("/none"), shows="0")
    changing.same(post("/routes/x?how=shadow"))
    ask(changing, get("/none"), shows='"name":"shadow"')
    changing.same(method("DELETE", "/routes"))
    ask(changing, get("/none"), shows="0")


def test_a_route_that_is_added_for_another_method_changes_what_is_allowed(changing: Pair) -> None:
    changing.same(post("/routes/x?how=get"))
    ask(changing, post("/added/x"), status=405, shows="allow: GET")
    changing.same(post("/routes/x?how=post"))
    ask(changing, post("/added/x"))
    ask(changing, method("DELETE", "/added/x"), status=405)


def test_many_routes_are_added(changing: Pair) -> None:
    for i in range(40):
        changing.same(post(f"/routes/r{i}?how={('get', 'included', 'first', 'thread')[i % 4]}"))
        prefix = "/included" if i % 4 == 1 else ""
        assert changing.same(get(f"{prefix}/added/r{i}?q={i}")).status == 200
    for i in range(40):
        prefix = "/included" if i % 4 == 1 else ""
        assert changing.same(get(f"{prefix}/added/r{i}?q={i}")).status == 200


BEFORE: dict[str, Case] = {
    "endpoint-has-no-effect": case(get("/before/endpoint"), 200, "as constructed"),
    "status-has-no-effect": case(get("/before/status"), 200, "as constructed"),
    "response-model-has-no-effect": case(get("/before/response-model"), 200, '{"as":1}'),
    "dependencies-have-no-effect": case(get("/before/dependencies"), 200, "as constructed"),
    "call-has": case(get("/before/call"), 200, "another"),
    "methods-have": case(get("/before/methods"), 405, "allow: "),
    "methods-have-a-new-one": case(method("PUT", "/before/methods"), 200, "as constructed"),
    "app-has": case(get("/before/app"), 200, "raw"),
    "handle-has": case(get("/before/handle"), 200, "raw"),
    "path-regex-has": case(get("/Before/PATH/x"), 200, "x"),
    "path-regex-has-for-the-path-as-it-stands": case(get("/before/path/x"), 200, "x"),
    "path-regex-has-for-a-literal": case(get("/BEFORE/literal"), 200, "as constructed"),
    "path-regex-has-for-a-literal-as-it-stands": case(get("/before/literal"), 200, "as constructed"),
}


@table(BEFORE)
def test_the_inside_of_a_route_changed_before_the_start(changing: Pair, case: Case) -> None:
    changing.check(case)


@pytest.mark.parametrize(
    ("how", "status", "shows"),
    [
        ("endpoint", 200, "inside"),
        ("status", 200, "inside"),
        ("response_class", 200, "application/json"),
        ("call", 200, "another"),
        ("methods", 405, "DELETE"),
        ("app", 200, "raw"),
    ],
)
def test_the_inside_of_a_route(changing: Pair, how: str, status: int, shows: str) -> None:
    ask(changing, get("/inside"), shows="inside")
    changing.same(post(f"/inside/{how}"))
    ask(changing, get("/inside"), status=status, shows=shows)
    changing.same(post("/inside/undo"))
    ask(changing, get("/inside"), shows="inside")


def test_handlers_that_come_too_late_are_not_called(changing: Pair) -> None:
    ask(changing, get("/late-error"), status=500)
    changing.same(post("/handlers"))
    ask(changing, get("/late-error"), status=500)


def test_middleware_comes_too_late(changing: Pair) -> None:
    assert changing.same(post("/middleware")).status == 500
    ask(changing, *EVERYWHERE)


def test_the_schema_follows_the_routes_until_it_was_asked_for(changing: Pair) -> None:
    ask(changing, get("/openapi.json"), shows="/tree")
    changing.same(json_post("/routes/x", {}))
    ask(changing, get("/openapi.json"), shows="/tree")
