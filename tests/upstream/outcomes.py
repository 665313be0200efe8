"""The outcome of each test of a suite: of a run now, or of stock as it was recorded.

What stock comes to depends on the releases and the Python alone, so that it is run once for them. What was recorded for
the pinned releases is part of the repository (`stock/`); for other ones it is kept beside their environment.
"""

from __future__ import annotations

import json
import lzma
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environment import OURS, Environment, SetupError

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "stock"
# pytest's ways to end that leave outcomes behind: all passed, some failed.
ORDINARY = (0, 1)
# A test that takes longer hangs.
TEST_SECONDS = 60


@dataclass
class Run:
    """What a run of a suite came to.

    outcomes: by the test's name: passed, failed, error, skipped, xfailed or xpassed.
    requests: by the test's name: rows of kind, whether a path operation was met, who answered, how often.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    requests: dict[str, list[Any]] = field(default_factory=dict)


def run(environment: Environment, tests: list[str], *, engine: bool, processes: int = 1) -> Run:
    """Runs tests of the suite, with the engine or as the project does; in workers, which may hang or break down.

    Raises:
        SetupError: pytest did not come to its end.
    """
    source = environment.unpack()
    results = environment.folder / "results.json"
    results.unlink(missing_ok=True)
    on_path = [*(source / folder for folder in environment.suite.on_path), HERE / "plugin"]
    command = [environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "overdrive_upstream"]
    command.append(f"--timeout={TEST_SECONDS}")
    ended = subprocess.run(
        [*command, "-n", str(processes), *tests],
        cwd=source,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(map(str, on_path)),
            # The source is unpacked anew each time, with the dates that it was published with.
            "PYTHONPYCACHEPREFIX": str(environment.folder / "pycache"),
            "OVERDRIVE_UPSTREAM_RESULTS": str(results),
            "OVERDRIVE_UPSTREAM_ENGINE": "1" if engine else "",
        },
    )
    if ended.returncode not in ORDINARY or not results.exists():
        raise SetupError(f"the suite of {environment.suite.title} broke off: pytest ended with {ended.returncode}")
    return Run(**json.loads(results.read_text()))


def recorded(environment: Environment) -> dict[str, str] | None:
    """The outcomes of stock that were recorded with these very versions."""
    for file in (_committed(environment), _kept(environment)):
        if file.exists():
            record = json.loads(lzma.decompress(file.read_bytes()))
            # A suite may itself ask for something that is ours; no test depends on its release.
            versions = {name: version for name, version in record["versions"].items() if name not in OURS}
            if versions == environment.versions:
                outcomes: dict[str, str] = record["outcomes"]
                return outcomes
    return None


def record(environment: Environment, outcomes: dict[str, str], *, to_commit: bool) -> Path:
    """Keeps the outcomes of stock; `to_commit`: as part of the repository."""
    file = _committed(environment) if to_commit else _kept(environment)
    file.parent.mkdir(exist_ok=True)
    content = {"versions": environment.versions, "outcomes": dict(sorted(outcomes.items()))}
    file.write_bytes(lzma.compress(json.dumps(content).encode(), preset=9))
    return file


def _committed(environment: Environment) -> Path:
    return RECORDED / _name(environment)


def _kept(environment: Environment) -> Path:
    return environment.folder / _name(environment)


def _name(environment: Environment) -> str:
    suite = environment.suite
    return f"{suite.name}-{suite.version}-py{environment.minor}.json.xz"
