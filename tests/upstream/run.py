"""Runs FastAPI's own test suite with compiled routes, and compares each test's outcome with that of stock FastAPI.

    python3 tests/upstream/run.py                    both runs, the comparison, and who answered how many requests
    python3 tests/upstream/run.py --require-share 0.9
    python3 tests/upstream/run.py -- tests/test_security_oauth2.py     a part of the suite; arguments for pytest

The suite comes from FastAPI's source distribution on PyPI. Its test client calls the application in-process, so what is
proven here is what plans do; the engine has suites of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RELEASE = "0.165.0"
# The releases that this one was made with, and that are known to the compiler.
PINNED = [f"fastapi[all]=={RELEASE}", "starlette==1.10.0", "anyio[trio]==4.16.0"]
# Of the suite's requirements, those that check or measure and run no test.
NOT_NEEDED = ("mypy", "ty", "pytest-cov", "pytest-sugar", "anyio")
OUR_NEEDS = ["click", "maturin>=1.9,<2", "httpx", "python-slugify"]


def main() -> int:
    """1 if a test has another outcome than stock, or plans answer too few requests."""
    options = arguments()
    home = ROOT / ".venvs" / f"upstream-{options.python.name}"
    source = fetch(home)
    python = prepare(home, source, options.python)
    stock = run(python, source, home / "stock", options.pytest, compiled=False)
    compiled = run(python, source, home / "compiled", options.pytest, compiled=True)
    different = [name for name in sorted(stock.keys() | compiled.keys()) if stock.get(name) != compiled.get(name)]
    for name in different:
        print(f"different: {name}: {stock.get(name)} with stock FastAPI, {compiled.get(name)} compiled")
    share = report(home / "compiled")
    passed = sum(outcome == "passed" for outcome in compiled.values())
    if share < options.require_share:
        print(
            f"Plans answered {share:.1%} of the requests to path operations; {options.require_share:.0%} are required."
        )
    print(f"{passed} passed, {len(different)} failed")
    return 1 if different or share < options.require_share or not passed else 0


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the interpreter to run the suite on")
    parser.add_argument("--require-share", type=float, default=0.0, help="least share of requests answered by plans")
    parser.add_argument("pytest", nargs="*", default=["tests"], help="arguments for pytest")
    return parser.parse_args()


def fetch(home: Path) -> Path:
    """The unpacked source distribution."""
    source = home / f"fastapi-{RELEASE}"
    if not source.exists():
        say(f"fetching FastAPI {RELEASE}")
        home.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--dest", str(home), f"fastapi=={RELEASE}"], check=True)
        with tarfile.open(home / f"fastapi-{RELEASE}.tar.gz") as archive:
            archive.extractall(home, filter="data")
    return source


def prepare(home: Path, source: Path, interpreter: Path) -> Path:
    """A virtual environment with what the suite needs, and overdrive as it stands."""
    venv = home / "venv"
    python = venv / "bin" / "python"
    if not (venv / "installed").exists():
        say("installing what the suite needs; the first time takes a minute or two")
        subprocess.run([str(interpreter), "-m", "venv", str(venv)], check=True)
        group = tomllib.loads((source / "pyproject.toml").read_text())["dependency-groups"]["tests"]
        needs = [need for need in group if isinstance(need, str) and need.split()[0].split(">")[0] not in NOT_NEEDED]
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PINNED, *needs, *OUR_NEEDS], check=True)
        (venv / "installed").touch()
    say("building overdrive")
    version = subprocess.run(
        [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    subprocess.run(
        [str(venv / "bin" / "maturin"), "develop", "--quiet", "--target-dir", f"target/py{version.stdout.strip()}"],
        check=True,
        cwd=ROOT,
        env={**os.environ, "VIRTUAL_ENV": str(venv), "PYO3_PYTHON": str(python)},
    )
    return python


def run(python: Path, source: Path, reports: Path, options: list[str], *, compiled: bool) -> dict[str, str]:
    """Runs the suite; the outcome of each test by its name. Those of the whole suite with stock FastAPI are kept."""
    kept = reports / "outcomes.json"
    if not compiled and kept.exists() and options == ["tests"]:
        outcomes: dict[str, str] = json.loads(kept.read_text())
        return outcomes
    say("the suite with compiled routes" if compiled else "the suite with stock FastAPI")
    reports.mkdir(parents=True, exist_ok=True)
    for file in reports.iterdir():
        file.unlink()
    subprocess.run(
        [str(python), "-m", "pytest", "-q", "-n", "2", "-p", "upstream_plugin", "-p", "no:cacheprovider", *options],
        cwd=source,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(source / "docs_src"), str(HERE)]),
            "OVERDRIVE_UPSTREAM_REPORTS": str(reports.absolute()),
            "OVERDRIVE_UPSTREAM_COMPILED": "1" if compiled else "",
        },
    )
    return json.loads(kept.read_text()) if kept.exists() else {}


def report(reports: Path) -> float:
    """Prints who answered the requests; the share of plans among those to path operations."""
    answered, operations, compiled = 0, 0, 0
    handed_over: Counter[str] = Counter()
    not_compiled: Counter[str] = Counter()
    for file in reports.glob("counts-*.json"):
        counts: dict[str, Any] = json.loads(file.read_text())
        answered += counts["answered"]
        operations += counts["operations"]
        compiled += counts["compiled"]
        handed_over.update(counts["handed_over"])
        not_compiled.update(counts["not_compiled"])
    others = sum(count for reason, count in handed_over.items() if reason not in NO_OPERATION)
    share = answered / (answered + others) if answered else 0.0
    say("path operations")
    print(f"{compiled} of {operations} compiled")
    for reason, count in not_compiled.most_common():
        print(f"  {count:6}  {reason}")
    say("requests to path operations")
    print(f"{answered} answered by plans, {others} by FastAPI's own code: {share:.1%}")
    for reason, count in handed_over.most_common():
        print(f"  {count:6}  {reason}{' (no path operation)' if reason in NO_OPERATION else ''}")
    return share


# What is handed over without being a request to a path operation.
NO_OPERATION = ("a plain Starlette route", "404 or a redirect", "404 or 405")


def say(text: str) -> None:
    """A headline."""
    print(f"\n==> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
