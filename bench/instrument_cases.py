"""The cases of instruments: compiled FastAPI while it is observed, against FastAPI that is observed elsewhere."""

from __future__ import annotations

from cases import RATE, Case, Target, Variant, requests, verify_json
from load import Request

GROUP = "instruments"
CONNECTIONS = 64


def case(name: str, title: str, times_uvicorn: float | None) -> Case:
    """The case of one instrument. `times_uvicorn`: what is to be reached, if anything is."""
    return Case(
        f"fastapi-{name}",
        title,
        f"{name}_rows:app",
        tuple(map(Variant, ("uvicorn", "granian", "overdrive"))),
        RATE,
        (Target("rate", times_uvicorn, "uvicorn"),) if times_uvicorn is not None else (),
        verify_json,
        requests(Request("/json"), CONNECTIONS),
        group=GROUP,
    )


CASES = {
    case.name: case
    for case in (
        case("sentry", "Sentry initialised, a transport that discards", 4),
        case("opentelemetry", "OpenTelemetry tracing, an exporter that discards", 3),
        case("prometheus", "prometheus-fastapi-instrumentator", None),
    )
}
