"""State is shared and copied, and background tasks run, as with FastAPI."""

from __future__ import annotations

from tests.differential.pair import Case, Pair, case, table
from tests.differential.wire import get, json_post, method, post

STATE: dict[str, Case] = {
    "lifespan-state-is-copied-shallowly": case([get("/state/lifespan")] * 3, 200, '"number":2'),
    "lifespan-state-has-nothing-of-other-requests": case(
        [get("/state/lifespan"), get("/state/lifespan-in-thread")], 200, '[1,"lifespan",false]'
    ),
    "lifespan-state-replaced-for-one-request": case(
        [get("/state/lifespan-replaced"), get("/state/lifespan-in-thread")], 200, '[1,"lifespan"'
    ),
    "app-state": case([get("/state/app")] * 3, 200, '"same":true'),
    "app-state-missing": case(get("/state/app-missing"), 500),
    "contextvar-of-lifespan": case(get("/state/contextvar"), 200),
    "contextvar-of-an-earlier-task": case([get("/state/task"), get("/state/contextvar")], 200, '"unset"]'),
    "request-is-a-task": case(get("/state/task"), 200, '[true,["request","request"]]'),
    "background-in-order": case(post("/state/background"), 200, "told first True loop endpoint", "last"),
    "background-kinds": case(post("/state/background"), 200, "notifier third pool", "last"),
    "background-of-a-thread": case(post("/state/background-in-thread"), 200, "told second pool unset", "last"),
    "background-of-starlettes-class": case(post("/state/background-of-starlette"), 200, "background", "last"),
    "background-of-dependencies": case(post("/state/background-of-dependencies"), 200, "told of thread pool", "last"),
    "background-only-of-dependency": case(
        post("/state/background-only-of-dependency"), 200, "of dependency", "of dependency"
    ),
    "background-before-exits": case(
        post("/state/background-with-exits"), 200, "told while open False loop unset", "exit session open"
    ),
    "background-returned": case(post("/state/background-returned"), 200, "sent", "told returned False loop unset"),
    "background-returned-twice": case(post("/state/background-returned-twice"), 200, "{}", "told two pool unset"),
    "background-none": case(post("/state/background-none"), 200, "sent"),
    "background-not-when-invalid": case(json_post("/state/background-not-when-invalid", {}), 422),
    "background-not-when-raised": case(post("/state/background-not-when-raised"), 409, "exit session open"),
    "background-of-a-handler": case(post("/state/background-with-handler"), 409, "of handler", "of handler"),
    "background-after-204": case(method("DELETE", "/state/background-204"), 204, "last", "last"),
    "background-fails": case(post("/state/background-fails"), 200, "fails", "fails"),
    "background-adds-another": case(post("/state/background-adds"), 200, "last", "last"),
    "background-reads-the-request": case(
        post("/state/background-reads-request", b"body"), 200, "sent", "reads POST lifespan b'body'"
    ),
}


@table(STATE)
def test_state(both: Pair, case: Case) -> None:
    both.check(case)
