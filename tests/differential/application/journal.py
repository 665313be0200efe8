"""What happened in a request, in order: every function of the application writes it down here.

A client opens a journal, sends its request, and reads the journal. The journal that is open when a request first notes
something is that request's, also for what it notes later.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

_open = ""
_journals: dict[str, list[str]] = {}
_late: list[str] = []
_mine: ContextVar[str | None] = ContextVar("journal", default=None)
_loop_thread = 0


def note(event: object) -> None:
    """Writes an event into the journal of the running request. What happens before there is one is not written."""
    if not _open:
        return
    journal = _mine.get()
    if journal is None:
        journal = _open
        _mine.set(journal)
    if journal in _journals:
        _journals[journal].append(str(event))
    else:
        _late.append(f"{journal}: {event}")


def where() -> str:
    """Whether this runs on the thread of the event loop or on one of the pool."""
    return "loop" if threading.get_ident() == _loop_thread else "pool"


async def _read(request: Request) -> JSONResponse:
    # Says whether an event has come, or ends a journal and opens the next.
    global _open, _loop_thread
    _loop_thread = threading.get_ident()
    journal = request.path_params["journal"]
    events = _journals.get(journal, [])
    until = request.query_params.get("until")
    if until is not None:
        return JSONResponse(events, 200 if until in events else 202)
    _journals.pop(journal, None)
    _open = request.query_params["next"]
    _journals[_open] = []
    late = _late.copy()
    _late.clear()
    return JSONResponse({"events": events, "late": late})


def add_journal(app: FastAPI) -> None:
    """Lets clients read the journal, by a route that FastAPI knows nothing of."""
    app.router.routes.append(Route("/journal/{journal}", _read))
