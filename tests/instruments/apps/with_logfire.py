"""logfire, which stands on opentelemetry-instrumentation-fastapi and wraps functions of FastAPI's."""

from __future__ import annotations

import logfire
from fastapi import FastAPI
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from recorder import PrintedSpans
from routes import add_routes

logfire.configure(
    send_to_logfire=False,
    console=False,
    inspect_arguments=False,
    additional_span_processors=[SimpleSpanProcessor(PrintedSpans())],
)

app = FastAPI()
add_routes(app)
logfire.instrument_fastapi(app, extra_spans=True, capture_headers=True, record_send_receive=True)
