"""A bar chart as SVG: no library, legible at the width of a page, light or dark as the reader's system is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 720
LABELS = 170
CHARACTER = 7.5
"""The width of one in a figure, or little less."""
TOP = 74
ROW = 34
BAR = 20

STYLE = """
  svg { font: 14px system-ui, sans-serif; background: #fff; }
  .title { font-size: 17px; font-weight: 600; }
  text { fill: #1c2128; } .quiet { fill: #59636e; font-size: 12.5px; } .figure { font-variant-numeric: tabular-nums; }
  .bar { fill: #afb8c1; } .ours { fill: #cf4a1f; } .range { stroke: #1c2128; stroke-width: 1.5; }
  .mark { stroke: #1a7f37; stroke-width: 3; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    text { fill: #e6edf3; } .quiet { fill: #9198a1; }
    .bar { fill: #59636e; } .ours { fill: #ff7a4d; } .range { stroke: #e6edf3; } .mark { stroke: #3fb950; }
  }
"""


@dataclass(frozen=True)
class Bar:
    """A median with the range of the runs behind it.

    `mark` is the value to reach, drawn across the bar; `figure` stands beside it instead of the value.
    """

    name: str
    value: float
    least: float
    most: float
    highlight: bool = False
    mark: float | None = None
    figure: str = ""


def draw(title: str, subtitle: str, bars: Sequence[Bar]) -> str:
    """The chart; the longest bar, range or the farthest mark fills the width."""
    height = TOP + ROW * len(bars) + 10
    figures = CHARACTER * max(len(_figure(bar)) for bar in bars) + 24
    scale = (WIDTH - LABELS - figures) / (max(max(bar.most, bar.mark or 0) for bar in bars) or 1)
    rows = "\n".join(_row(bar, TOP + ROW * index, scale) for index, bar in enumerate(bars))
    summary = "; ".join(f"{bar.name} {_figure(bar)}" for bar in bars)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"
     aria-label="{escape(title)}: {escape(summary)}">
<style>{STYLE}</style>
<text class="title" x="16" y="30">{escape(title)}</text>
<text class="quiet" x="16" y="52">{escape(subtitle)}</text>
{rows}
</svg>
"""


def _row(bar: Bar, y: int, scale: float) -> str:
    middle = y + BAR / 2
    length = max(0.0, bar.value * scale)
    least, most = (LABELS + max(0.0, end * scale) for end in (bar.least, bar.most))
    mark = "" if bar.mark is None else _mark(LABELS + bar.mark * scale, y)
    figure_at = max(LABELS + length, most, LABELS + (bar.mark or 0) * scale) + 8
    return f"""<text x="{LABELS - 10}" y="{middle + 5}" text-anchor="end">{escape(bar.name)}</text>
<rect class="bar{" ours" if bar.highlight else ""}" x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3"/>
<path class="range" d="M{least:.1f} {middle}H{most:.1f}M{least:.1f} {middle - 4}v8M{most:.1f} {middle - 4}v8"/>{mark}
<text class="figure" x="{figure_at:.1f}" y="{middle + 5}">{escape(_figure(bar))}</text>"""


def _mark(x: float, y: int) -> str:
    return f'\n<path class="mark" d="M{x:.1f} {y - 4}v{BAR + 8}"/>'


def _figure(bar: Bar) -> str:
    return bar.figure or _number(bar.value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
