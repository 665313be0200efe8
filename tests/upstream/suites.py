"""The suites of other projects that are run: where each is from, and what it needs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Suite:
    """A project's own test suite, from its source distribution on PyPI.

    sha256: of the source distribution; None: whatever PyPI has.
    group: the dependency group in its pyproject.toml that its tests need.
    unneeded: names in that group that check or measure and run no test.
    extra: what is needed besides.
    tests: what pytest is given unless told otherwise.
    on_path: folders of the source that must be importable.
    """

    name: str
    version: str
    sha256: str | None
    group: str
    unneeded: frozenset[str]
    extra: tuple[str, ...]
    tests: tuple[str, ...]
    on_path: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """For headlines."""
        return f"{self.name} {self.version}"

    @property
    def pins(self) -> Path:
        """The releases that the suite is run with: constraints for pip."""
        return HERE / "pins" / f"{self.name}.txt"

    @property
    def differences(self) -> Path:
        """The tests that are known to end otherwise than with stock."""
        return HERE / f"differences-{self.name}.toml"

    def requirements(self, source: Path) -> list[str]:
        """What pip is to install, for the unpacked source distribution at `source`."""
        groups = tomllib.loads((source / "pyproject.toml").read_text())["dependency-groups"]
        needed = [need for need in _group(groups, self.group) if _name(need) not in self.unneeded]
        return [*needed, *self.extra]


def _group(groups: dict[str, Any], name: str) -> Iterator[str]:
    for need in groups[name]:
        if isinstance(need, str):
            yield need
        else:
            yield from _group(groups, need["include-group"])


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None, f"no requirement: {requirement!r}"
    return found[0].lower()


SUITES = (
    Suite(
        name="fastapi",
        version="0.165.0",
        sha256="dd94d4128319c1e1d50535ab023ab698f850a4d2822f0e181747b46f4ff3c0ab",
        group="tests",
        unneeded=frozenset({"mypy", "ty", "pytest-cov", "pytest-sugar"}),
        extra=("fastapi[all]==0.165.0", "starlette==1.10.0"),
        tests=("tests",),
        on_path=("docs_src",),
    ),
    Suite(
        name="starlette",
        version="1.10.0",
        sha256="b8399098d4c1e3522734f7235dc79b1fc967f96cf139c81e0fa30479e0685f9b",
        group="dev",
        unneeded=frozenset({"coverage", "mypy", "ruff", "twine", "types-pyyaml"}),
        extra=("starlette[full]==1.10.0", "pytest-xdist>=3"),
        tests=("tests",),
    ),
)
