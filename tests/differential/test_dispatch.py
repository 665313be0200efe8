"""`@app.middleware("http")`: what dispatch functions may do, and what they and the endpoint see of each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.differential.pair import Pair, Story
from tests.differential.wire import Request, get, json_post, post

APPS = ["dispatching", "dispatching_nested", "dispatching_twice"]
# What does nothing to a quick answer, and depends on the machine.
WAITING = {"timeout", "move-on"}
DOES = re.findall(r'case "([a-z-]+)":', (Path(__file__).parent / "application" / "dispatching.py").read_text())
ASKED: dict[str, Request] = {
    "dict": get("/dict"),
    "no-request": get("/no-request"),
    "def": get("/def"),
    "task": get("/task"),
    "session": get("/session"),
    "background": get("/background"),
    "slow": get("/slow"),
    "scoped": get("/scoped"),
    "body": post("/body", b"abc"),
    "body-in-pieces": post("/body", (b"abc", b"def")),
    "model": json_post("/model", {"a": 1}),
    "invalid": json_post("/model", {"a": "x"}),
    "stream": get("/stream"),
    "endless": get("/endless"),
    "failing-stream": get("/stream?fails=1"),
    "failure": get("/failure"),
    "known": get("/known"),
    "http": get("/http"),
    "cancelled": get("/cancelled"),
    "empty": get("/empty"),
    "no-route": get("/nowhere"),
}


# What reads the body itself. In how many pieces a stream comes is each server's own affair.
READERS = {"read-body", "read-json", "read-stream", "read-one-chunk", "other-request"}
# How far a stream gets that nobody reads is a matter of the loop's turns.
ABANDONING = {"replace", "raise-after", "known-after", "nothing", "twice", "retry-after-failure"}
CASES = [
    *(("", asked) for asked in ASKED if asked != "endless"),
    *((what, asked) for what in DOES if what not in WAITING for asked in ("dict", "session", "failure")),
    *((what, "stream") for what in DOES if what not in ABANDONING | WAITING),
    *((what, "endless") for what in sorted(ABANDONING)),
    *((what, "model" if what == "read-json" else "body") for what in sorted(READERS)),
    ("read-body", "body-in-pieces"),
    ("read-body", "model"),
    ("read-stream", "model"),
    ("read-json", "invalid"),
    ("timeout", "slow"),
    ("move-on", "slow"),
    ("timeout", "scoped"),
    ("move-on", "scoped"),
    ("raise-after", "background"),
    ("replace", "background"),
    ("replace", "slow"),
    ("background", "background"),
    ("task", "task"),
    ("in-scope", "task"),
    ("swallow", "failing-stream"),
    ("swallow", "known"),
    ("swallow", "http"),
    ("iterate", "failing-stream"),
    ("change", "empty"),
    ("path", "no-route"),
]


@pytest.mark.parametrize(("what", "asked"), CASES)
@pytest.mark.parametrize("app", APPS)
def test_dispatch(pair_of: Callable[..., Pair], app: str, asked: str, what: str) -> None:
    pair_of(app, "counted").same_whatever(ASKED[asked].with_headers(("x-do", what)))


@pytest.mark.parametrize("app", APPS)
def test_a_client_that_leaves_ends_its_stream(pair_of: Callable[..., Pair], app: str) -> None:
    def story(told: Story) -> None:
        told.send("client", get("/stays"))
        told.wait_for("waits")
        told.leave("client")
        told.wait_for("exit session")

    pair_of(app, "counted").alike(story)


@pytest.mark.parametrize("app", APPS)
def test_an_endpoint_does_not_learn_that_its_client_has_left(pair_of: Callable[..., Pair], app: str) -> None:
    # Starlette loses the message: it asks within a cancelled scope.
    def story(told: Story) -> None:
        told.send("client", get("/patient"))
        told.wait_for("waits")
        told.leave("client")
        told.ask("other", get("/journal-gate"))
        told.wait_for("exit session")

    pair_of(app, "counted").alike(story)
