"""opentelemetry-instrumentation-fastapi, with the providers set for the whole process, and hooks of the user's."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from recorder import PrintedSpans, record, record_metrics
from routes import add_routes

# What a server may say of itself.
SERVERS_OWN = {"extensions"}


def on_request(span: trace.Span, scope: dict[str, Any]) -> None:
    """Called when a request begins."""
    record("hook", hook="request", path=scope["path"], keys=sorted(scope.keys() - SERVERS_OWN))


def on_response(span: trace.Span, scope: dict[str, Any], message: dict[str, Any]) -> None:
    """Called for each message that is sent."""
    span.set_attribute("sent.keys", sorted(message))
    record(
        "hook",
        hook="response",
        route=getattr(scope.get("route"), "path", None),
        keys=sorted(scope.keys() - SERVERS_OWN),
    )


reader = InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(PrintedSpans()))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))

app = FastAPI()
add_routes(app)


@app.get("/metered")
async def metered() -> None:
    """Records the metrics so far."""
    record_metrics(reader)


FastAPIInstrumentor.instrument_app(app, server_request_hook=on_request, client_response_hook=on_response)
