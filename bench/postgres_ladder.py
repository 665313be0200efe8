"""Where the time of `fastapi-postgres` goes: from the driver alone to FastAPI's endpoint, a little more on each rung.

    python3 bench/postgres_ladder.py [--seconds 3] [--rounds 3]

Prints a Markdown table of the processor time that the server takes for a request, the median of all rounds. It depends
less on what else the machine does than rates do, though not on nothing: whoever shares a core shares its caches.
`bench/run.py` must have built its environment once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import load
import postgres_case
from load import InvalidRun, Request
from servers import SERVERS, Running, ServerError, running

SERVER_CORE, LOAD_CORE = 0, 1


@dataclass(frozen=True)
class Rung:
    """What is measured on a server: microseconds of processor time, in so many seconds."""

    name: str
    measure: Callable[[Running, float], float]


def alone(*, tasks: bool) -> Callable[[Running, float], float]:
    """The driver, which nobody asks over HTTP."""
    return lambda server, seconds: float(
        _body(server, f"/alone?seconds={seconds}&at_once={postgres_case.CONNECTIONS}&tasks={tasks}")
    )


def path(path: str) -> Callable[[Running, float], float]:
    """Requests for a path."""
    return lambda server, seconds: _loaded(server, server.port, Request(path), seconds)


def protocol(server: Running, seconds: float) -> float:
    """Requests to the port on which the same process answers without a server's code."""
    return _loaded(server, int(_body(server, "/protocol")), Request("/"), seconds)


LADDER = {
    ("overdrive", "postgres_ladder:app"): (
        Rung("the driver alone", alone(tasks=False)),
        Rung("the same, each query in a task of its own", alone(tasks=True)),
        Rung("an asyncio protocol: a task for a request, the same bytes for each answer", protocol),
        Rung("FastAPI, compiled: the endpoint takes its connection itself", path("/endpoint/7")),
        Rung("a dependency with `yield` takes it", path("/dependency/7")),
        Rung("the dependency asks for the request (`fastapi-postgres`)", path("/rows/7")),
    ),
    ("overdrive", "postgres_ladder:bare"): (Rung("bare ASGI on overdrive", path("/bare")),),
    ("overdrive-unwatched", "postgres_ladder:app"): (Rung("`fastapi-postgres` with `--watch off`", path("/rows/7")),),
    ("uvicorn", "postgres_ladder:app"): (Rung("`fastapi-postgres` on uvicorn", path("/rows/7")),),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3, help="for each rung (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args()
    found = defaultdict[str, list[float]](list)
    try:
        with postgres_case.database(LOAD_CORE) as environment:
            for _ in range(options.rounds):
                for (server, app), rungs in LADDER.items():
                    with running(SERVERS[server], app, [SERVER_CORE], environment=environment) as started:
                        for rung in rungs:
                            rung.measure(started, min(1, options.seconds))
                            found[rung.name].append(rung.measure(started, options.seconds))
    except (ServerError, InvalidRun, OSError) as error:
        print(f"postgres_ladder: {error}", file=sys.stderr)
        return 1
    print("| | us of processor time | least | most |\n|---|--:|--:|--:|")
    for name, times in found.items():
        print(f"| {name} | {statistics.median(times):.1f} | {min(times):.1f} | {max(times):.1f} |")
    return 0


def _loaded(server: Running, port: int, request: Request, seconds: float) -> float:
    before = sum(server.processor_seconds().values())
    rate = load.wrk(port, request, LOAD_CORE, connections=postgres_case.CONNECTIONS, seconds=seconds)
    taken = sum(server.processor_seconds().values()) - before
    return taken / (rate * max(1, round(seconds))) * 1e6


def _body(server: Running, path: str) -> str:
    status, _, body = load.fetch(server.port, Request(path))
    if status != 200:
        raise InvalidRun(f"{path} answered {status}: {body[:200]!r}")
    return body.decode()


if __name__ == "__main__":
    sys.exit(main())
