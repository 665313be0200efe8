"""A group of cases at a glance: one table of ratios to the baseline beside what was to be reached, and one chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from chart import Bar, draw

if TYPE_CHECKING:
    from report import Results

SUBJECT = "overdrive"
METRIC = "rate"


def rows(results: Sequence[Results], baseline: str) -> list[list[str]]:
    """The table's cells, the head first; nothing where no case has a target against the baseline."""
    compared = [(result, bound) for result in results if (bound := _bound(result, baseline)) is not None]
    if not compared:
        return []
    named = dict.fromkeys(name for result, _ in compared for name in (*result.runs, *result.absent) if name != baseline)
    others = [SUBJECT, *(name for name in named if name != SUBJECT)]
    table = [["case", "target", *others, f"{baseline}, requests/s"]]
    for result, bound in compared:
        ratios = [result.ratio(name, baseline, METRIC) for name in others]
        middle = result.middle(baseline, METRIC)
        table.append(
            [
                result.case.title,
                f"{bound:g}",
                *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
                "-" if middle is None else f"{middle:,.0f}",
            ]
        )
    return table


def chart(results: Sequence[Results], baseline: str) -> Iterator[str]:
    """The subject's ratios, each as a part of its target; yields the drawing, if there is anything to draw."""
    bars = []
    for result in results:
        bound = _bound(result, baseline)
        if bound is None or not (ratios := result.ratios(SUBJECT, baseline, METRIC)):
            continue
        middle = median(ratios)
        bars.append(
            Bar(
                result.case.name,
                middle / bound,
                min(ratios) / bound,
                max(ratios) / bound,
                highlight=True,
                mark=1.0,
                figure=f"{middle:.1f} x of {bound:g} x",
            )
        )
    if bars:
        title = f"Throughput of FastAPI on {SUBJECT}, in that of FastAPI on {baseline}"
        yield draw(title, "as a part of the target (green), more is better; median and range of the rounds", bars)


def _bound(result: Results, baseline: str) -> float | None:
    """What the subject has to reach, as a multiple of the baseline."""
    wanted = (target for target in result.case.targets if target.peer == baseline and target.subject == SUBJECT)
    return next((target.bound for target in wanted if target.metric == METRIC), None)
