"""The cases: what each serves, what it measures, and what overdrive is to reach."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import load
from load import Request
from servers import Running

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SETTLE_SECONDS = 3
WORKERS_START_SECONDS = 20


@dataclass(frozen=True)
class Settings:
    """How thorough, and on which core the load runs."""

    core: int
    seconds: float
    warm_up: float
    body_bytes: int
    idle_connections: int


Measured = Mapping[str, float]
"""The figures of one run, by the name of the metric."""


@dataclass(frozen=True)
class Metric:
    """A figure of a case: its unit, how large that is in the unit measured, and whether more of it is better."""

    unit: str
    scale: float = 1.0
    more_is_better: bool = True


@dataclass(frozen=True)
class Target:
    """What overdrive is to reach: a ratio to a peer (by throughput), or a bound in the metric's unit."""

    metric: str
    bound: float
    peer: str | None = None
    subject: str = "overdrive"


@dataclass(frozen=True)
class Variant:
    """A server in a case, with what sets it apart there."""

    server: str
    label: str = ""
    workers: int = 1
    access_log: bool = False

    @property
    def name(self) -> str:
        """What the results call it."""
        return self.label or self.server


@dataclass(frozen=True)
class Case:
    """One comparison. `verify` raises load.InvalidRun for wrong answers; `measure` yields the figures of one run.

    `around` runs what the case needs beside the servers, on the load's core, and yields what their environment says of
    it. Cases of one `group` can be asked for together. `absent` says why a server that one would look for takes no
    part, `remarks` what to know of one that does.
    """

    name: str
    title: str
    app: str
    variants: Sequence[Variant]
    metrics: Mapping[str, Metric]
    targets: Sequence[Target]
    verify: Callable[[Running], None]
    measure: Callable[[Running, Settings], Measured]
    needs_all_cores: bool = False
    group: str = ""
    absent: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    around: Callable[[int], AbstractContextManager[Mapping[str, str]]] = lambda core: nullcontext({})


def require(condition: bool, found: object) -> None:
    """Raises InvalidRun with what was found, unless the condition holds."""
    if not condition:
        raise load.InvalidRun(f"the answer is wrong: {found!r}")


def verify_json(server: Running) -> None:
    """The small object of `apps/bare.py`."""
    status, headers, body = load.fetch(server.port, Request("/json"))
    require(status == 200 and headers["content-type"] == "application/json", (status, headers))
    require(json.loads(body) == {"message": "done"}, body)


def verify_item(server: Running) -> None:
    """The item of `apps/fastapi_json.py`, and that its parameters are checked."""
    status, _, body = load.fetch(server.port, Request("/items/7?limit=500"))
    expected = {"id": 7, "name": "item 7", "price": 9.5, "tags": ["new", "limit 100"]}
    require(status == 200 and json.loads(body) == expected, (status, body))
    status, _, body = load.fetch(server.port, Request("/items/seven"))
    require(status == 422, (status, body))


def verify_bodies(server: Running) -> None:
    """That bodies arrive whole, both ways."""
    size = MIB + 1
    status, _, body = load.fetch(server.port, Request("/upload", "POST", body=b"x" * size))
    require(status == 200 and body == str(size).encode(), (status, body[:100]))
    status, _, body = load.fetch(server.port, Request(f"/download?bytes={size}"))
    require(status == 200 and body == b"x" * size, (status, len(body)))


def requests(request: Request, connections: int, status: int = 200) -> Callable[[Running, Settings], Measured]:
    """Requests a second of wrk, warmed up."""

    def measure(server: Running, settings: Settings) -> Measured:
        def rate(seconds: float) -> float:
            return load.wrk(
                server.port, request, settings.core, connections=connections, seconds=seconds, status=status
            )

        rate(settings.warm_up)
        return {"rate": rate(settings.seconds)}

    return measure


def echoes(server: Running, settings: Settings) -> Measured:
    """WebSocket echoes a second; the client checks each."""
    return {"rate": load.websocket(server.port, settings.core, connections=64, seconds=settings.seconds)}


def sessions(server: Running, settings: Settings) -> Measured:
    """WebSockets a second, from the handshake to the goodbye, with one echo in each."""
    return {"rate": load.sessions(server.port, settings.core, at_once=32, seconds=settings.seconds)}


def body(direction: str) -> Callable[[Running, Settings], Measured]:
    """Throughput of one large body, and how much the most memory ever resident exceeds that before it."""

    def measure(server: Running, settings: Settings) -> Measured:
        load.transfer(server.port, settings.core, direction, MIB)
        before = server.resident_bytes()
        server.forget_peak()
        rate = load.transfer(server.port, settings.core, direction, settings.body_bytes)
        return {"rate": rate, "growth": max(0, server.peak_bytes() - before)}

    return measure


