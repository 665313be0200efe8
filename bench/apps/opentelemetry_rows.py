"""FastAPI traced by opentelemetry-instrumentation-fastapi, with an exporter that discards the spans."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class Discarding(SpanExporter):
    """Exports nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Drops them."""
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(Discarding()))

app = FastAPI()
FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)


@app.get("/json")
async def read_json():
    """The least that an endpoint can do."""
    return {"message": "done"}
