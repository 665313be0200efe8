"""What a run of a suite came to, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from comparison import Comparison
from outcomes import Run


@dataclass(frozen=True)
class Report:
    """One suite's.

    outcomes: how many tests came to what, with the engine.
    reached: how many tests sent requests through the engine, in-process alone, or none at all.
    requests: how many requests there were, by kind.
    by_plan, by_application: HTTP requests to path operations; the latter by the reason why no plan answered.
    elsewhere: requests that met no path operation, by who answered them.
    second_look: tests that ended as with stock only when they were run once more.
    """

    suite: str
    python: str
    comparison: Comparison
    outcomes: Counter[str]
    reached: Counter[str]
    requests: Counter[str]
    by_plan: int
    by_application: Counter[str]
    elsewhere: Counter[str]
    second_look: list[str]

    @property
    def operations(self) -> int:
        """Requests to path operations."""
        return self.by_plan + self.by_application.total()

    @property
    def share(self) -> float | None:
        """Of plans in the requests to path operations; `None` where there were no such requests."""
        return self.by_plan / self.operations if self.operations else None


REACHED = {
    "engine": "sent requests through the engine",
    "in-process": "had the application called in-process (trio)",
    "none": "sent no request by a test client: they call the application or its parts themselves",
}


def report(suite: str, python: str, run: Run, comparison: Comparison, second_look: list[str]) -> Report:
    """Counts up."""
    reached: Counter[str] = Counter()
    requests: Counter[str] = Counter()
    by_application: Counter[str] = Counter()
    elsewhere: Counter[str] = Counter()
    by_plan = 0
    for test, outcome in run.outcomes.items():
        rows = run.requests.get(test, [])
        kinds = {row[0] for row in rows}
        if outcome != "skipped":
            reached["engine" if kinds - {"in-process"} else "in-process" if kinds else "none"] += 1
        for kind, is_operation, who, count in rows:
            requests[kind] += count
            if kind == "websocket":
                elsewhere["the application: a WebSocket"] += count
            elif not is_operation:
                elsewhere[_answerer(who)] += count
            elif who == "plan":
                by_plan += count
            else:
                by_application[_answerer(who)] += count
    outcomes = Counter(run.outcomes.values())
    return Report(
        suite,
        python,
        comparison,
        outcomes,
        reached,
        requests,
        by_plan,
        by_application,
        elsewhere,
        second_look,
    )


def as_text(found: Report) -> Iterator[str]:
    """Lines to print."""
    yield f"==> {found.suite} on Python {found.python}, through the engine"
    yield ", ".join(f"{count} {outcome}" for outcome, count in found.outcomes.most_common())
    yield ""
    yield "tests that were not skipped"
    for key, text in REACHED.items():
        yield _row(found.reached[key], text)
    yield ""
    yield "requests"
    for kind, count in found.requests.most_common():
        yield _row(count, kind)
    if found.share is not None:
        yield ""
        yield f"requests to path operations: {found.operations}, of which plans answered {found.share:.1%}"
        yield _row(found.by_plan, "a plan")
        for reason, count in found.by_application.most_common():
            yield _row(count, reason)
    yield ""
    yield "requests that met no path operation"
    for who, count in found.elsewhere.most_common():
        yield _row(count, who)
    for title, lines in (
        ("known differences", [f"{difference}: {difference.reason}" for difference in found.comparison.expected]),
        ("as with stock only when run once more", found.second_look),
        ("DIFFERENT", [str(difference) for difference in found.comparison.unexpected]),
        ("OUTDATED in the file of known differences", found.comparison.outdated),
    ):
        if lines:
            yield ""
            yield f"{title}: {len(lines)}"
            yield from (f"  {line}" for line in lines)


def _answerer(who: str) -> str:
    if who == "plan":
        return "a plan"
    reason = who.removeprefix("asgi").removeprefix(": ")
    return f"the application: {reason}" if reason else "an application of another kind than FastAPI's, or middleware"


def _row(count: int, text: str) -> str:
    return f"  {count:6}  {text}"


def write(found: list[Report], file: Path) -> None:
    """The same as JSON: a list, a suite each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([_as_json(report) for report in found], indent=2) + "\n")


def _as_json(found: Report) -> dict[str, Any]:
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return fields | {"comparison": asdict(found.comparison), "operations": found.operations, "share": found.share}
