"""Compares overdrive with its peers on this machine, and writes a table and charts to bench/results/.

    python3 bench/run.py                              every case
    python3 bench/run.py --case json --case fastapi   these alone
    python3 bench/run.py --case compile               the cases of compiled FastAPI
    python3 bench/run.py --case instruments           the same while it is traced and metered
    python3 bench/run.py --quick                      a rough look: fewer and shorter rounds, small bodies
    python3 bench/run.py --no-build --rounds 9        what was built last time

README.md beside this file says how the figures come about.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping

import cases
import environment
import fastapi_cases
import frameworks
import instrument_cases
import postgres_case
import servers
from cases import GIB, MIB, Case, Settings, Variant
from frameworks import FRAMEWORKS
from load import InvalidRun
from report import LOAD, OTHERS, SERVER, Results, write
from servers import Running, ServerError, busy_seconds, running

CASES = cases.CASES | fastapi_cases.CASES | instrument_cases.CASES | postgres_case.CASES
GROUPS = {group: [name for name in CASES if CASES[name].group == group] for group in ("compile", "instruments")}
"""Names for several cases."""
SERVERS = servers.SERVERS | {name: framework.server for name, framework in FRAMEWORKS.items()}
TRIES = 3
"""Runs of one server in one round before the benchmark gives it up; a busy machine spoils one now and then."""


def main() -> int:
    """Builds, measures and reports; 1 if a server could not be measured, 2 if the benchmark cannot run here."""
    options = arguments()
    # So that a terminated benchmark leaves no server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        environment.require_tools()
        if not options.no_build:
            environment.prepare(options.python)
        environment.check_prepared()
        missing = frameworks.prepare(wanted_frameworks(options), install=not options.no_build)
    except environment.SetupError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    raise_descriptor_limit()
    machine = environment.machine()
    results: list[Results] = []
    try:
        for name in options.case:
            results.append(measure(CASES[name], options, missing))
    finally:  # what was measured is worth keeping when a long run is interrupted
        if results:
            versions = frameworks.versions(wanted_frameworks(options)) | environment.versions()
            write(results, machine, versions, quick=options.quick)
    return 1 if any(result.failures for result in results) else 0


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case",
        action="append",
        choices=[*CASES, *GROUPS],
        help="measure this case or, with compile or instruments, all of that group; may be repeated",
    )
    parser.add_argument("--quick", action="store_true", help="3 short rounds, bodies of 128 MiB: no proof of anything")
    parser.add_argument("--peers", nargs="+", choices=list(SERVERS), help="the servers beside overdrive")
    parser.add_argument("--python", metavar="PATH", help="interpreter to measure with; the newest one by default")
    parser.add_argument("--no-build", action="store_true", help="measure what is installed already")
    parser.add_argument("--rounds", type=int, help="runs of each server; 5 by default, 3 with --quick")
    options = parser.parse_args()
    named = [name for given in options.case or CASES for name in GROUPS.get(given, (given,))]
    options.case = list(dict.fromkeys(named))
    options.rounds = options.rounds or (3 if options.quick else 5)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def wanted_frameworks(options: argparse.Namespace) -> list[str]:
    """The frameworks that take part in the cases asked for, and are among the peers if such were named."""
    asked = {variant.server for name in options.case for variant in CASES[name].variants}
    return [name for name in FRAMEWORKS if name in asked and name in (options.peers or SERVERS)]


def measure(case: Case, options: argparse.Namespace, missing: dict[str, str]) -> Results:
    """Runs every server of the case in turn, round after round, so that a slow minute of the machine hits all alike.

    `missing` are the servers that cannot be had here, with the reason.
    """
    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    settings = Settings(
        core=load_core,
        seconds=2 if options.quick else 5,
        warm_up=1 if options.quick else 2,
        body_bytes=128 * MIB if options.quick else GIB,
        idle_connections=5000,
    )
    cores = (server_core, load_core) if case.needs_all_cores else (server_core,)
    wanted = {"overdrive", *(options.peers or SERVERS)}
    variants = [variant for variant in case.variants if variant.server in wanted - missing.keys()]
    unavailable = {v.server: missing[v.server] for v in case.variants if v.server in missing}
    absent = {name: why for name, why in (unavailable | dict(case.absent)).items() if name in wanted}
    results = Results(case, {variant.name: [] for variant in variants}, absent=absent)
    print(f"\n{case.title} ({case.name})", flush=True)
    with case.around(load_core) as company:
        for number in range(1, options.rounds + 1):
            for variant in variants:
                if variant.name not in results.failures:
                    record(f"{number}/{options.rounds}", results, variant, cores, settings, company)
    return results


def record(
    number: str,
    results: Results,
    variant: Variant,
    cores: tuple[int, ...],
    settings: Settings,
    company: Mapping[str, str],
) -> None:
    """Adds one run to the results, or the reason why there is none."""
    case = results.case
    try:
        found = one_run(case, variant, cores, settings, company)
    except (InvalidRun, ServerError) as error:
        results.failures[variant.name] = str(error)
        print(f"  {number} {variant.name}: failed: {error}", flush=True)
        return
    results.runs[variant.name].append(found)
    figures = ", ".join(f"{found[name] / metric.scale:,.2f} {metric.unit}" for name, metric in case.metrics.items())
    print(f"  {number} {variant.name}: {figures}", flush=True)


def one_run(
    case: Case, variant: Variant, cores: tuple[int, ...], settings: Settings, company: Mapping[str, str]
) -> dict[str, float]:
    """Starts the server, checks its answers, measures it and stops it.

    company: for the server's environment: what is there beside it.
    """
    for left in reversed(range(TRIES)):
        try:
            with running(
                SERVERS[variant.server],
                case.app,
                cores,
                workers=variant.workers,
                access_log=variant.access_log,
                environment=company,
            ) as server:
                measured = checked(case, server, cores, settings)
                if company:  # it has the load's core, too
                    measured.pop(OTHERS, None)
                return measured
        except (InvalidRun, ServerError) as error:
            if not left:
                raise
            print(f"  {variant.name}, once more: {error}", flush=True)
    raise AssertionError("unreachable: the last try returns or raises")


def checked(case: Case, server: Running, cores: tuple[int, ...], settings: Settings) -> dict[str, float]:
    """Figures of a server whose answers are right, and what parts of the two cores were taken meanwhile, by whom."""
    try:
        case.verify(server)
    except (OSError, ValueError) as error:
        raise InvalidRun(f"no proper answer: {error!r}; the server said:\n{server.said()}") from error

    def taken() -> tuple[float, float, float, float]:
        """Processor time so far: of the server, of the load, and of the core of each as a whole."""
        return (
            sum(server.processor_seconds().values()),
            load_seconds(),
            busy_seconds(cores),
            busy_seconds([settings.core]),
        )

    started, before = time.monotonic(), taken()
    try:
        measured = dict(case.measure(server, settings))
    except (OSError, ValueError) as error:
        raise InvalidRun(f"no answer under load: {error!r}; the server said:\n{server.said()}") from error
    elapsed = time.monotonic() - started
    served, loaded, on_its_cores, on_the_load_core = (
        (now - then) / elapsed for now, then in zip(taken(), before, strict=True)
    )
    measured |= {SERVER: served, LOAD: loaded}
    if not case.needs_all_cores:  # there the server and the load are each other's others
        measured[OTHERS] = max(0.0, on_its_cores - served, on_the_load_core - loaded)
    return measured


def load_seconds() -> float:
    """Processor time of all load generators that have ended. Servers are waited for between measurements."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def raise_descriptor_limit() -> None:
    """Lets the servers, which inherit the limit, and the clients open 5 000 connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, hard) if hard != resource.RLIM_INFINITY else 65536, hard))


if __name__ == "__main__":
    sys.exit(main())
