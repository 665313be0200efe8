"""The kitchen example gives the same answers under uvicorn and, every route of it compiled, under overdrive."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.compiled.exchange import Answer, Request, json_request, send
from tests.conftest import Serve, Served

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
# Nobody cooks, so that nothing changes but by the session.
CLOSED = {"KITCHEN_COOKS": "0", "PYTHONHASHSEED": "0"}
TIME = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)?")

SESSION = [
    Request("/"),
    Request("/orders"),
    json_request("/orders", {"guest": "Anna", "dish": "soup"}),
    json_request("/orders", {"guest": "Ben", "dish": "pie", "portions": 3, "note": "hot"}),
    json_request("/orders", {"guest": "Ben", "dish": "stone", "portions": 13}),
    json_request("/orders", {"guest": "Ben", "dish": "pie", "extra": 1}),
    json_request("/orders", b"{"),
    Request("/orders"),
    Request("/orders?limit=1"),
    Request("/orders?limit=x"),
    Request("/orders/1"),
    Request("/orders/99"),
    Request("/orders/x"),
    Request("/orders/1", "DELETE"),
    Request("/orders/1", "DELETE"),
    Request("/orders/1"),
    Request("/orders/2", "PUT", (), b""),
    Request("/openapi.json"),
    Request("/nowhere"),
]


def session(served: Served) -> list[Answer]:
    return [send(served, request) for request in SESSION]


def timeless(answer: Answer) -> Answer:
    """Without the times that orders were placed at."""
    return Answer(answer.status, answer.reason, answer.headers, TIME.sub(b"TIME", answer.body))


def test_a_session_is_answered_alike(serve: Serve) -> None:
    overdrive = serve("kitchen.main:app", "--compile", "strict", app_dir=EXAMPLES, env=CLOSED)
    uvicorn = serve("kitchen.main:app", app_dir=EXAMPLES, env=CLOSED, command=[sys.executable, "-m", "uvicorn"])
    for request, ours, theirs in zip(SESSION, session(overdrive), session(uvicorn), strict=True):
        assert timeless(ours) == timeless(theirs), request
