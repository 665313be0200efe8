"""FastAPI's own telemetry: the providers are there before the application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import get_telemetry_data
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from recorder import PrintedLogs, PrintedSpans, record, record_metrics
from routes import add_routes


class Watching(SpanProcessor):
    """Looks at what FastAPI shows of a request when a span ends."""

    def on_end(self, span: Any) -> None:
        data = get_telemetry_data()
        if data is not None and span.name.startswith("fastapi."):
            request = data.request or data.websocket
            path = request.url.path if request is not None else None
            values = {name: _shown(value) for name, value in (data.values or {}).items()}
            record("data", at=span.name, path=path, body=data.body, values=values, errors=data.errors)


def _shown(value: Any) -> Any:
    shown = repr(value)
    return type(value).__name__ if " at 0x" in shown else shown


reader = InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(Watching())
provider.add_span_processor(SimpleSpanProcessor(PrintedSpans()))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
logs = LoggerProvider()
logs.add_log_record_processor(SimpleLogRecordProcessor(PrintedLogs()))
_logs.set_logger_provider(logs)

app = FastAPI()
add_routes(app)


@app.get("/metered")
async def metered() -> None:
    """Records the metrics so far."""
    record_metrics(reader)
