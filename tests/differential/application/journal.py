"""What happened in a request, in order: every function of the application writes it down here.

A client opens a journal, sends its request, and reads the journal. The journal that is open when a request first notes
something is that request's, also for what it notes later.
"""

from __future__ import annotations

import json
import threading
from contextvars import ContextVar

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

_open = ""
_journals: dict[str, list[str]] = {}
_late: list[str] = []
_mine: ContextVar[str | None] = ContextVar("journal", default=None)
_loop_thread = 0
_running = 0


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
    # Ends a journal and opens the next; before that, says whether what is waited for is there.
    global _open, _loop_thread
    _loop_thread = threading.get_ident()
    journal = request.path_params["journal"]
    events = _journals.get(journal, [])
    query = request.query_params
    if "until" in query:
        return JSONResponse(events, 200 if query["until"] in events else 202)
    if ("idle" in query and _running) or ("like" in query and query["like"] != json.dumps(events)):
        return JSONResponse(events, 202)
    _journals.pop(journal, None)
    _open = query["next"]
    _journals[_open] = []
    late = _late.copy()
    _late.clear()
    return JSONResponse({"events": events, "late": late})


class Counted:
    """An application around another, that knows whether requests are running.

    The journal of a request is the one that is open when it begins.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        global _running
        if scope["type"] != "http" or scope["path"].startswith("/journal/"):
            await self.app(scope, receive, send)
            return
        _mine.set(_open)
        _running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            _running -= 1


def add_journal(app: FastAPI) -> None:
    """Lets clients read the journal, by a route that FastAPI knows nothing of."""
    app.router.routes.append(Route("/journal/{journal}", _read))
