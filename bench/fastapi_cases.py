"""The cases of compiled FastAPI: a case for each row, against FastAPI elsewhere and the frameworks with a Rust core."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import load
from cases import RATE, Case, Measured, Metric, Settings, Target, Variant, echoes, requests, sessions
from frameworks import FRAMEWORKS, Framework
from load import InvalidRun
from rows import CONNECTIONS, FORM_ROWS, MIDDLEWARE_ROWS, ROWS, Row
from servers import Running

GROUP = "compile"
APP = "fastapi_rows"
MIDDLEWARE_APP = "fastapi_middleware"
AXUM_ROW = "dict"
"""The row that axum serves, too: the limit of a core."""
ROUTES = 500
MILLISECONDS = 1e-3


def verify(row: Row) -> Callable[[Running], None]:
    """The row's own verification, which takes a framework's way to refuse for what it is."""

    def check(server: Running) -> None:
        framework = FRAMEWORKS.get(server.name)
        row.verify(server, framework.refusals if framework else ())

    return check


def case(row: Row, frameworks: Mapping[str, Framework] = FRAMEWORKS) -> Case:
    """The row as a case: FastAPI on each server, axum where it can, and each of the frameworks that serves the row."""
    names = ["uvicorn", "granian", "overdrive", *(["axum"] if row.name == AXUM_ROW else [])]
    able = [name for name, framework in frameworks.items() if row.name not in framework.unable]
    targets = [Target("rate", row.times_uvicorn, "uvicorn")]
    targets += [Target("rate", 0.5, "axum")] if row.name == AXUM_ROW else []
    targets += [Target("rate", 1.0, name) for name in able]
    return Case(
        f"fastapi-{row.name}",
        row.title,
        f"{APP}:{row.app}",
        tuple(map(Variant, (*names, *able))),
        RATE,
        tuple(targets),
        verify(row),
        requests(row.request, row.connections, row.status),
        group=GROUP,
        absent={name: framework.unable[row.name] for name, framework in frameworks.items() if name not in able},
        remarks={name: FRAMEWORKS[name].remarks_on(row.name) for name in able},
    )


def case_below_middleware(row: Row) -> Case:
    """The row as a case: FastAPI on each server."""
    return Case(
        f"fastapi-{row.name}",
        row.title,
        f"{MIDDLEWARE_APP}:{row.app}",
        tuple(map(Variant, ("uvicorn", "granian", "overdrive"))),
        RATE,
        (Target("rate", row.times_uvicorn, "uvicorn"),),
        row.verify,
        requests(row.request, row.connections, row.status),
        group=GROUP,
    )


def verify_last_route(server: Running) -> None:
    """That the application whose compilation is measured is the one that answers."""
    next(row for row in ROWS if row.app == "many").verify(server)


def verify_websocket(server: Running) -> None:
    """That the application is the one with the route; the load checks what it answers."""
    next(row for row in ROWS if row.name == AXUM_ROW).verify(server)


EVENTS = load.Request("/events")
EVENTS_BODY = "".join(f'data: {{"route":{number},"item":7}}\n\n' for number in range(100)).encode()


def verify_events(server: Running) -> None:
    """That all the events come, as events."""
    status, headers, body = load.fetch(server.port, EVENTS)
    if (status, headers.get("content-type")) != (200, "text/event-stream; charset=utf-8"):
        raise InvalidRun(f"the answer is no stream of events: {status}, {headers}")
    if body != EVENTS_BODY:
        raise InvalidRun(f"the events are wrong: {body[:200]!r}")


def compile_time(server: Running, settings: Settings) -> Measured:
    """What compiling 500 routes takes by overdrive's own account, and what FastAPI takes to lay them out before."""
    found = load.compilation(f"{APP}:many", settings.core)
    if found["compiled"] != found["operations"] or found["operations"] != ROUTES:
        raise InvalidRun(f"of {found['operations']} routes, {found['compiled']} are compiled: {ROUTES} should be")
    return {"own": found["seconds"]["overdrive"], "fastapi": found["seconds"]["fastapi"]}


CASES = {
    case.name: case
    for case in (
        *map(case, ROWS),
        *(case(row, {}) for row in FORM_ROWS),
        *map(case_below_middleware, MIDDLEWARE_ROWS),
        Case(
            "fastapi-websocket",
            "WebSocket route with a dependency, echo, 64 connections",
            f"{APP}:app",
            tuple(map(Variant, ("uvicorn", "granian", "overdrive"))),
            {"rate": Metric("messages/s")},
            (Target("rate", 3, "uvicorn"),),
            verify_websocket,
            echoes,
            group=GROUP,
        ),
        Case(
            "fastapi-websocket-session",
            "WebSocket route with a dependency: handshake, echo, goodbye",
            f"{APP}:app",
            tuple(map(Variant, ("uvicorn", "granian", "overdrive"))),
            {"rate": Metric("sessions/s")},
            (Target("rate", 3, "uvicorn"),),
            verify_websocket,
            sessions,
            group=GROUP,
        ),
        Case(
            "fastapi-events",
            "SSE, 100 events",
            f"{APP}:app",
            tuple(map(Variant, ("uvicorn", "granian", "overdrive"))),
            {"rate": Metric("streams/s")},
            (Target("rate", 3, "uvicorn"),),
            verify_events,
            requests(EVENTS, CONNECTIONS),
            group=GROUP,
        ),
        Case(
            "fastapi-watch",
            "The first row with the watch on, against off",
            f"{APP}:app",
            (Variant("overdrive-unwatched", "overdrive, unwatched"), Variant("overdrive")),
            RATE,
            (Target("rate", 0.97, "overdrive, unwatched"),),
            verify(ROWS[0]),
            requests(ROWS[0].request, ROWS[0].connections),
            group=GROUP,
        ),
        Case(
            "compile-time",
            f"Compiling {ROUTES} routes in ten included routers",
            f"{APP}:many",
            (Variant("overdrive"),),
            {
                "own": Metric("ms, overdrive's own part", MILLISECONDS, more_is_better=False),
                "fastapi": Metric("ms, FastAPI's iter_route_contexts", MILLISECONDS, more_is_better=False),
            },
            (Target("own", 300),),
            verify_last_route,
            compile_time,
            group=GROUP,
        ),
    )
}
