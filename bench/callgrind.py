"""Reads what callgrind wrote, and says which stage of a request each instruction belongs to.

Rules on function and source file tell a program's own lines. An instruction is charged

- to the stage of the line it stands on, where a rule knows that line;
- otherwise to the stage that called into the unknown code. callgrind keeps the inclusive cost of each call by the line
  that makes it, so this is exact, however many stages share the unknown code (the interpreter, the allocator);
- less what comes back from unknown code into known functions (a task's step, `send()` in the application): that is
  charged to stages of its own. A rule says from which stage such a return comes, as the file does not.

The format: Valgrind manual, "Callgrind Format Specification".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"\((\d+)\)(?: (.*))?")


class FormatError(ValueError):
    """The file is not what callgrind writes, or not all of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instruction stands."""

    library: str
    function: str
    home: str
    """Source file of the function."""
    file: str
    """Source file of the line: another one where code of other functions was inlined."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Instructions at a place; with `callee`, those of all calls from there, and of all that these did."""

    at: Place
    instructions: int
    callee: Place | None = None


def read(path: Path) -> Iterator[Cost]:
    """The costs in an output file of `valgrind --tool=callgrind`.

    Raises:
        FormatError: instructions are not what was counted first, or the costs do not add up to the file's own total.
    """
    names: dict[tuple[str, str], str] = {}

    def named(kind: str, text: str) -> str:
        # Objects, files and functions are numbered apart, and written out the first time alone.
        found = _NAME.fullmatch(text)
        if found is None:
            return text
        if found[2] is not None:
            names[kind, found[1]] = found[2]
        return names[kind, found[1]]

    library = function = home = file = callee_library = callee_file = callee = ""
    is_call = False
    counted, total = 0, None
    with path.open(errors="replace") as lines:
        for line in lines:
            if line[0] in "+-*" or line[0].isdigit():
                instructions = int(line.split()[1])
                at = Place(library, function, home, file)
                if is_call:
                    callee_home = callee_file or file
                    yield Cost(at, instructions, Place(callee_library or library, callee, callee_home, callee_home))
                    is_call, callee_library, callee_file = False, "", ""
                else:
                    counted += instructions
                    yield Cost(at, instructions)
                continue
            key, _, value = line.rstrip("\n").partition("=" if "=" in line else ": ")
            match key:
                case "events" if not value.startswith("Ir"):
                    raise FormatError(f"{path} counts {value} and not instructions (Ir)")
                case "totals":
                    total = int(value.split()[0])
                case "ob":
                    library = named("ob", value)
                case "fl":
                    home = file = named("fl", value)
                case "fi" | "fe":
                    file = named("fl", value)
                case "fn":
                    function = named("fn", value)
                    file = home
                case "cob":
                    callee_library = named("ob", value)
                case "cfi" | "cfl":
                    callee_file = named("fl", value)
                case "cfn":
                    callee = named("fn", value)
                case "calls":
                    is_call = True
    if total != counted:
        raise FormatError(
            f"the costs in {path} add up to {counted}, its total is {total}: was callgrind ended too early?"
        )


@dataclass(frozen=True)
class Rule:
    """Lines whose function and file match both expressions belong to `stage`."""

    stage: str
    function: str = ""
    file: str = ""


@dataclass(frozen=True)
class Return:
    """Functions that unknown code calls back, and the stage that had called this unknown code."""

    function: str
    stage: str


@dataclass(frozen=True)
class Stages:
    """Instructions by stage, the program's in sum."""

    instructions: dict[str, int]
    unplaced: dict[str, int]
    """Functions called back that no `Return` names: their own cost is charged rightly, but has not been taken from the
    stage around them."""


def by_stage(costs: Iterable[Cost], rules: Sequence[Rule], returns: Sequence[Return], outermost: str) -> Stages:
    """Charges every instruction to a stage; to `outermost` what no rule's function calls, directly or not."""
    stage_of = _Lookup(rules)
    charged: Counter[str] = Counter()
    unplaced: Counter[str] = Counter()
    total = 0
    for cost in costs:
        here = stage_of(cost.at)
        if cost.callee is None:
            total += cost.instructions
            if here is not None:
                charged[here] += cost.instructions
            continue
        there = stage_of(cost.callee)
        if here is not None and there is None:
            charged[here] += cost.instructions
        elif here is None and there is not None:
            around = next((each.stage for each in returns if re.search(each.function, cost.callee.function)), None)
            if around is None:
                unplaced[cost.callee.function] += cost.instructions
            elif around != outermost:
                charged[around] -= cost.instructions
    charged[outermost] = total - sum(charged.values())
    return Stages(dict(charged), dict(unplaced))


def by_library(costs: Iterable[Cost]) -> dict[str, int]:
    """Instructions by the object file they stand in."""
    result: Counter[str] = Counter()
    for cost in costs:
        if cost.callee is None:
            result[cost.at.library] += cost.instructions
    return dict(result)


class _Lookup:
    """The stage of a place: by its own file, else by the file its function comes from, else None."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [(rule.stage, re.compile(rule.function), re.compile(rule.file)) for rule in rules]
        self._found: dict[Place, str | None] = {}

    def __call__(self, place: Place) -> str | None:
        if place not in self._found:
            inlined = self._match(place.function, place.file)
            self._found[place] = inlined if inlined is not None else self._match(place.function, place.home)
        return self._found[place]

    def _match(self, function: str, file: str) -> str | None:
        for stage, of_function, of_file in self._rules:
            if of_function.search(function) and of_file.search(file):
                return stage
        return None
