"""The verdict on each endpoint: what it does to the event loop, and what is to be done about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from overdrive.watch.stacks import short
from overdrive.watch.stalls import Place

OK = "OK"
BAD = "Bad"
BETTER = "Could be better"

# A `def` whose calls are shorter than the hand-over to a thread and back takes (seconds) gains nothing by it.
HAND_OVER = 0.0001
# From so many calls on the average says something.
ENOUGH_CALLS = 20

# What to do instead, by the first pattern that the blocking line or the function it was in matches.
REMEDIES: tuple[tuple[str, str], ...] = (
    (r"\btime\.sleep\b|\bsleep\(", "await asyncio.sleep(...)"),
    (
        r"\brequests\.|\burllib\b|\burlopen\b|\bhttpx\.(get|post|put|patch|delete|request|stream|Client)\b|http[/\\]client",
        ("an async client (httpx.AsyncClient), or `def`"),
    ),
    (
        r"psycopg|sqlite3|pymysql|MySQLdb|\bcursor\b|\.execute\(|sqlalchemy|pymongo|\bredis\b",
        ("an async driver, or `def`"),
    ),
    (r"\bsubprocess\b|\bos\.system\b", "asyncio.create_subprocess_exec"),
    (
        r"\bopen\(|\.read(_text|_bytes|lines?)?\(|\.write(_text|_bytes|lines)?\(|\bos\.(listdir|walk|stat)\b|\bshutil\b",
        ("`def`, or anyio.open_file"),
    ),
    (
        r"\bjson\.|\bpickle\.|\bre\.(match|search|fullmatch|sub|findall|split)\b|[/\\]re[/\\]|[/\\]json[/\\]",
        ("run_in_executor with a process pool, or less of it"),
    ),
    (
        r"\.acquire\(|\.wait\(|\.join\(|\.result\(|[/\\]threading\.py|queue\.py",
        ("asyncio's own locks and queues, or `def`: the loop must not wait for a thread"),
    ),
)
OTHERWISE = "`def`, or run_in_executor; a process pool if it computes"


@dataclass(frozen=True)
class Verdict:
    """One endpoint. Times are in seconds.

    pattern: "async", "def" or "".
    concurrency: the most requests in flight at the same time.
    longest, total: time that single steps have kept the loop, stalls only.
    delay: what that may have added to other requests, at the most.
    word: `OK`, `BAD` or `BETTER`; `line` says where, `remedy` what to do.
    """

    endpoint: str
    pattern: str
    requests: int
    concurrency: int
    longest: float
    total: float
    delay: float
    word: str
    line: str = ""
    remedy: str = ""


def verdicts(routes: Iterable[Mapping[str, Any]], places: Iterable[Place], threshold: float) -> list[Verdict]:
    """What is to be said of each route, the worst first, and of what stalled the loop outside of routes.

    routes: as `Watch.routes()` gives them; places: as `Stalls` has gathered them.
    """
    by_where: dict[str, list[Place]] = {}
    for place in places:
        by_where.setdefault(place.where, []).append(place)
    found = []
    for route in routes:
        name = f"{route['method']} {route['path']}".strip()
        found.append(_of_route(name, route, by_where.pop(name, []), threshold))
    found += [_of_place(place) for rest in by_where.values() for place in rest]
    return sorted(found, key=lambda verdict: ((BAD, BETTER, OK).index(verdict.word), -verdict.total))


def remedy(place: Place) -> str:
    """What to do about a line that blocks."""
    if place.blame is None:
        return OTHERWISE
    call = place.blame.call
    text = f"{place.blame.source} {' '.join(str(part) for part in call) if call else ''}"
    return next((advice for pattern, advice in REMEDIES if re.search(pattern, text)), OTHERWISE)


def _of_route(name: str, route: Mapping[str, Any], places: list[Place], threshold: float) -> Verdict:
    word, line, advice = OK, "", ""
    worst = max(places, key=lambda place: place.total, default=None)
    if worst is not None:
        word, line, advice = BAD, _line(worst), remedy(worst)
    elif route["stalls"]:
        word, line, advice = BAD, _endpoint(route), OTHERWISE
    elif route["thread_calls"] >= ENOUGH_CALLS:
        ran = route["thread_ran"] / route["thread_calls"]
        queued = route["thread_queued"] / route["thread_calls"]
        if route["longest_thread_queue"] >= threshold and queued > ran:
            word, line = BETTER, _endpoint(route)
            advice = f"more threads: calls waited {queued * 1000:.1f} ms for one and ran {ran * 1000:.1f} ms"
        elif ran < HAND_OVER and route["pattern"] == "def":
            word, line = BETTER, _endpoint(route)
            advice = f"`async def`: it never waits, and its {ran * 1e6:.0f} us cost less than the hand-over to a thread"
    return Verdict(
        endpoint=name,
        pattern=route["pattern"],
        requests=route["requests"],
        concurrency=route["most_in_flight"],
        longest=max((place.longest for place in places), default=route["longest_step"] if route["stalls"] else 0.0),
        total=route["stalled"],
        delay=route["delayed_others"],
        word=word,
        line=line,
        remedy=advice,
    )


def _of_place(place: Place) -> Verdict:
    return Verdict(
        endpoint=place.where,
        pattern="",
        requests=0,
        concurrency=0,
        longest=place.longest,
        total=place.total,
        delay=place.delayed,
        word=BAD,
        line=_line(place),
        remedy=remedy(place),
    )


def _line(place: Place) -> str:
    if place.blame is None:
        return ""
    file, line, _ = place.blame.frame
    return f"{short(file)}:{line} {place.blame.source}".strip()


def _endpoint(route: Mapping[str, Any]) -> str:
    return f"{short(route['file'])}:{route['lineno']}" if route["file"] else ""
