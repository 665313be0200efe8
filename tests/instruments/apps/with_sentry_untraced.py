"""sentry-sdk as its guide has it: without tracing. What it holds for a request is recorded within each."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

import sentry_sdk
from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, StreamingResponse
from recorder import PrintedEnvelopes, record
from routes import add_routes
from sentry_sdk.session import Session
from sentry_sdk.tracing import Transaction
from starlette.background import BackgroundTask

# Other ones each time.
CHANGING = {"client", "start_timestamp", "_start_timestamp_monotonic_ns", "_trace_id", "_span_id"}


def shown(value: Any) -> Any:
    """What there is to see of an object of the SDK's."""
    slots = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
    return {name: cleaned(getattr(value, name, "absent")) for name in sorted(slots - CHANGING)}


def cleaned(value: Any) -> Any:
    """Without what is another one each time."""
    if isinstance(value, dict):
        return {key: cleaned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [type(one).__name__ if callable(one) else cleaned(one) for one in value]
    if isinstance(value, Session):
        return {"mode": value.session_mode, "status": value.status, "errors": value.errors, "of": value.release}
    if isinstance(value, float):
        # What is drawn for a sample.
        return 0 <= value < 1
    return re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b|sample_rand=0\.\d+", "...", repr(value))


async def note() -> None:
    """Records what the SDK holds for the request."""
    current, isolation = sentry_sdk.get_current_scope(), sentry_sdk.get_isolation_scope()
    span = current.transaction
    record("state", current=shown(current), isolation=shown(isolation), span=None if span is None else shown(span))
    headers = dict(current.iter_trace_propagation_headers())
    ids = {span.trace_id, isolation.get_trace_context()["trace_id"]} if span is not None else ()
    record("propagated", headers=cleaned(headers), traces=len(ids), version=[one[12] for one in ids])
    if span is not None:
        assert isinstance(span, Transaction)
        record("span", text=cleaned(span), baggage=cleaned(span.to_baggage().serialize()))
    sentry_sdk.set_user({"id": "somebody"})
    sentry_sdk.set_tag("noted", "yes")
    sentry_sdk.capture_message("noted")


def ended(session: Session) -> None:
    """In the place of what counts sessions: the last that happens to a request."""
    record("session", ended=cleaned(session), did=session.did)


sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=PrintedEnvelopes, release="of-tests")
sentry_sdk.get_client().session_flusher.add_session = ended

app = FastAPI(dependencies=[Depends(note)])
add_routes(app)


@app.get("/within")
async def within() -> Any:
    """Captures something in a scope of its own."""
    with sentry_sdk.new_scope() as scope:
        scope.set_tag("inner", "yes")
        sentry_sdk.capture_message("within")
    return None


@app.get("/in-thread")
async def in_thread() -> Any:
    """Captures something on another thread, where the request is known as well."""
    return await asyncio.to_thread(sentry_sdk.capture_message, "in a thread") and None


@app.get("/changed")
async def changed(request: Request) -> Any:
    """Captures something once the scope says something else."""
    request.scope["query_string"] = b"another=query"
    sentry_sdk.get_current_scope().set_transaction_name("mine", source="url")
    sentry_sdk.capture_message("changed")
    return None


async def capture() -> None:
    """Captures what is known once the answer has gone out."""
    await note()


@app.get("/then/{kind}")
async def answered(kind: str) -> Any:
    """Answers in one way or another, and looks at the status afterwards."""
    then = BackgroundTask(capture)
    if kind == "file":
        return FileResponse(__file__, status_code=203, background=then)
    if kind == "pieces":
        return StreamingResponse(iter(["one", "two"]), status_code=202, background=then)
    return FileResponse("/nothing/there", background=then)


@app.get("/around")
async def around() -> list[str]:
    """What of overdrive's stands around an endpoint."""
    frame, names = sys._getframe(), []
    while frame is not None:
        if frame.f_globals.get("__name__") == "overdrive.compiler.sentry":
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names
