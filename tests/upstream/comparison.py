"""Test by test: the engine's run against stock's, and against the differences that are known."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# What a test is said to come to that one of the runs does not have.
MISSING = "not there"


@dataclass(frozen=True)
class Difference:
    """A test that does not end as with stock. `reason` is that of the file of known differences."""

    test: str
    stock: str
    engine: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.test}: {self.stock} with stock, {self.engine} with the engine"


@dataclass(frozen=True)
class Known:
    """A difference that the file lists: the outcome with the engine, and why."""

    test: str
    engine: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """What was found.

    expected: differences that the file lists.
    unexpected: those that it does not.
    outdated: those of the file that are none any more, or others; as sentences.
    """

    expected: list[Difference]
    unexpected: list[Difference]
    outdated: list[str]

    @property
    def is_equal(self) -> bool:
        """Whether all is as it was said to be."""
        return not self.unexpected and not self.outdated


def differing(stock: Mapping[str, str], engine: Mapping[str, str], *, whole: bool) -> list[Difference]:
    """The tests whose outcomes differ. Not `whole`: only tests that the engine's run has are looked at."""
    names = stock.keys() | engine.keys() if whole else engine.keys()
    pairs = ((name, stock.get(name, MISSING), engine.get(name, MISSING)) for name in sorted(names))
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]


def compare(found: Iterable[Difference], known: Iterable[Known], ran: Iterable[str], *, whole: bool) -> Comparison:
    """Sorts the differences `found` by what is `known` of them.

    ran: the tests of the engine's run. Not `whole`: what is known of other tests is passed over.
    """
    ran = set(ran)
    listed = {entry.test: entry for entry in known}
    by_test = {difference.test: difference for difference in found}
    expected, unexpected, outdated = [], [], []
    for test, difference in by_test.items():
        entry = listed.get(test)
        if entry is not None and entry.engine == difference.engine:
            expected.append(Difference(test, difference.stock, difference.engine, entry.reason))
        else:
            unexpected.append(difference)
    for test, entry in listed.items():
        if test not in by_test and (whole or test in ran):
            outdated.append(f"{test}: listed as {entry.engine} with the engine, but does not differ")
    return Comparison(expected, unexpected, outdated)


def known_differences(file: Path) -> list[Known]:
    """What the file lists.

    Raises:
        ValueError: an entry says less or more than `test`, `engine` and `reason`, or a test stands there twice.
    """
    if not file.exists():
        return []
    entries = tomllib.loads(file.read_text()).get("difference", [])
    known = []
    for entry in entries:
        if entry.keys() != {"test", "engine", "reason"} or not all(entry.values()):
            raise ValueError(f"{file.name}: a difference has test, engine and reason, each with a value: {entry}")
        known.append(Known(**entry))
    if len({entry.test for entry in known}) < len(known):
        raise ValueError(f"{file.name}: a test stands there more than once")
    return known
