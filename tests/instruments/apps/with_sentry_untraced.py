"""sentry-sdk as its guide has it: without tracing. What it holds for a request is recorded within each."""

from __future__ import annotations

import re
from typing import Any

import sentry_sdk
from fastapi import Depends, FastAPI
from recorder import PrintedEnvelopes, record
from routes import add_routes
from sentry_sdk.session import Session
from sentry_sdk.tracing import Transaction

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
