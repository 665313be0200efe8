"""Results as a table on the terminal, Markdown, JSON, and one chart a case."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from statistics import median

import overview
from cases import Case, Metric, Target
from chart import Bar, draw
from environment import BENCH

RESULTS = BENCH / "results"
BASELINE = "uvicorn"
RATE = "rate"
SERVER, LOAD, OTHERS = "server", "load", "others"
"""Keys of a run: processor time a second of the server, of the load, and of others on the core of either."""
DISTURBED = 0.05
BUSY = 0.95
"""Part of a core from which on whoever has it is taken for the limit of a run."""


@dataclass(frozen=True)
class Verdict:
    """A target in words, and what was found; `reached` is None where a peer was left out or nothing was measured."""

    target: str
    found: float | None
    reached: bool | None


@dataclass
class Results:
    """The runs of a case: figures by variant, in order, why one could not be measured, and why others take no part."""

    case: Case
    runs: dict[str, list[dict[str, float]]]
    failures: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def figures(self, variant: str, metric: str) -> list[float]:
        """All figures of a variant, in the metric's unit."""
        return [run[metric] / self.case.metrics[metric].scale for run in self.runs.get(variant, ())]

    def middle(self, variant: str, metric: str) -> float | None:
        """Their median; None if there is no run, or if one of them failed."""
        if variant in self.failures or not self.runs.get(variant):
            return None
        return median(self.figures(variant, metric))

    def ratios(self, variant: str, peer: str, metric: str) -> list[float]:
        """The ratios within each round, which a slow minute of the machine leaves alone."""
        if self.middle(variant, metric) is None or self.middle(peer, metric) is None:
            return []
        pairs = zip(self.figures(variant, metric), self.figures(peer, metric), strict=True)
        return [own / other for own, other in pairs if other]

    def ratio(self, variant: str, peer: str, metric: str) -> float | None:
        """Their median; None if one of the two was not measured."""
        found = self.ratios(variant, peer, metric)
        return median(found) if found else None

    def goal(self, variant: str, metric: str) -> float | None:
        """What a variant has to reach by its target against the baseline, in the metric's unit."""
        middle = self.middle(BASELINE, metric)
        bounds = [
            target.bound
            for target in self.case.targets
            if (target.subject, target.metric, target.peer) == (variant, metric, BASELINE)
        ]
        return bounds[0] * middle if bounds and middle is not None else None

    def share(self, variant: str, of: str) -> float:
        """The median processor time a second of SERVER or LOAD; 1 is a whole core."""
        return median(run[of] for run in self.runs[variant])

    def load_is_limit(self, variant: str) -> bool:
        """Whether the load generator had no time left while the server had."""
        return self.share(variant, LOAD) >= BUSY and self.share(variant, SERVER) < BUSY

    def disturbance(self) -> float:
        """The largest part of a core that others took from a server or its load in a run."""
        return max((run.get(OTHERS, 0.0) for runs in self.runs.values() for run in runs), default=0.0)

    def verdicts(self) -> Iterator[Verdict]:
        """Each target with what was found."""
        for target in self.case.targets:
            found = self._found(target)
            more = target.peer is not None or self.case.metrics[target.metric].more_is_better
            reached = None if found is None else (found >= target.bound if more else found <= target.bound)
            yield Verdict(self._words(target), found, reached)

    def _found(self, target: Target) -> float | None:
        if target.peer is None:
            return self.middle(target.subject, target.metric)
        return self.ratio(target.subject, target.peer, target.metric)

    def _words(self, target: Target) -> str:
        metric = self.case.metrics[target.metric]
        if target.peer:
            return f"{target.subject} at least {target.bound:g} x {target.peer} ({metric.unit})"
        direction = "at least" if metric.more_is_better else "at most"
        return f"{target.subject} {direction} {target.bound:g} {metric.unit}"


def write(results: Sequence[Results], machine: Mapping[str, str], versions: Mapping[str, str], *, quick: bool) -> None:
    """Prints the tables, and leaves them with the charts in bench/results/."""
    RESULTS.mkdir(exist_ok=True)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    text = "\n".join(markdown(results, machine, versions, when, quick=quick))
    print("\n" + text)
    (RESULTS / "results.md").write_text(text + "\n")
    document = {
        "when": when,
        "quick": quick,
        "machine": dict(machine),
        "versions": dict(versions),
        "cases": {result.case.name: as_json(result) for result in results},
    }
    (RESULTS / "results.json").write_text(json.dumps(document, indent=2) + "\n")
    for result in results:
        name, metric = next(iter(result.case.metrics.items()))
        bars = [
            Bar(
                variant,
                middle,
                min(figures),
                max(figures),
                highlight=variant.startswith("overdrive"),
                mark=result.goal(variant, name),
            )
            for variant in result.runs
            if (figures := result.figures(variant, name)) and (middle := result.middle(variant, name)) is not None
        ]
        if bars:
            better = "more is better" if metric.more_is_better else "less is better"
            subtitle = f"{metric.unit}, {better}; median and range; runs: {len(result.figures(bars[0].name, name))}"
            if any(bar.mark is not None for bar in bars):
                subtitle += f"; green: the target, in that of {BASELINE}"
            (RESULTS / f"{result.case.name}.svg").write_text(draw(result.case.title, subtitle, bars))
    for group, members in groups(results).items():
        for drawing in overview.chart(members, BASELINE):
            (RESULTS / f"{group}.svg").write_text(drawing)
    print(f"written to {RESULTS}")