def idle_memory(server: Running, settings: Settings) -> Measured:
    """Resident memory that an idle connection costs, after a moment in which the server may tidy up."""
    before = server.resident_bytes()
    with load.idle(server.port, settings.core, settings.idle_connections):
        time.sleep(SETTLE_SECONDS)  # what is measured is the state after so long
        grown = server.resident_bytes() - before
    return {"per connection": grown / settings.idle_connections}


def lateness(server: Running, settings: Settings) -> Measured:
    """How late timers of the application fire under steady load: neither its opening nor its end is counted."""
    span = 2 * settings.seconds
    begin = time.monotonic() + settings.warm_up
    rate = load.wrk(server.port, Request("/json"), settings.core, connections=512, seconds=settings.warm_up + span)
    found = json.loads(load.fetch(server.port, Request(f"/lateness?{begin}-{begin + span}"))[2])
    require(found["sleeps"] > 0, found)
    return {"p99": found["p99"], "p50": found["p50"], "max": found["max"], "rate": rate}


def split(server: Running, settings: Settings) -> Measured:
    """How two workers share connections, and their work under load: what the busier one has of each."""
    deadline = time.monotonic() + WORKERS_START_SECONDS
    # The address answers as soon as one of the workers serves.
    while len(held := load.connections_by_process(server.port, 64)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    load.wrk(server.port, Request("/json"), settings.core, connections=64, seconds=settings.warm_up)
    before = server.processor_seconds()
    rate = load.wrk(server.port, Request("/json"), settings.core, connections=64, seconds=settings.seconds)
    spent = sorted(seconds - before.get(pid, 0) for pid, seconds in server.processor_seconds().items())
    return {"rate": rate, "busier": spent[-1] / sum(spent[-2:]), "connections": max(held.values())}


RATE = {"rate": Metric("requests/s")}
PEERS = tuple(map(Variant, ("uvicorn", "granian", "hypercorn", "overdrive", "overdrive-asyncio", "axum")))
TRANSFER = {"rate": Metric("MiB/s", MIB), "growth": Metric("MiB of memory", MIB, more_is_better=False)}
STREAMING = tuple(variant for variant in PEERS if variant.server != "overdrive-asyncio")
PYTHON = tuple(variant for variant in PEERS if variant.server != "axum")

CASES = {
    case.name: case
    for case in (
        Case("json", "Bare ASGI, JSON answer", "bare:app", PEERS, RATE,
             (Target("rate", 2.7, "uvicorn"), Target("rate", 1.8, "granian")),
             verify_json, requests(Request("/json"), 64)),
        Case("fastapi", "FastAPI, path and query parameter, validated answer", "fastapi_json:app", PYTHON, RATE,
             (Target("rate", 1.1, "uvicorn"),), verify_item, requests(Request("/items/7?limit=20"), 64)),
        Case("websocket", "WebSocket echo, 64 connections", "bare:app", PEERS, {"rate": Metric("messages/s")},
             (Target("rate", 2.0, "uvicorn"),), verify_json, echoes),
        Case("upload", "Upload, streamed", "bare:app", STREAMING, TRANSFER,
             (Target("rate", 2.0, "uvicorn"), Target("growth", 64)), verify_bodies, body("upload")),
        Case("download", "Download, streamed", "bare:app", STREAMING, TRANSFER,
             (Target("rate", 1.2, "uvicorn"), Target("growth", 64)), verify_bodies, body("download")),
        Case("idle", "Idle keep-alive connections", "bare:app", STREAMING,
             {"per connection": Metric("KiB a connection", KIB, more_is_better=False)},
             (Target("per connection", 4),), verify_json, idle_memory),
        Case("timers", "Timers under full load, 512 connections, 250 us handlers", "timers:app", PYTHON,
             {"p99": Metric("ms late (p99)", more_is_better=False), "p50": Metric("ms late (p50)",
              more_is_better=False), "max": Metric("ms late (most)", more_is_better=False),
              "rate": Metric("requests/s")},
             (Target("p99", 5),), verify_json, lateness),
        Case("access-log", "Access log to a file, against none", "bare:app",
             (Variant("overdrive"), Variant("overdrive", "overdrive, access log", access_log=True),
              Variant("uvicorn"), Variant("uvicorn", "uvicorn, access log", access_log=True)), RATE,
             (Target("rate", 0.9, "overdrive", subject="overdrive, access log"),),
             verify_json, requests(Request("/json"), 64)),
        Case("workers", "Two workers sharing every core with the load", "bare:app",
             tuple(Variant(name, workers=2) for name in ("uvicorn", "granian", "overdrive")),
             {"rate": Metric("requests/s"), "busier": Metric("of the work done by the busier worker",
              more_is_better=False), "connections": Metric("of 64 connections at the busier worker",
              more_is_better=False)},
             (Target("busier", 0.6), Target("connections", 40)), verify_json, split, needs_all_cores=True),
    )
}  # fmt: skip
