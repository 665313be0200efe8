"""Prints what an instrument exports, a line of JSON each, for the tests to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport


def record(kind: str, **fields: Any) -> None:
    """Prints one line."""
    print("RECORDED", json.dumps({"kind": kind, **fields}, default=repr), flush=True)


class PrintedSpans(SpanExporter):
    """Spans as they end."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            assert span.context is not None
            record(
                "span",
                name=span.name,
                span_kind=span.kind.name,
                id=span.context.span_id,
                parent=span.parent.span_id if span.parent else None,
                scope=span.instrumentation_scope.name if span.instrumentation_scope else None,
                attributes=dict(span.attributes or {}),
                status=[span.status.status_code.name, span.status.description],
                events=[{"name": event.name, "attributes": dict(event.attributes or {})} for event in span.events],
            )
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None: ...


class PrintedLogs(LogRecordExporter):
    """Log records as they are emitted."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        for data in batch:
            log = data.log_record
            record(
                "log",
                name=log.event_name,
                body=log.body,
                severity=log.severity_text,
                parent=log.span_id,
                attributes=dict(log.attributes or {}),
            )
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def record_metrics(reader: InMemoryMetricReader) -> None:
    """Prints the data points so far, but for those of overdrive's own watch: what they count, not the times."""
    data = reader.get_metrics_data()
    points = []
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name.startswith("overdrive."):
                    continue
                for point in metric.data.data_points:
                    counted = getattr(point, "count", None)
                    value = counted if counted is not None else getattr(point, "value", None)
                    points.append([metric.name, sorted(dict(point.attributes or {}).items()), value])
    record("metrics", points=sorted(points, key=repr))


class PrintedEnvelopes(Transport):
    """What sentry-sdk sends: events and transactions, without what differs between any two processes."""

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            if item.type in ("event", "transaction"):
                record("sent", **_shown(json.loads(item.payload.get_bytes())))


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    left_out = ("event_id", "timestamp", "start_timestamp", "server_name", "modules", "extra", "sdk", "_meta")
    shown = {key: value for key, value in event.items() if key not in left_out}
    trace = shown.get("contexts", {}).get("trace", {})
    shown["contexts"] = {"trace": {key: value for key, value in trace.items() if not key.endswith("_id")}}
    for error in shown.get("exception", {}).get("values", []):
        frames = error.pop("stacktrace", {}).get("frames", [])
        # Between the server and the application there is other code.
        error["frames"] = [frame["function"] for frame in frames if frame.get("module") == "routes"]
    shown["spans"] = [
        [span.get("op"), span.get("description"), span.get("origin"), span.get("status"), span.get("tags")]
        for span in shown.get("spans", [])
    ]
    crumbs = shown.get("breadcrumbs", {}).get("values", [])
    shown["breadcrumbs"] = [[crumb.get("category"), crumb.get("message"), crumb.get("level")] for crumb in crumbs]
    return shown