def markdown(
    results: Sequence[Results], machine: Mapping[str, str], versions: Mapping[str, str], when: str, *, quick: bool
) -> Iterator[str]:
    """The report, line by line."""
    yield f"# Benchmark of {when}"
    yield ""
    if quick:
        yield "A quick look: few, short rounds. The figures are no proof of anything."
        yield ""
    yield ", ".join(f"{key} {value}" for key, value in machine.items()) + "."
    yield ", ".join(f"{key} {value}" for key, value in versions.items()) + "."
    for group, members in groups(results).items():
        if rows := overview.rows(members, BASELINE):
            yield ""
            yield f"## At a glance (`{group}`): requests/s in those of {BASELINE}"
            yield ""
            yield from aligned(rows)
    for result in results:
        yield ""
        yield f"## {result.case.title} (`{result.case.name}`)"
        for name, metric in result.case.metrics.items():
            yield ""
            yield from table(result, name, metric)
        yield ""
        for verdict in result.verdicts():
            word = {True: "reached", False: "NOT REACHED", None: "not measured"}[verdict.reached]
            found = "-" if verdict.found is None else f"{verdict.found:.2f}"
            yield f"- {verdict.target}: {found}, {word}"
        if (others := result.disturbance()) > DISTURBED:
            yield f"- provisional: other processes took up to {others:.0%} of a core from a server or its load"
        for variant in result.runs:
            if variant not in result.failures and result.load_is_limit(variant):
                yield f"- {variant} could do more: the load generator was at its limit"
        for variant, remarks in result.case.remarks.items():
            if variant in result.runs and remarks:
                yield f"- {variant}: {'; '.join(remarks)}"
        for variant, reason in result.failures.items():
            yield f"- {variant} could not be measured: {reason.splitlines()[0]}"
        for variant, reason in result.absent.items():
            yield f"- {variant} takes no part: {reason.splitlines()[0]}"


def groups(results: Sequence[Results]) -> dict[str, list[Results]]:
    """The results of each group of cases."""
    found: dict[str, list[Results]] = {}
    for result in results:
        if result.case.group:
            found.setdefault(result.case.group, []).append(result)
    return found


def table(result: Results, name: str, metric: Metric) -> Iterator[str]:
    """Median, range and ratio to uvicorn of each server, aligned so that it can be read as it stands.

    Beside a rate stands how much of its core the server had: when that is less than all, something else was the limit.
    """
    rows = [["server", metric.unit, "least", "most", f"x {BASELINE}"]]
    if name == RATE:
        rows[0].append("of a core")
    for variant in result.runs:
        middle = result.middle(variant, name)
        if middle is None:
            rows.append([variant, *("-" for _ in rows[0][1:])])
            continue
        figures = result.figures(variant, name)
        ratio = result.ratio(variant, BASELINE, name)
        row = [variant, number(middle), number(min(figures)), number(max(figures))]
        row.append("-" if ratio is None else f"{ratio:.2f}")
        if name == RATE:
            row.append(f"{result.share(variant, SERVER):.0%}")
        rows.append(row)
    yield from aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, the first row of which is its head and the first column of which is text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for index, row in enumerate(rows):
        first, *rest = (cell.ljust(width) if not at else cell.rjust(width)
                        for at, (cell, width) in enumerate(zip(row, widths, strict=True)))  # fmt: skip
        yield "| " + " | ".join((first, *rest)) + " |"
        if index == 0:
            yield "|" + "|".join("-" * (width + 2) if not at else "-" * (width + 1) + ":"
                                 for at, width in enumerate(widths)) + "|"  # fmt: skip


def as_json(result: Results) -> dict[str, object]:
    """Everything that was measured, in the metrics' units."""
    return {
        "title": result.case.title,
        "metrics": {
            name: {
                "unit": metric.unit,
                "servers": {
                    variant: {"median": result.middle(variant, name), "runs": result.figures(variant, name)}
                    for variant in result.runs
                },
            }
            for name, metric in result.case.metrics.items()
        },
        "processor": {
            variant: {key: [run[key] for run in runs if key in run] for key in (SERVER, LOAD, OTHERS)}
            for variant, runs in result.runs.items()
        },
        "targets": [asdict(verdict) for verdict in result.verdicts()],
        "disturbance": result.disturbance(),
        "failures": result.failures,
        "absent": result.absent,
    }


def number(value: float) -> str:
    """Three significant digits for small figures, whole ones for large."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.0f}"
