"""Runs each distinct release of FastAPI, as far as plans are concerned, against its own test suite.

    python3 tests/upstream/every.py                      all that have not been recorded
    python3 tests/upstream/every.py --release 0.150.0    this one, anew
    python3 tests/upstream/every.py --quick              stock runs only what does not pass with the engine
    python3 tests/upstream/every.py --list               what there is, and what has been recorded

Releases are the same to plans if the functions that plans mirror have the same fingerprints; the newest of them
stands for all. Everything else is installed in its newest release (`pins/fastapi.txt`), as a fresh installation has it.
The results stand in `every.json`, and as a table in docs/releases.md. It ends with 1 if a test ended otherwise than
with stock and `differences-fastapi.toml` does not list it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outcomes
from comparison import compare, differing, known_differences
from environment import ROOT, Environment, SetupError, prepare
from report import Report, report
from run import look_again, run_stock, say
from suites import SUITES

sys.path.insert(0, str(ROOT / "scripts"))
import releases

RESULTS = Path(__file__).with_name("every.json")
DOCUMENT = ROOT / "docs" / "releases.md"
BEGIN, END = "<!-- results: written by make upstream-all -->", "<!-- end of results -->"
SHOWN = ("starlette", "pydantic", "anyio")


@dataclass(frozen=True)
class Distinct:
    """Releases with the same fingerprints, in order."""

    releases: list[str]

    @property
    def newest(self) -> str:
        """That stands for all."""
        return self.releases[-1]

    @property
    def title(self) -> str:
        """The first and the last of them."""
        return self.newest if len(self.releases) == 1 else f"{self.releases[0]} to {self.newest}"


def main() -> int:
    """What the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", action="append", help="run the set that this one is of; may be repeated")
    parser.add_argument("--quick", action="store_true", help="stock runs only what does not pass with the engine")
    parser.add_argument("--built", action="store_true", help="overdrive is built for that Python already")
    parser.add_argument("--list", action="store_true", help="run nothing")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the interpreter to run them on")
    parser.add_argument("-n", "--processes", type=int, default=min(os.cpu_count() or 1, 8), help="at a time")
    options = parser.parse_args()
    sets = distinct(options.python)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.release:
        wanted = [found for found in sets if set(options.release) & set(found.releases)]
    else:
        # The newest first, which most have.
        wanted = [found for found in reversed(sets) if recorded(found, results) is None]
    if options.list:
        for found in sets:
            print("recorded" if recorded(found, results) else "missing ", *found.releases)
        return 0
    try:
        base = prepare(SUITES[0], options.python, pinned=True, apart="every-")
        if not options.built:
            say("building overdrive")
            base.build()
        for found in wanted:
            results[found.newest] = examine(found, base, options)
            keep(sets, results)
    except (SetupError, ValueError) as error:
        print(f"upstream-all: {error}", file=sys.stderr)
        return 2
    keep(sets, results)
    return 1 if any(result["different"] for result in results.values()) else 0


def distinct(python: Path) -> list[Distinct]:
    """All releases of FastAPI that we promise to compile, by their fingerprints, the oldest first."""
    prints = {release: releases.fingerprints(python, "fastapi", release) for release in releases.releases("fastapi")}
    newest = list(prints.values())[-1]
    sets: dict[str, list[str]] = {}
    for release, found in prints.items():
        other = {name: text for name, text in found.items() if text != newest.get(name)}
        sets.setdefault(json.dumps(other, sort_keys=True), []).append(release)
    return [Distinct(members) for members in sets.values()]


def recorded(found: Distinct, results: dict[str, Any]) -> dict[str, Any] | None:
    """The last run of one of these releases; when more is mirrored, sets part, and what was run stands for its own."""
    runs = [results[release] for release in found.releases if release in results]
    return runs[-1] if runs else None


def examine(found: Distinct, base: Environment, options: argparse.Namespace) -> dict[str, Any]:
    """Runs the suite of one release."""
    suite = dataclasses.replace(base.suite, version=found.newest, sha256=None)
    say(f"{suite.title}: what it needs")
    environment = dataclasses.replace(base.install(f"fastapi=={found.newest}"), suite=suite)
    libraries = base.folder / "venv" / "lib" / f"python{base.minor}" / "site-packages"
    (libraries / "built-overdrive.pth").write_text(f"{ROOT / 'python'}\n")
    tests = list(suite.tests)
    stock = None if options.quick else run_stock(environment, tests, options.processes)
    say(f"{suite.title}: its tests, through the engine")
    run = outcomes.run(environment, tests, engine=True, processes=options.processes)
    if stock is None:
        stock = stock_of_failed(environment, run.outcomes, options.processes)
    differences = differing(stock, run.outcomes, whole=True)
    known = known_differences(suite.differences)
    listed = {entry.test for entry in known}
    second_look = look_again(environment, [difference for difference in differences if difference.test not in listed])
    differences = [difference for difference in differences if difference.test not in second_look]
    comparison = compare(differences, known, run.outcomes, whole=True)
    result = report(suite.title, environment.surroundings["python"], run, comparison, second_look)
    print(f"{suite.title}: {dict(result.outcomes)}, plans answered {result.share or 0:.1%}", flush=True)
    for difference in comparison.unexpected:
        print(f"  DIFFERENT {difference}", flush=True)
    return as_json(found, environment, result, whole=not options.quick)


def stock_of_failed(environment: Environment, engine: dict[str, str], processes: int) -> dict[str, str]:
    """Stock's outcomes of the tests that do not pass with the engine; the others are taken to pass."""
    failed = [name for name, outcome in engine.items() if outcome in ("failed", "error") and "::" in name]
    if not failed:
        return dict(engine)
    say(f"{environment.suite.title}: what did not pass, as it is")
    return engine | outcomes.run(environment, failed, engine=False, processes=processes).outcomes


def as_json(found: Distinct, environment: Environment, result: Report, *, whole: bool) -> dict[str, Any]:
    """What is recorded of a run."""
    return {
        "run": found.newest,
        "python": environment.surroundings["python"],
        "packages": {name: environment.packages[name] for name in SHOWN},
        "outcomes": dict(result.outcomes),
        "requests": result.operations,
        "by_plan": result.by_plan,
        "by_application": dict(result.by_application.most_common()),
        "different": [str(difference) for difference in result.comparison.unexpected],
        "stock": "whole" if whole else "what did not pass",
    }


def keep(sets: list[Distinct], results: dict[str, Any]) -> None:
    """Writes the file of results, in the order of releases, and the table of the document."""
    ordered = {release: results[release] for found in sets for release in found.releases if release in results}
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
    if DOCUMENT.exists():
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCUMENT.write_text(before + "\n".join([BEGIN, "", *table(sets, ordered), "", END]) + after)


def table(sets: list[Distinct], results: dict[str, Any]) -> list[str]:
    """The results in Markdown."""
    lines = [
        "| FastAPI | run | Starlette, pydantic, anyio | tests passed | otherwise than stock | answered by plans |",
        "|---|---|---|---|---|---|",
    ]
    for found in sets:
        result = recorded(found, results)
        if result is None:
            lines.append(f"| {found.title} | not yet | | | | |")
            continue
        share = result["by_plan"] / result["requests"] if result["requests"] else 0
        cells = (
            found.title,
            f"{result['run']}, Python {result['python']}",
            ", ".join(result["packages"].values()),
            f"{result['outcomes'].get('passed', 0):,}".replace(",", " "),
            str(len(result["different"])),
            f"{share:.1%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
