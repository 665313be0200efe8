"""What the watch counts is among the metrics of the application's own OpenTelemetry provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.conftest import Serve

APPS = Path(__file__).parent / "apps"


def test_the_applications_provider_reads_the_watch(serve: Serve) -> None:
    served = serve("with_metrics:app", app_dir=APPS)
    for number in range(3):
        httpx.get(f"{served.url}/items/{number}")
    httpx.get(f"{served.url}/items/no-number")
    metrics: dict[str, Any] = httpx.get(f"{served.url}/measured").json()
    assert {metric["scope"] for metric in metrics.values()} == {"overdrive"}
    route = {
        "http.request.method": "GET",
        "http.route": "/items/{number}",
        "code.function.name": "with_metrics.item",
    }
    requests = metrics["overdrive.http.requests"]["points"]
    assert [{**route, "overdrive.status_class": "2xx"}, 3] in requests
    assert [{**route, "overdrive.status_class": "4xx"}, 1] in requests
    [time] = [value for attributes, value in metrics["overdrive.http.request_time"]["points"] if attributes == route]
    assert 0 < time < 10
    assert metrics["overdrive.http.request_time"]["unit"] == "s"
    # The request that asks is one of them.
    assert metrics["overdrive.http.active_requests"]["points"] == [[{}, 1]]
    assert {
        "overdrive.loop.stalls",
        "overdrive.threadpool.busy",
        "overdrive.connections",
        "overdrive.gc.collections",
    } <= set(metrics)


def test_without_the_watch_nothing_is_measured(serve: Serve) -> None:
    served = serve("with_metrics:app", "--watch", "off", app_dir=APPS)
    assert httpx.get(f"{served.url}/measured").json() == {}
