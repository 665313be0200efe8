"""`@app.middleware("http")`: what dispatch functions may do, and what they and the endpoint see of each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.differential.pair import Pair
from tests.differential.wire import Request, get, json_post, post

DOES = re.findall(r'case "([a-z-]+)":', (Path(__file__).parent / "application" / "dispatching.py").read_text())
ASKED: dict[str, Request] = {
    "dict": get("/dict"),
    "no-request": get("/no-request"),
    "def": get("/def"),
    "task": get("/task"),
    "session": get("/session"),
    "background": get("/background"),
    "slow": get("/slow"),
    "body": post("/body", b"abc"),
    "body-in-pieces": post("/body", (b"abc", b"def")),
    "model": json_post("/model", {"a": 1}),
    "invalid": json_post("/model", {"a": "x"}),
    "stream": get("/stream"),
    "failing-stream": get("/stream?fails=1"),
    "failure": get("/failure"),
    "known": get("/known"),
    "http": get("/http"),
    "cancelled": get("/cancelled"),
    "empty": get("/empty"),
    "no-route": get("/nowhere"),
}


@pytest.mark.parametrize("what", ["", *DOES])
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("app", ["dispatching", "dispatching_twice"])
def test_dispatch(pair_of: Callable[..., Pair], app: str, asked: str, what: str) -> None:
    pair_of(app, "counted").same_whatever(ASKED[asked].with_headers(("x-do", what)))
