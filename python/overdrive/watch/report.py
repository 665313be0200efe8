"""The verdicts as a table, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from overdrive.watch.faults import Fault
from overdrive.watch.verdict import BAD, OK, Verdict

HEADINGS = ("endpoint", "pattern", "requests", "at once", "blocked longest", "in all", "delay to others", "verdict")
COLORS = {OK: "\x1b[32m", BAD: "\x1b[31m"}
BETTER_COLOR = "\x1b[33m"
PLAIN = "\x1b[0m"


def table(verdicts: Sequence[Verdict], faults: Sequence[Fault] = (), *, colors: bool = False) -> str:
    """A line an endpoint; below those that are not OK, where and what to do; and then the other faults."""
    if not verdicts and not faults:
        return "No request has come in, and nothing has blocked the event loop."
    rows = [_row(verdict) for verdict in verdicts]
    widths = [max(len(row[column]) for row in (HEADINGS, *rows)) for column in range(len(HEADINGS))]
    lines = [_aligned(HEADINGS, widths)]
    for verdict, row in zip(verdicts, rows, strict=True):
        text = _aligned(row, widths)
        if colors:
            text = text[: -len(row[-1])] + COLORS.get(verdict.word, BETTER_COLOR) + row[-1] + PLAIN
        lines.append(text)
        if verdict.word != OK:
            lines.append(f"    {verdict.line or 'where is not known'}")
            lines.append(f"    use {verdict.remedy}")
    for fault in faults:
        lines.append(f"{fault.count} x {fault.text}")
        lines.append(f"    use {fault.remedy}")
    return "\n".join(lines)


def _row(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.endpoint,
        verdict.pattern or "-",
        str(verdict.requests) if verdict.requests else "-",
        str(verdict.concurrency) if verdict.concurrency else "-",
        milliseconds(verdict.longest),
        milliseconds(verdict.total),
        milliseconds(verdict.delay),
        verdict.word,
    )


def milliseconds(seconds: float) -> str:
    """A time as people read it; a dash for none."""
    return f"{seconds * 1000:.0f} ms" if seconds else "-"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, last = row[0].ljust(widths[0]), row[-1]
    numbers = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
    return "  ".join([first, *numbers, last])
