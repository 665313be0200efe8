"""opentelemetry-instrumentation-fastapi with a tracer alone: no metrics, no hooks, and paths that it leaves out."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from opentelemetry import baggage, propagate
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from recorder import PrintedSpans, record
from routes import add_routes


class Begun(SimpleSpanProcessor):
    """Records spans as they begin, too: what they have by then."""

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        held = {name: type(value).__name__ for name, value in sorted(vars(span).items())}
        flags = span.context and span.context.trace_flags
        attributes = dict(span.attributes or {})
        record(
            "begun",
            name=span.name,
            held=held,
            flags=flags,
            attributes=attributes,
            baggage=baggage.get_all(parent_context),
        )


provider = TracerProvider()
provider.add_span_processor(Begun(PrintedSpans()))

app = FastAPI()
add_routes(app)


@app.get("/propagated")
async def propagated() -> Any:
    """What a request to others would say."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return {name: len(value) for name, value in headers.items()}


@app.post("/read")
async def read(request: Request) -> Any:
    """Receives the body itself."""
    return len(await request.body())


@app.get("/left-out")
async def left_out() -> Any:
    """Not observed; says so."""
    record("left out", span_kind="SERVER")
    return None


FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, excluded_urls="left-out")
