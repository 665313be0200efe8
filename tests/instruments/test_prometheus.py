"""prometheus-fastapi-instrumentator: its metrics, apart from times, are what they are under uvicorn."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx

from tests.instruments.asked import ASKED
from tests.instruments.recorded import Pair, Side

# Of the process, or of time.
OTHERS = re.compile(r"#|python_|process_|.*(_created|duration_\w*(_sum|_bucket))\b")


def test_metrics(pair_of: Callable[[str], Pair]) -> None:
    both = pair_of("with_prometheus")
    for side in (both.uvicorn, both.overdrive):
        for ask in ASKED.values():
            assert side.answer(ask).status_code == ask.status
    expected, got = _metrics(both.uvicorn), _metrics(both.overdrive)
    assert any(
        line.startswith('http_requests_total{handler="/items/{number}",method="POST",status="4xx"}') for line in got
    )
    assert got == expected
    assert "observed by Prometheus" in both.overdrive.served.log


def _metrics(side: Side) -> list[str]:
    text = httpx.get(f"{side.served.url}/metrics").text
    return [line for line in text.splitlines() if not OTHERS.match(line)]
