"""sentry-sdk without tracing, and with what identifies people."""

from __future__ import annotations

from typing import Any

import sentry_sdk
from fastapi import FastAPI
from recorder import PrintedEnvelopes, record

sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=PrintedEnvelopes, send_default_pii=True)

app = FastAPI(root_path="/below")


@app.get("/cookies/{name}")
async def cookies(name: str) -> Any:
    """Captures something that shows the cookies of the request."""
    sentry_sdk.capture_message(name)
    record("end")
    return name
