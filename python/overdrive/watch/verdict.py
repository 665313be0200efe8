"""The verdict on each endpoint: what it does to the event loop, and what is to be done about it."""

from __future__ import annotations

from dataclasses import dataclass

OK = "OK"
BAD = "Bad"
BETTER = "Could be better"


@dataclass(frozen=True)
class Verdict:
    """One endpoint, as the engine judges it (crates/python/src/watch/verdict.rs). Times are in seconds.

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
