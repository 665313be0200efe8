"""Exceptions reach the handlers that they would reach in FastAPI, with the same request, and make the same answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.differential.pair import Case, Pair, case, table
from tests.differential.wire import get, json_post, method, post

# Without handlers for FastAPI's own exceptions.
ERRORS: dict[str, Case] = {
    "http-with-detail": case(get("/errors/http/409?detail=x"), 409, '{"detail":"x"}'),
    "http-with-standard-detail": case(get("/errors/http/404"), 404, '{"detail":"Not Found"}'),
    "http-204": case(get("/errors/http/204"), 204),
    "http-205": case(get("/errors/http/205"), 205),
    "http-304": case(get("/errors/http/304"), 304),
    "http-200": case(get("/errors/http/200?detail=fine"), 200, "fine"),
    "http-500": case(get("/errors/http/500"), 500, '{"detail":"Internal Server Error"}'),
    "http-599-has-no-standard-detail": case(get("/errors/http/599"), 599, '{"detail":""}'),
    "http-599-with-detail": case(get("/errors/http/599?detail=x"), 599),
    "http-in-thread": case(get("/errors/http-in-thread/403"), 403, "Forbidden"),
    "http-of-starlette": case(get("/errors/http-of-starlette"), 409, "x-own: yes"),
    "http-detail-of-json": case(get("/errors/http-detail"), 400, "application/problem+json"),
    "http-detail-unserializable": case(get("/errors/http-detail-unserializable"), 500),
    "http-detail-nan": case(get("/errors/http-detail-nan"), 500),
    "handled": case(get("/errors/base"), 420, "handler Base base"),
    "handled-by-the-handler-of-the-base": case(get("/errors/derived"), 420, "handler Derived derived"),
    "handled-from-a-thread": case(get("/errors/derived-in-thread"), 420, "handler Derived"),
    "handled-in-a-thread": case(get("/errors/threaded"), 421, "handler pool outside"),
    "handler-raises-http-exception": case(get("/errors/failing?how=http"), 422, "handler fails"),
    "handler-raises-what-is-handled": case(get("/errors/failing?how=base"), 420, "handler Base from a handler"),
    "handler-raises-a-fault": case(get("/errors/failing?how=value"), 500, "handler fails"),
    "handler-returns-no-response": case(get("/errors/strange"), 500),
    "unhandled": case(get("/errors/unhandled"), 500, "session sees Unhandled"),
    "unhandled-in-thread": case(get("/errors/unhandled-in-thread"), 500),
    "cause-is-kept": case(get("/errors/cause"), 420, "ValueError('cause')"),
    "validation-error-of-pydantic-is-a-fault": case(get("/errors/own-validation-error"), 500),
    "own-request-validation-error": case(get("/errors/own-request-validation-error"), 422, '"loc":["own"]'),
    "fastapi-error": case(get("/errors/fastapi-error"), 500),
    "wrong-answer": case(get("/errors/wrong-answer"), 500),
    "handler-sees-contextvars": case(get("/errors/contextvar"), 420, "handler Base contextvar within"),
    "handler-in-thread-sees-contextvars": case(get("/errors/contextvar-in-thread"), 421, "handler pool within"),
    "handler-sees-the-request-of-the-dependency": case(get("/errors/state"), 420, "by dependency"),
    "injected-headers-are-lost": case(get("/errors/injected"), 420, "handler Base injected"),
    "body-then-http-exception": case(json_post("/errors/body-then-http", {"name": "n"}), 409, '{"detail":"n"}'),
}

# With handlers for everything, in an application with dependencies, limits and a response class throughout.
HANDLED: dict[str, Case] = {
    "validation-handler-reads-the-body": case(json_post("/errors/body", {"size": "x"}), 400, 'raw b\'{"size"'),
    "validation-handler-reads-a-broken-body": case(json_post("/errors/body", b"{"), 400, "raw b'{'"),
    "validation-handler-without-body": case(post("/errors/body"), 400, "body None"),
    "validation-handler-with-everything-wrong": case(
        json_post("/errors/body-and-more/x?q=y", {"size": "x"}), 400, "exit session open"
    ),
    "validation-handler-for-params": case(get("/params/many?a=x"), 400, "validation 5"),
    "validation-handler-returns-the-standard": case(
        post("/errors/body", b"{}", ("content-type", "application/json"), ("x-standard", "1")), 422, '"missing"'
    ),
    "bad-utf8-is-an-http-exception": case(json_post("/errors/body", b'"\xff"'), 400, "http 400"),
    "http-handler": case(get("/errors/http/409?detail=x"), 409, "x-handled: http"),
    "http-handler-204": case(get("/errors/http/204"), 204, "x-handled: http"),
    "http-handler-with-headers": case(get("/errors/http-of-starlette"), 409, "x-own: yes"),
    "http-handler-from-a-thread": case(get("/errors/http-in-thread/403"), 403, "http 403"),
    "http-handler-from-an-exit": case(
        get("/exits/raises-after-in-function/http"), 418, "x-handled: http", "exit session open"
    ),
    "http-handler-too-late": case(get("/exits/raises-after/http"), 200, "session sees HTTP", "exit session open"),
    "status-handler-of-the-endpoint": case(get("/errors/not-found"), 404, "404 HTTPException an item"),
    "status-handler-of-no-route": case(get("/nowhere"), 404, "nothing at /nowhere"),
    "status-handler-of-a-method": case(method("DELETE", "/own/item"), 405, "allow"),
    "status-handler-of-a-method-in-thread": case(method("PATCH", "/errors/body"), 405, "405 pool"),
    "response-handler": case(get("/errors/wrong-answer"), 502, "response 2"),
    "response-handler-raised": case(get("/errors/raises-response-validation"), 502, "response 1 None"),
    "pydantic-handler": case(get("/errors/own-validation-error"), 503, "pydantic 1 pool"),
    "own-handler-still": case(get("/errors/derived"), 420, "handler Derived"),
    "handler-raises-http-exception": case(get("/errors/failing?how=http"), 422, "http 422 'from a handler'"),
    "handler-fails-then-the-500-handler": case(get("/errors/failing?how=value"), 500, "anything ValueError"),
    "handler-returns-no-response": case(get("/errors/strange"), 500, "anything TypeError"),
    "500-handler": case(get("/errors/unhandled"), 500, "anything Unhandled"),
    "500-handler-from-a-thread": case(get("/errors/unhandled-in-thread"), 500, "x-handled: 500"),
    "500-handler-for-a-group": case(get("/exits/plain-fails/group"), 500, "anything ExceptionGroup"),
    "500-handler-for-swallowed": case(get("/exits/swallowed/value"), 500, "anything FastAPIError"),
    "500-handler-for-unserializable": case(get("/exits/surrogate"), 500, "anything UnicodeEncodeError"),
    "500-handler-not-for-base-exceptions": case(get("/exits/plain-fails/base"), 500, "Internal Server Error"),
    "500-handler-too-late": case(
        get("/exits/raises-after/value"), 200, "session sees ValueError", "anything ValueError"
    ),
    "app-dependency-first": case(get("/own/item"), 200, "for all GET '/proxied'"),
    "app-response-class": case(get("/own/item"), 200, "spaced"),
    "app-response-class-with-model": case(get("/own/item-with-slash/"), 200, '"float": 1e-07'),
    "app-response-class-with-body": case(json_post("/own/item", {"name": "n"}), 200, '"name": "n"'),
    "app-does-not-redirect-slashes": case(get("/own/item/"), 404, "nothing at /own/item/"),
    "app-does-not-redirect-to-slashes": case(get("/own/item-with-slash"), 404),
    "app-root-path-in-the-target": case(get("/proxied/own/item"), 200, "'/proxied'"),
    "app-root-path-twice": case(get("/proxied/proxied/own/item"), 404),
    "app-root-path-alone": case(get("/proxied"), 404),
    "app-takes-json-without-a-type": case(post("/own/item", b'{"name": "n"}'), 200, '"name": "n"'),
    "app-takes-no-json-of-another-type": case(
        post("/own/item", b'{"name": "n"}', ("content-type", "text/plain")), 400, "validation 1"
    ),
    "app-takes-no-broken-json-without-a-type": case(post("/own/item", b"{"), 400, "validation 1"),
    "app-dependency-beside-a-turned-error": case(json_post("/exits/turned", {}), 400, "http 400"),
    "app-openapi": case(get("/openapi.json"), 200, '"/proxied"'),
    "app-without-docs": case(get("/docs"), 404, "nothing at /docs"),
}


@pytest.fixture
def handled(pair_of: Callable[..., Pair]) -> Pair:
    """The application that handles everything."""
    return pair_of("handled")


@table(ERRORS)
def test_errors(both: Pair, case: Case) -> None:
    both.check(case)


@table(HANDLED)
def test_handled(handled: Pair, case: Case) -> None:
    handled.check(case)
