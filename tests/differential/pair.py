"""The same request to both servers, and the same answer from both."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Served
from tests.differential.application.release import IS_AS_WRITTEN
from tests.differential.wire import Answer, Broken, Client, Request, grouped

# Every server has its own.
IGNORED = {"date", "server"}

TIMES = int(os.environ.get("DIFFERENTIAL_TIMES", "1"))


@dataclass(frozen=True)
class Case:
    """Requests that are sent one after the other, and what stock FastAPI says to each in its newest release.

    `shows` must be found in the last answer of both, in its headers, body or journal: it keeps a test from passing
    because both servers refuse. `until` is an event that may come after the response; the journal is read once it is
    there.
    """

    requests: tuple[Request, ...]
    statuses: tuple[int, ...]
    shows: str | None = None
    until: str | None = None


def case(
    requests: Request | Sequence[Request],
    statuses: int | Sequence[int] = 200,
    shows: str | None = None,
    until: str | None = None,
) -> Case:
    """A case. A single status is that of every request."""
    sent = (requests,) if isinstance(requests, Request) else tuple(requests)
    expected = (statuses,) * len(sent) if isinstance(statuses, int) else tuple(statuses)
    assert len(expected) == len(sent), "one status for each request"
    return Case(sent, expected, shows, until)


def table(cases: dict[str, Case]) -> Any:
    """Parametrizes a test with `case`, its ids the names of the behaviours."""
    return pytest.mark.parametrize("case", [pytest.param(given, id=name) for name, given in cases.items()])


class Side:
    """One of the two servers."""

    def __init__(self, name: str, served: Served) -> None:
        self.name = name
        self.served = served
        self.client = Client(served)
        self._journals = Client(served)
        self._logged = 0
        self.journal("none", "0")

    def ask(self, request: Request, journal: str, following: str, until: str | None) -> Answer | str:
        """The answer with its journal, or what went wrong. In any case the journal `following` is open then."""
        answer = self.answer(request)
        if isinstance(answer, str):
            return f"{answer}\njournal: {self.journal(journal, following)}"
        answer.journal = self.journal(journal, following, until)
        return answer

    def answer(self, request: Request) -> Answer | str:
        """The answer, or what went wrong."""
        self._logged = len(self.served.log)
        try:
            return self.client.ask(request)
        except Broken as error:
            return str(error)

    def journal_once(self, journal: str, following: str, condition: str) -> list[str]:
        """What was noted once a condition holds, or after a second. Nobody asks what came late for others."""
        target = f"{journal}?next={following}"
        deadline = time.monotonic() + 1
        while True:
            last = time.monotonic() > deadline
            answer = self._journals.ask(_reading(target if last else f"{target}&{condition}"))
            if answer.status == 200:
                events: list[str] = json.loads(answer.body)["events"]
                return events

    def journal(self, journal: str, following: str, until: str | None = None) -> list[str]:
        """What was noted, once the event `until` was, and what was noted for an earlier journal too late."""
        missed = []
        if until is not None:
            deadline = time.monotonic() + 10
            while self._journals.ask(_reading(f"{journal}?until={quote(until)}")).status == 202:
                if time.monotonic() > deadline:
                    missed.append(f"(in 10 s there was no {until!r})")
                    break
        read = json.loads(self._journals.ask(_reading(f"{journal}?next={following}")).body)
        late = (f"(late, give the earlier request an `until`) {event}" for event in read["late"])
        return [*read["events"], *missed, *late]

    def wait_for(self, journal: str, event: str) -> None:
        """Returns when an event was noted."""
        deadline = time.monotonic() + 10
        while self._journals.ask(_reading(f"{journal}?until={quote(event)}")).status == 202:
            assert time.monotonic() < deadline, f"{self.name}: in 10 s there was no {event!r}\n{self.log()}"

    def log(self) -> str:
        """The end of what the server has printed since the last request was sent."""
        lines = self.served.log[self._logged :].splitlines()
        return "\n".join([f"(... {len(lines) - 25} lines before)", *lines[-25:]] if len(lines) > 26 else lines)


def _reading(target: str) -> Request:
    # As a proxy would that has spoken HTTPS: some applications insist on that.
    return Request("GET", f"/journal/{target}", (("x-forwarded-proto", "https"),))


class Story:
    """Several connections to one server, one for each label."""

    def __init__(self, side: Side, journal: str) -> None:
        self.served = side.served
        self._side = side
        self._journal = journal
        self._clients: dict[str, Client] = {}
        self.answers: list[str] = []

    def send(self, label: str, request: Request) -> None:
        """Sends a request whose answer is read later."""
        self._clients.setdefault(label, Client(self._side.served)).send(request)

    def read(self, *labels: str) -> None:
        """Reads the answers to what was sent."""
        for label in labels:
            answer = self._clients[label].answer()
            self.answers.append(f"{label}: {answer.status} {answer.body!r}")

    def ask(self, label: str, request: Request) -> None:
        """Sends a request and reads the answer."""
        self.send(label, request)
        self.read(label)

    def wait_for(self, *events: str) -> None:
        """Returns when all these were noted."""
        for event in events:
            self._side.wait_for(self._journal, event)

    def leave(self, label: str) -> None:
        """Ends one connection."""
        self._clients.pop(label).close()

    def close(self) -> None:
        """Ends the connections."""
        for client in self._clients.values():
            client.close()


class Pair:
    """uvicorn, which gives the answers, and overdrive, which must give the same."""

    def __init__(self, uvicorn: Served, overdrive: Served) -> None:
        self._counter = itertools.count(1)
        self._open = "0"
        self.uvicorn = Side("uvicorn", uvicorn)
        self.overdrive = Side("overdrive", overdrive)

    def check(self, case: Case) -> None:
        """Sends the requests of a case, as often as the environment says."""
        for _ in range(TIMES):
            answer = None
            for index, (request, status) in enumerate(zip(case.requests, case.statuses, strict=True)):
                answer = self.same(request, case.until if index == len(case.requests) - 1 else None)
                assert answer.status == status or not IS_AS_WRITTEN, (
                    f"not what this test is for:\n{request}\n\n{answer}"
                )
            if case.shows is not None and IS_AS_WRITTEN:
                assert answer is not None
                shown = f"{answer}\n{answer.body.decode(errors='replace')}"
                assert case.shows in shown, f"{case.shows!r} is not in what both answer to\n{request}\n\n{answer}"

    def alike(self, story: Callable[[Story], None]) -> list[str]:
        """Tells a story of several connections to both; returns the journal and the answers if they are equal."""
        journal, self._open = self._open, str(next(self._counter))
        told = []
        for side in (self.uvicorn, self.overdrive):
            with contextlib.closing(Story(side, journal)) as teller:
                try:
                    story(teller)
                finally:
                    events = side.journal(journal, self._open)
            told.append([*events, *teller.answers])
        assert told[0] == told[1], f"uvicorn {told[0]}\noverdrive {told[1]}"
        return told[0]

    def same(self, request: Request, until: str | None = None) -> Answer:
        """Sends a request to both; returns uvicorn's answer when overdrive's is equal, or fails with both."""
        journal, self._open = self._open, str(next(self._counter))
        expected = self.uvicorn.ask(request, journal, self._open, until)
        got = self.overdrive.ask(request, journal, self._open, until)
        if until is not None:
            # An application that raises after its response makes uvicorn end the connection, even when the next request
            # is already being answered on it.
            self.uvicorn.client.close()
        self._compare(request, expected, got)
        assert isinstance(expected, Answer), f"uvicorn itself fails:\n{request}\n\n{expected}"
        odd = [event for event in expected.journal if event.startswith("(")]
        assert not odd, f"both servers: {odd}\n{request}\n\n{expected}"
        return expected

    def forget(self) -> None:
        """Begins another journal."""
        journal, self._open = self._open, str(next(self._counter))
        for side in (self.uvicorn, self.overdrive):
            side.journal(journal, self._open)

    def same_whatever(self, request: Request) -> None:
        """As `same`, for a request of which nobody knows what follows its answer; uvicorn's side must be counted."""
        journal, self._open = self._open, str(next(self._counter))
        expected, got = self.uvicorn.answer(request), self.overdrive.answer(request)
        # All that stock FastAPI notes, and then as much of overdrive's as it takes to be equal.
        events = self.uvicorn.journal_once(journal, self._open, "idle=1")
        if isinstance(expected, Answer):
            expected.journal = events
        events = self.overdrive.journal_once(journal, self._open, f"like={quote(json.dumps(events))}")
        if isinstance(got, Answer):
            got.journal = events
        self._compare(request, expected, got)

    def _compare(self, request: Request, expected: Answer | str, got: Answer | str) -> None:
        differing = difference(expected, got)
        if differing:
            pytest.fail(
                f"{differing}\n\n>>> {request}\n\n"
                f"=== uvicorn\n{expected}\n{self.uvicorn.log()}\n"
                f"=== overdrive\n{got}\n{self.overdrive.log()}",
                pytrace=False,
            )


