"""OpenTelemetry metrics of the watch, through the provider that the application has set.

Durations of single requests are not among them: FastAPI's own telemetry, or OpenTelemetry's instrumentation of it, has
those.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakSet

from overdrive._overdrive import Watch, __version__

# Name, unit, what it is, and where it is found among a route's numbers or the loop's.
BY_ROUTE = (
    (
        "overdrive.http.request_time",
        "s",
        "Latencies of requests, summed up",
        "latency_sum",
    ),
    ("overdrive.http.loop_time", "s", "Time on the event loop", "loop_time"),
    ("overdrive.http.stalled_time", "s", "Time in steps that were stalls", "stalled"),
)
COUNTED = (
    ("overdrive.loop.stalls", "{stall}", "Silences of the event loop beyond the threshold", "stalls"),
    ("overdrive.loop.stalled_time", "s", "How long they were together", "stalled"),
    ("overdrive.gc.collections", "{collection}", "Runs of the garbage collector", "collections"),
    ("overdrive.gc.time", "s", "How long they took, the loop waiting", "collecting"),
)
CURRENT = (
    ("overdrive.http.active_requests", "{request}", "Requests that have not ended", "in_flight"),
    ("overdrive.connections", "{connection}", "Open connections, WebSockets among them", "connections"),
    ("overdrive.threadpool.limit", "{call}", "Calls of `def` functions that may run at a time", "threads_limit"),
    ("overdrive.threadpool.busy", "{call}", "Those that run", "threads_busy"),
    ("overdrive.threadpool.queued", "{call}", "Those that wait for a thread", "threads_queued"),
)

Observe = Callable[[Any], Iterable[Any]]

# Of all servers in this process; instruments are made once.
_watches: WeakSet[Watch] = WeakSet()
_made = False


def measure(watch: Watch) -> None:
    """Has the application's meter provider read a watch's numbers, now or once it is set.

    Nothing happens unless the application has imported OpenTelemetry's metrics.
    """
    metrics = sys.modules.get("opentelemetry.metrics")
    if metrics is None:
        return
    _watches.add(watch)
    global _made
    if _made:
        return
    _made = True
    meter = metrics.get_meter("overdrive", __version__)

    def observations(pairs: Iterator[tuple[float, Mapping[str, str]]]) -> list[Any]:
        return [metrics.Observation(value, attributes) for value, attributes in pairs]

    def of_routes(key: str) -> Observe:
        return lambda _: observations((route[key], _attributes(route)) for route in _routes())

    def of_loops(key: str) -> Observe:
        return lambda _: [metrics.Observation(sum(watch.totals()[key] for watch in _watches))]

    for name, unit, description, key in BY_ROUTE:
        meter.create_observable_counter(name, [of_routes(key)], unit, description)
    requests = "overdrive.http.requests"
    meter.create_observable_counter(requests, [lambda _: observations(_requests())], "{request}", "Requests that ended")
    for name, unit, description, key in COUNTED:
        meter.create_observable_counter(name, [of_loops(key)], unit, description)
    for name, unit, description, key in CURRENT:
        meter.create_observable_up_down_counter(name, [of_loops(key)], unit, description)


def _routes() -> Iterator[Mapping[str, Any]]:
    for watch in _watches:
        yield from watch.routes()


def _requests() -> Iterator[tuple[float, Mapping[str, str]]]:
    for route in _routes():
        for digit, count in enumerate(route["statuses"]):
            if count:
                status = f"{digit}xx" if digit else "none"
                yield count, {**_attributes(route), "overdrive.status_class": status}


def _attributes(route: Mapping[str, Any]) -> dict[str, str]:
    return {
        "http.request.method": route["method"],
        "http.route": route["path"],
        "code.function.name": route["endpoint"],
    }
