"""sentry-sdk, with tracing, logs as breadcrumbs and what it collects of requests."""

from __future__ import annotations

import sentry_sdk
from fastapi import FastAPI
from recorder import PrintedEnvelopes
from routes import add_routes

sentry_sdk.init(
    dsn="http://key@127.0.0.1:9/1",
    transport=PrintedEnvelopes,
    traces_sample_rate=1.0,
    send_default_pii=True,
    max_request_body_size="always",
)

app = FastAPI()
add_routes(app)