def difference(expected: Answer | str, got: Answer | str) -> str:
    """What a client, or the application, could tell the answers apart by; empty when there is nothing."""
    if not isinstance(expected, Answer) or not isinstance(got, Answer):
        # Both may have broken off, but not one alone.
        return "" if type(expected) is type(got) else "only one of the servers answered"
    expected, got = _told_alike(expected, got)
    lines = []
    for name in ("status", "reason", "headers", "body", "cut", "journal"):
        ours, theirs = getattr(got, name), getattr(expected, name)
        if ours != theirs:
            lines.append(f"{name} differs:\n    uvicorn   {_short(theirs, ours)}\n    overdrive {_short(ours, theirs)}")
    return "\n".join(lines)


def _told_alike(expected: Answer, got: Answer) -> tuple[Answer, Answer]:
    # What docs/differences.md says: whose server it is, repeated headers together, one piece not chunked.
    first = [(name, value) for name, value in grouped(expected.headers) if name not in IGNORED]
    second = [(name, value) for name, value in grouped(got.headers) if name not in IGNORED]
    length = ("content-length", str(len(got.body)))
    chunked = ("transfer-encoding", "chunked")
    if chunked in first and length in second and chunked not in second:
        first.remove(chunked)
        second.remove(length)
    if expected.status == 500 and ("connection", "close") in first:
        # The server's own answer, not one of the application's: each writes it in its own order.
        first.sort()
        second.sort()
    return replace(expected, headers=first), replace(got, headers=second)


def _short(value: object, other: object) -> str:
    # Two long values are shown from where they part.
    shown, compared = repr(value), repr(other)
    if len(shown) <= 300:
        return shown
    at = next((i for i, (one, two) in enumerate(zip(shown, compared, strict=False)) if one != two), 0)
    start = max(0, at - 100)
    return f"...{shown[start : at + 200]}..."
