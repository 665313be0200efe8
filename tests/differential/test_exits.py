"""Dependencies that yield are left in FastAPI's order, whatever is raised on either side of the yield."""

from __future__ import annotations

from tests.differential.pair import Case, Pair, case, table
from tests.differential.wire import get, json_post

OPEN = "exit session open"
SYNC = "exit sync session pool"

EXITS: dict[str, Case] = {
    "order": case(get("/exits/order"), 200, "response sent", OPEN),
    "order-in-thread": case(get("/exits/order-in-thread"), 200, "endpoint pool open", OPEN),
    "order-with-model": case(get("/exits/order-model"), 200, "exit brief", OPEN),
    "order-streamed": case(get("/exits/order-streamed"), 200, "streams b open", OPEN),
    "endpoint-returns": case(get("/exits/fails/no"), 200, "endpoint", OPEN),
    "endpoint-raises-http-exception": case(get("/exits/fails/http"), 418, "session sees HTTPException", OPEN),
    "endpoint-raises-handled": case(
        get("/exits/fails/custom"), 409, "handler of the application", "handler of the application"
    ),
    "endpoint-raises-fault": case(get("/exits/fails/value"), 500, "sync session sees ValueError pool", OPEN),
    "endpoint-raises-group": case(get("/exits/fails/group"), 500, "brief sees ExceptionGroup", OPEN),
    "endpoint-raises-stop": case(get("/exits/fails/stop"), 500, "session sees", OPEN),
    "endpoint-raises-timeout": case(get("/exits/fails/timeout"), 500, "session sees TimeoutError", OPEN),
    "endpoint-raises-base-exception": case(get("/exits/fails/base"), 500, "session sees KeyboardInterruptLike", OPEN),
    "endpoint-in-thread-raises-base-exception": case(get("/exits/fails-in-thread/base"), 500, "brief sees Keyb", OPEN),
    "plain-endpoint-raises-base-exception": case(get("/exits/plain-fails/base"), 500),
    "raises-before-yield-base-exception": case(get("/exits/raises-before/base"), 500, "session sees Keyb", OPEN),
    "endpoint-in-thread-raises-http-exception": case(
        get("/exits/fails-in-thread/http"), 418, "brief sees HTTPExcept", OPEN
    ),
    "endpoint-in-thread-raises-handled": case(get("/exits/fails-in-thread/custom"), 409, "x-handled", OPEN),
    "endpoint-in-thread-raises-fault": case(get("/exits/fails-in-thread/value"), 500, "session sees ValueError", OPEN),
    "plain-endpoint-raises-group": case(get("/exits/plain-fails/group"), 500),
    "plain-endpoint-raises-stop": case(get("/exits/plain-fails/stop"), 500),
    "plain-endpoint-raises-handled": case(get("/exits/plain-fails/custom"), 409, "handler"),
    "wrong-body-is-seen-by-all": case(
        json_post("/exits/validates", {}), 422, "sync session sees RequestValidationError", OPEN
    ),
    "right-body": case(json_post("/exits/validates", {"name": "n"}), 200, "exit brief", OPEN),
    "unparsable-body-opens-nothing": case(json_post("/exits/validates", b"{"), 422, "json_invalid"),
    "wrong-answer-is-seen": case(get("/exits/wrong-answer"), 500, "brief sees ResponseValidationError", OPEN),
    "unserializable-answer-is-seen": case(get("/exits/not-serializable"), 500, "brief sees", OPEN),
    "infinite-answer-is-seen": case(get("/exits/infinite"), 500, "brief sees ValueError", OPEN),
    "surrogate-in-answer-is-seen": case(get("/exits/surrogate"), 500, "brief sees UnicodeEncodeError", OPEN),
    "validation-error-turned": case(json_post("/exits/turned", {}), 400, "turned 1 errors of {}"),
    "http-exception-turned": case(json_post("/exits/turned?how=http", {"name": "n"}), 419, "turned 418"),
    "fault-turned": case(json_post("/exits/turned?how=value", {"name": "n"}), 409, "turned value"),
    "nothing-to-turn": case(json_post("/exits/turned", {"name": "n"}), 200),
    "turned-into-what-is-handled": case(json_post("/exits/turned?how=custom", {"name": "n"}), 409, "handler of the"),
    "unparsable-body-is-not-turned": case(json_post("/exits/turned", b"{"), 422),
    "turned-in-function-scope": case(json_post("/exits/turned-in-function", {}), 400, "turned"),
    "turned-http-exception-in-function-scope": case(
        json_post("/exits/turned-in-function?how=http", {"name": "n"}), 419, "turned 418"
    ),
    "turned-in-thread": case(json_post("/exits/turned-in-thread", {}), 400, "turned pool"),
    "turned-response-validation": case(get("/exits/turned-response"), 409, "turned response"),
    "turned-twice": case(json_post("/exits/turned-twice", {}), 401, "turned 400"),
    "swallowed-http-exception": case(get("/exits/swallowed/http"), 500, "swallowed HTTPException"),
    "swallowed-fault": case(get("/exits/swallowed/value"), 500, "swallowed ValueError"),
    "swallowed-nothing": case(get("/exits/swallowed/no"), 200),
    "swallowed-in-function-scope": case(get("/exits/swallowed-in-function/http"), 500, "swallowed HTTPException"),
    "swallowed-in-thread": case(get("/exits/swallowed-in-thread/value"), 500, "swallowed ValueError"),
    "swallowed-validation-error": case(get("/exits/swallowed-number/x"), 500, "swallowed RequestValidationError"),
    "raises-before-yield-http": case(get("/exits/raises-before/http"), 418, "session sees HTTPException", OPEN),
    "raises-before-yield-fault": case(get("/exits/raises-before/value"), 500, "session sees ValueError", OPEN),
    "raises-before-yield-handled": case(get("/exits/raises-before/custom"), 409, "session sees Custom", OPEN),
    "raises-before-yield-not": case(get("/exits/raises-before/no"), 200, "after yield", OPEN),
    "raises-before-yield-in-function-scope": case(
        get("/exits/raises-before-in-function/http"), 418, "brief sees HTTPException", OPEN
    ),
    "raises-after-yield-http": case(get("/exits/raises-after/http"), 200, "session sees HTTPException", OPEN),
    "raises-after-yield-handled": case(get("/exits/raises-after/custom"), 200, "session sees Custom", OPEN),
    "raises-after-yield-fault": case(get("/exits/raises-after/value"), 200, "session sees ValueError", OPEN),
    "raises-after-yield-in-function-scope-http": case(
        get("/exits/raises-after-in-function/http"), 418, "brief sees HTTPException", OPEN
    ),
    "raises-after-yield-in-function-scope-handled": case(
        get("/exits/raises-after-in-function/custom"), 409, "x-handled", OPEN
    ),
    "raises-after-yield-in-function-scope-fault": case(
        get("/exits/raises-after-in-function/value"), 500, "session sees ValueError", OPEN
    ),
    "raises-after-yield-in-thread": case(get("/exits/raises-after-in-thread/http"), 200, "session sees HTTPExc", OPEN),
    "raises-after-yield-in-thread-in-function-scope": case(
        get("/exits/raises-after-in-thread-in-function/http"), 418, "teapot", OPEN
    ),
    "raises-in-endpoint-and-after-yield": case(get("/exits/raises-both/http"), 418, "session sees HTTPException", OPEN),
    "raises-in-endpoint-and-a-fault-after-yield": case(
        get("/exits/raises-both/value?own=http"), 500, "session sees ValueError", OPEN
    ),
    "raises-in-endpoint-and-handled-after-yield": case(
        get("/exits/raises-both/custom?own=http"), 409, "session sees Custom", OPEN
    ),
    "never-yields": case(get("/exits/never-yields"), 500, "never yields"),
    "yields-twice": case(get("/exits/yields-twice"), 200, "again", "again"),
    "never-yields-in-thread": case(get("/exits/sync-never-yields"), 500),
    "yields-twice-in-thread": case(get("/exits/sync-yields-twice"), 200, "again", "again"),
    "entered-twice-in-two-scopes": case(get("/exits/two-scopes"), 200, "enter brief", "exit outer"),
    "cached": case(get("/exits/cached"), 200, "enter unit", OPEN),
    "uncached": case(get("/exits/uncached"), 200, "enter session", "exit outer"),
    "callable-instances": case(get("/exits/callable-instances"), 200, "enter opener", "exit opener"),
    "found-stacks": case(get("/exits/found-stacks/no"), 200, "exit pushed to fastapi_inner_astack", "exit outer"),
    "found-stacks-in-a-failure": case(
        get("/exits/found-stacks/http"), 418, "fastapi_function_astack, sees HTTPException", OPEN
    ),
    "found-stacks-that-swallow": case(
        get("/exits/found-stacks/value?swallowed=fastapi_function_astack"), 500, "sees ValueError", OPEN
    ),
    "found-stacks-that-swallow-at-the-end": case(
        get("/exits/found-stacks/value?swallowed=fastapi_inner_astack"), 500, "sees ValueError", "exit outer"
    ),
    "headers-set-after-yield-are-late": case(get("/exits/late-headers"), 200, "x-entered"),
    "headers-set-after-yield-in-function-scope": case(get("/exits/late-headers-in-function"), 200, "x-entered"),
    "task-added-after-yield-in-function-scope": case(
        get("/exits/late-task-in-function"), 200, "late background", "late background"
    ),
    "task-added-after-yield-is-late": case(get("/exits/late-task"), 200, "added late", "added late"),
    "task-group-around-the-endpoint": case(get("/exits/task-group"), 200, "task of the scope", "left scope"),
    "deadline-around-the-endpoint": case(get("/exits/deadline"), 500, "cancelled True"),
    "contextvars-across-the-yield": case(
        get("/exits/contextvars"), 200, "endpoint open", "exit session changed by endpoint"
    ),
    "contextvars-across-the-yield-in-thread": case(get("/exits/contextvars-in-thread"), 200, "endpoint open", OPEN),
    "background-fails-after-the-response": case(get("/exits/background-fails"), 200, "background fails", OPEN),
    "background-raises-http-after-the-response": case(
        get("/exits/background-raises-http"), 200, "session sees HTTPException", OPEN
    ),
}


@table(EXITS)
def test_exits(both: Pair, case: Case) -> None:
    both.check(case)
