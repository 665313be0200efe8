"""Runs the test suites of FastAPI and Starlette through the engine, and compares each test's outcome with stock's.

    python3 tests/upstream/run.py                               both suites
    python3 tests/upstream/run.py --suite fastapi               one of them
    python3 tests/upstream/run.py --suite fastapi -- tests/test_ws_router.py -x     a part; arguments for pytest
    python3 tests/upstream/run.py --require-plan-share 0.75     plans must answer that much
    python3 tests/upstream/run.py --record                      after a new release: pins, and outcomes of stock

It ends with 1 if a test ends otherwise than with stock and no file of known differences lists it, if the file lists one
that does not differ, or if plans answered too little; with 2 if a suite could not be run.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import outcomes
from comparison import Difference, compare, differing, known_differences
from environment import HOME, Environment, SetupError, prepare
from report import Report, as_text, report, write
from suites import SUITES, Suite

# More than that many are no accidents of a loaded machine.
SECOND_LOOKS = 30


def main() -> int:
    """What the module's docstring says."""
    options = arguments()
    try:
        if options.record:
            for suite in options.suites:
                record(suite, options)
            return 0
        reports = [examine(suite, options) for suite in options.suites]
    except (SetupError, ValueError) as error:
        print(f"upstream: {error}", file=sys.stderr)
        return 2
    write(reports, options.json)
    for found in reports:
        print("", *as_text(found), sep="\n", flush=True)
    print(f"\n==> in full: {options.json}")
    verdicts = [verdict(found, options.require_plan_share) for found in reports]
    return 0 if all(verdicts) else 1


def arguments() -> argparse.Namespace:
    """The options; `suites` are those that are meant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=[suite.name for suite in SUITES], help="one suite alone")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the interpreter to run them on")
    parser.add_argument(
        "--require-plan-share",
        "--require-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="least share of plans in the requests to path operations, 0 to 1",
    )
    parser.add_argument("--fresh-stock", action="store_true", help="run stock anew, even if its outcomes are known")
    parser.add_argument(
        "--record", action="store_true", help="write down the newest releases and what stock comes to with them"
    )
    parser.add_argument("--json", type=Path, default=HOME / "report.json", help="where the report goes as JSON")
    parser.add_argument("-n", "--processes", type=int, default=min(os.cpu_count() or 1, 8), help="at a time")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    options.suites = [suite for suite in SUITES if options.suite in (None, suite.name)]
    if options.pytest and options.suite is None:
        parser.error("arguments for pytest are for one suite: say which with --suite")
    return options


def examine(suite: Suite, options: argparse.Namespace) -> Report:
    """Runs one suite through the engine, and stock's if need be."""
    known = known_differences(suite.differences)
    say(f"{suite.title}: what it needs")
    environment = prepare(suite, options.python, pinned=True)
    whole = not options.pytest
    tests = options.pytest or list(suite.tests)
    stock = None if options.fresh_stock else outcomes.recorded(environment)
    if stock is None:
        stock = run_stock(environment, tests, options.processes)
        if whole:
            outcomes.record(environment, stock, to_commit=False)
    say("building overdrive")
    environment.build()
    say(f"{suite.title}: its tests, through the engine")
    run = outcomes.run(environment, tests, engine=True, processes=options.processes)
    listed = {entry.test for entry in known}
    found = differing(stock, run.outcomes, whole=whole)
    second_look = look_again(environment, [difference for difference in found if difference.test not in listed])
    found = [difference for difference in found if difference.test not in second_look]
    comparison = compare(found, known, run.outcomes, whole=whole)
    return report(suite.title, environment.surroundings["python"], run, comparison, second_look)


def run_stock(environment: Environment, tests: list[str], processes: int) -> dict[str, str]:
    """The outcomes of stock; what fails is run once more, alone."""
    title = environment.suite.title
    say(f"{title}: its tests, as they are")
    found = outcomes.run(environment, tests, engine=False, processes=processes).outcomes
    failed = [name for name, outcome in found.items() if outcome in ("failed", "error") and "::" in name]
    if 0 < len(failed) <= SECOND_LOOKS:
        say(f"{title}: those that failed, once more")
        found |= outcomes.run(environment, failed, engine=False).outcomes
    return found


def look_again(environment: Environment, found: list[Difference]) -> list[str]:
    """Runs tests that differ once more, alone: on a loaded machine one may fail for no fault of ours.

    Returns:
        The tests that now end as with stock.
    """
    again = [difference for difference in found if "::" in difference.test and difference.engine != "not there"]
    if not 0 < len(again) <= SECOND_LOOKS:
        return []
    say(f"{environment.suite.title}: those that differ, once more")
    second = outcomes.run(environment, [difference.test for difference in again], engine=True).outcomes
    return [difference.test for difference in again if second.get(difference.test) == difference.stock]


def verdict(found: Report, required_share: float) -> bool:
    """Whether a suite came to what it must; prints so."""
    share = found.share
    is_enough = share is None or share >= required_share
    if not is_enough:
        print(f"{found.suite}: plans answered {share:.1%}; {required_share:.0%} are required.")
    ran = found.outcomes["passed"]
    if found.comparison.is_equal and is_enough and ran:
        print(f"{found.suite}: {ran} passed, each test as with stock but for {len(found.comparison.expected)} listed.")
        return True
    print(f"{found.suite}: FAILED, see above.")
    return False


def record(suite: Suite, options: argparse.Namespace) -> None:
    """Writes the pins and the outcomes of stock that are part of the repository."""
    say(f"{suite.title}: the newest of what it needs")
    environment = prepare(suite, options.python, pinned=False)
    found = run_stock(environment, list(suite.tests), options.processes)
    suite.pins.parent.mkdir(exist_ok=True)
    head = f"# What the suite of {suite.title} is run with; written by `tests/upstream/run.py --record`.\n"
    suite.pins.write_text(head + "".join(f"{name}=={version}\n" for name, version in environment.packages.items()))
    print(f"{len(found)} outcomes: {outcomes.record(environment, found, to_commit=True)}")


def say(text: str) -> None:
    """A headline."""
    print(f"\n==> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
