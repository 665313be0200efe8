"""Dependencies run in FastAPI's order, see what they would see, and fail as they would."""

from __future__ import annotations

from tests.differential.pair import Case, Pair, case, table
from tests.differential.wire import cookies, get, json_post, post

AUTH = ("authorization", "x")

TREES: dict[str, Case] = {
    "post-order": case(get("/trees/post-order?a=5&b=6&c=7&d=8"), 200, "middle leaf=5 b=6"),
    "post-order-error-at-the-leaf": case(get("/trees/post-order?a=x&b=6&c=7&d=8"), 422, "b validated 6"),
    "post-order-error-in-the-middle": case(get("/trees/post-order?b=x&d=8"), 422, "leaf a=1"),
    "post-order-error-in-a-thread": case(get("/trees/post-order?c=x&d=8"), 422, "middle leaf=1 b=2"),
    "post-order-error-at-the-top": case(get("/trees/post-order?d=x"), 422, "threaded middle=3 c=3 pool"),
    "post-order-errors-everywhere": case(get("/trees/post-order?a=x&b=x&c=x&d=x"), 422),
    "post-order-in-thread": case(get("/trees/post-order-in-thread"), 200, "endpoint pool"),
    "post-order-in-thread-error": case(get("/trees/post-order-in-thread?d=x"), 422, "threaded"),
    "own-parameters-after-children": case(
        json_post("/trees/post-order-body/1?q=2", {"name": "n"}, ("h", "3"), cookies("c=4")), 200, "body validated n"
    ),
    "own-parameters-wrong-after-children": case(
        json_post("/trees/post-order-body/x?q=x", {"size": "x"}, ("h", "x"), cookies("c=x")), 422, "middle leaf=1 b=2"
    ),
    "child-wrong-own-body-still-validated": case(
        json_post("/trees/post-order-body/1?a=x", {"name": "n", "size": "x"}), 422, "body validated n"
    ),
    "broken-body-before-any-dependency": case(json_post("/trees/post-order-body/1", b"{"), 422, "json_invalid"),
    "unreadable-body-before-any-dependency": case(json_post("/trees/post-order-body/1", b'"\xff"'), 400),
    "siblings": case(get("/trees/siblings?x=1&y=2"), 200, "parent"),
    "error-in-first-sibling-runs-the-second": case(get("/trees/siblings?y=2"), 422, "second sibling"),
    "error-in-second-sibling-runs-the-uncle": case(get("/trees/siblings?x=1"), 422, "uncle"),
    "errors-in-both-siblings": case(get("/trees/siblings?own=x"), 422, "uncle"),
    "failed-node-is-not-cached": case(get("/trees/error-twice?own=x"), 422),
    "node-called-once-when-right": case(get("/trees/error-twice?x=1"), 200, "first sibling"),
    "dependencies-of-the-route": case(get("/trees/no-parameters?x=1"), 200, "first sibling"),
    "dependencies-of-the-route-wrong": case(get("/trees/no-parameters"), 422, "uncle"),
    "kinds-of-callables": case(get("/trees/kinds?n=9"), 200, "constructed pool"),
    "kinds-of-callables-defaults": case(get("/trees/kinds"), 200, "class method4"),
    "kinds-of-callables-wrong": case(get("/trees/kinds?n=x"), 422, "int_parsing"),
    "cached-once": case(get("/trees/cached"), 200, '"same":true'),
    "cached-parameters-wrong": case(get("/trees/cached?tag=1"), 200),
    "use-cache-false": case(get("/trees/uncached"), 200, '{"ab":false,"ac":true}'),
    "use-cache-false-still-fills-the-cache": case(get("/trees/uncached-first"), 200, '"same":true'),
    "uncached-child-of-cached-parent-runs-again": case(get("/trees/cached-parent-uncached-child"), 200, '"same":true'),
    "parameters-of-cached-node-validated-again": case(get("/trees/cached-parameters-again?n=4"), 200, "n validated 4"),
    "parameters-of-cached-node-wrong-twice": case(get("/trees/cached-parameters-again?n=x"), 422),
    "falsy-value-is-cached": case(get("/trees/cached-none"), 200, "[0,0]"),
    "contextvar-set-in-coroutine-is-seen": case(get("/trees/contextvar-coroutine"), 200, '["coroutine","coroutine"'),
    "contextvar-set-in-thread-is-not-seen": case(get("/trees/contextvar-thread"), 200, '["unset","unset",[]]'),
    "contextvar-set-in-both": case(get("/trees/contextvar-both"), 200, "thread sees coroutine"),
    "contextvar-seen-by-validator": case(get("/trees/contextvar-validator?n=1"), 200, "validator sees coroutine loop"),
    "contextvar-of-another-request-is-gone": case(
        [get("/trees/contextvar-coroutine"), get("/trees/contextvar-both"), get("/trees/contextvar-clean")],
        200,
        '["unset",[]]',
    ),
    "path-params-changed-by-dependency": case(get("/trees/meddled-path/1"), 200, "41"),
    "query-changed-by-dependency": case(get("/trees/meddled-query?q=1"), 200, "changed"),
    "query-changed-after-it-was-read": case(get("/trees/meddled-query-read?q=1"), 200, '"1"'),
    "headers-changed-by-dependency": case(get("/trees/meddled-headers"), 200),
    "scope-replaced-by-dependency": case(get("/trees/meddled-everything/1"), 200),
    # FastAPI takes no notice of `use_cache` where a dependency has no parameter to go to.
    "request-state-between-nodes": case([get("/trees/request-state")] * 2, 200, '["ann",1,false]'),
    "special-parameters-are-shared": case(get("/trees/special"), 203, "same object True", "background of endpoint"),
    "unauthenticated-before-a-wrong-body": case(json_post("/trees/guarded", {"size": "x"}), 401, "authenticated"),
    "authenticated-then-a-wrong-body": case(json_post("/trees/guarded", {"size": "x"}, AUTH), 422),
    "authenticated-and-right": case(json_post("/trees/guarded", {"name": "n"}, AUTH), 200, "body validated n"),
    "unauthenticated-with-unparsable-body": case(json_post("/trees/guarded", b"{"), 422, "json_invalid"),
    "unauthenticated-deep": case(json_post("/trees/guarded-deep?n=x", {"size": "x"}), 401),
    "authenticated-deep-wrong": case(json_post("/trees/guarded-deep?n=x", {"size": "x"}, AUTH), 422),
    "from-thread-back-to-the-loop": case(get("/trees/from-thread"), 200, "back in loop sees in thread"),
    "to-thread-from-the-loop": case(get("/trees/to-thread"), 200, "pool"),
    "waits-with-scopes-and-tasks": case(get("/trees/waits"), 200, "back in loop"),
    "raises-http-exception": case(get("/trees/raising?how=http"), 418, "x-pot: tea"),
    "raises-a-fault": case(get("/trees/raising?how=value"), 500),
    "raises-nothing": case(get("/trees/raising?how=no"), 200, "uncle"),
    "raises-in-thread-http-exception": case(get("/trees/raising-in-thread?how=http"), 418, "I'm a Teapot"),
    "raises-in-thread-a-fault": case(get("/trees/raising-in-thread?how=value"), 500),
    "raises-in-thread-stop-iteration": case(get("/trees/raising-in-thread?how=stop"), 500),
    "nested-lambdas": case(get("/trees/deep/x?values=1&values=2"), 200, '["x",[1,2]]'),
    "bodies-of-endpoint-and-dependency": case(json_post("/trees/bodies-of-both", {"extra": 1, "own": 2}), 200, "[1,2]"),
    "bodies-of-endpoint-and-dependency-wrong": case(json_post("/trees/bodies-of-both", {"extra": "x"}), 422),
    "same-body-in-endpoint-and-dependency": case(json_post("/trees/same-body-in-both", {"extra": 1}), 200, "extra 1"),
    "same-body-missing": case(post("/trees/same-body-in-both"), 200),
    "many-threads-in-order": case(get("/trees/many"), 200, "[1,2,3,4,5,6]"),
}


@table(TREES)
def test_trees(both: Pair, case: Case) -> None:
    both.check(case)
