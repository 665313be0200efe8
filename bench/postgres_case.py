"""The case of one PostgreSQL query: what FastAPI leaves of the rate that the driver alone reaches on its core."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import load
from cases import RATE, Case, Measured, Settings, Target, Variant, requests, require
from environment import ROOT, VENV
from load import InvalidRun, Request
from servers import Running, ServerError

sys.path.insert(0, str(ROOT))
from tests.services import daemons

DRIVER = "driver"
"""The variant that serves no requests while it is measured."""
CONNECTIONS = 32
ROW = Request("/rows/7")


def verify(server: Running) -> None:
    """The row, its validation, and a row that is not there."""
    status, _, body = load.fetch(server.port, ROW)
    require(status == 200 and json.loads(body) == {"id": 7, "name": "item 7", "price": 9.5}, (status, body))
    for path, expected in (("/rows/seven", 422), ("/rows/5000", 404)):
        status, _, body = load.fetch(server.port, Request(path))
        require(status == expected, (status, body))


def rate(server: Running, settings: Settings) -> Measured:
    """Requests a second, or those that the driver makes by itself."""
    if server.name != DRIVER:
        return requests(ROW, CONNECTIONS)(server, settings)
    found = 0.0
    for seconds in (settings.warm_up, settings.seconds):
        status, _, body = load.fetch(server.port, Request(f"/driver?seconds={seconds}&at_once={CONNECTIONS}"))
        if status != 200:
            raise InvalidRun(f"the driver did not measure itself: {status}, {body[:200]!r}")
        found = float(body)
    return {"rate": found}


@contextmanager
def database(core: int) -> Iterator[Mapping[str, str]]:
    """A PostgreSQL on the core that the load has, and the environment by which applications find it."""
    mine = os.sched_getaffinity(0)
    (packages,) = VENV.glob("lib/python*/site-packages")
    try:
        os.sched_setaffinity(0, {core})  # for it to inherit
        with daemons.postgres(packages) as started:
            os.sched_setaffinity(0, mine)
            yield {"POSTGRES": started.url}
    except daemons.DaemonError as error:
        raise ServerError(str(error)) from error
    finally:
        os.sched_setaffinity(0, mine)


CASES = {
    "fastapi-postgres": Case(
        "fastapi-postgres",
        "One PostgreSQL query through asyncpg",
        "postgres_rows:app",
        tuple(map(Variant, ("uvicorn", "granian", "overdrive", DRIVER))),
        RATE,
        (Target("rate", 0.85, DRIVER),),
        verify,
        rate,
        group="compile",
        around=database,
    )
}
