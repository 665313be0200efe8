"""The requests that each instrument sees, on both servers."""

from __future__ import annotations

import re

import pytest

from tests.instruments.recorded import Ask, Pair

PARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}

ASKED = {
    "async": Ask("GET", "/", 200),
    "query": Ask("GET", "/?a=1&sig=secret", 200),
    "within-a-trace": Ask("GET", "/", 200, PARENT),
    "sync": Ask("GET", "/sync/3", 200),
    "dependencies": Ask("GET", "/depends?q=given", 200),
    "body": Ask("POST", "/items/2", 200, JSON, b'{"name": "n"}'),
    "form": Ask("POST", "/form", 200, FORM, b"name=n&size=2"),
    "included": Ask("GET", "/outer/included/here/7?q=x", 201),
    "included-fails": Ask("GET", "/outer/included/here/fails/all", 500),
    "included-http-503": Ask("GET", "/outer/included/here/fails/answered", 503),
    "invalid": Ask("GET", "/sync/x", 422),
    "invalid-body": Ask("POST", "/items/2", 422, JSON, b'{"size": "x"}'),
    "invalid-and-valid": Ask("POST", "/items/x", 422, JSON, b'{"name": "n"}'),
    "no-json": Ask("POST", "/items/2", 422, JSON, b"{"),
    "not-as-json": Ask("POST", "/items/2", 422, {"content-type": "text/plain"}, b'{"name": "n"}'),
    "no-body": Ask("POST", "/items/2", 422),
    "wrong-answer": Ask("GET", "/wrong-answer", 500),
    "unserializable": Ask("GET", "/nan", 500),
    "http-404": Ask("GET", "/missing", 404),
    "http-503": Ask("GET", "/unavailable", 503),
    "fails": Ask("GET", "/fails", 500),
    "fails-sync": Ask("GET", "/fails-sync", 500),
    "fails-in-dependency": Ask("GET", "/fails-in-dependency", 500),
    "handled": Ask("GET", "/odd", 418),
    "response": Ask("GET", "/plain", 200),
    "background": Ask("GET", "/background", 200),
    "stream": Ask("GET", "/lines", 200),
    "nothing-there": Ask("GET", "/nowhere", 404),
    "wrong-method": Ask("DELETE", "/", 405),
    "redirect": Ask("GET", "/plain/", 307),
}

# Why a plan leaves some of them to FastAPI's router.
OTHERS = {"404", "405", "404 or 405", "a redirect"}

each = pytest.mark.parametrize("ask", [pytest.param(ask, id=name) for name, ask in ASKED.items()])


def assert_plans_answer(both: Pair, observers: str) -> None:
    """All routes are compiled while `observers` look, and plans answer what they can. Ends the server."""
    compiled = re.search(rf"Compiled (\d+) of (\d+) routes, observed by {observers}$", both.overdrive.served.log, re.M)
    assert compiled is not None
    assert compiled[1] == compiled[2]
    for ask in ASKED.values():
        both.overdrive.answer(ask)
    answered, handed_over = both.plans_answered()
    assert answered >= len(ASKED) - sum(handed_over.values())
    assert handed_over.keys() <= OTHERS
