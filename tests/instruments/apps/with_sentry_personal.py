"""sentry-sdk without tracing, and with what identifies people."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sentry_sdk
from fastapi import FastAPI
from recorder import PrintedEnvelopes, record

sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=PrintedEnvelopes, send_default_pii=True, release="of-tests")

app = FastAPI(root_path="/below")


@app.get("/cookies/{name}")
async def cookies(name: str) -> Any:
    """Captures something that shows the cookies of the request."""
    sentry_sdk.capture_message(name)
    record("end")
    return name


@app.get("/fails")
async def fails() -> Any:
    """Is captured, and counts as a session that crashed."""
    record("end")
    raise ValueError("of the endpoint")


@app.get("/counted")
async def counted() -> Any:
    """The sessions so far."""
    sid = sentry_sdk.get_isolation_scope()._session.sid
    counted = sentry_sdk.get_client().session_flusher.pending_aggregates
    outcomes = Counter[str]()
    for minutes in counted.values():
        for state in minutes.values():
            outcomes.update({name: count for name, count in state.items() if name != "started"})
    record("end")
    return [sorted(counted), outcomes, sid.version]
