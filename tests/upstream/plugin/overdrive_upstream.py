"""A pytest plugin within the suite of another project: writes down each test's outcome, and who answered its requests.

With `OVERDRIVE_UPSTREAM_ENGINE` set it first puts `overdrive.testing.TestClient` in the place of the project's own,
before the suite can import that. It has a folder to itself, as the folder is put on the suite's path.

Workers of pytest-xdist count requests and hand the counts on with the report of a test's teardown; the process that was
started writes the file named by `OVERDRIVE_UPSTREAM_RESULTS`.

A worker whose test hangs even after pytest-timeout has interrupted it, as it waits anew for the same thing, comes to an
end, and another takes its place.
"""

from __future__ import annotations

import faulthandler
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROPERTY = "overdrive_upstream"
# After that many a worker ends; some more than pytest-timeout gives a test.
WORKER_SECONDS = 90
# Before pytest captures what tests write to it.
STDERR = os.dup(2)

outcomes: dict[str, str] = {}
requests: dict[str, list[Any]] = {}
# Of the test that runs: (kind, whether it met a path operation, who answered).
counted: Counter[tuple[str, bool, str]] = Counter()


def put_engine_in_place() -> None:
    """Makes every test client of the suite one of the engine's."""
    import starlette.testclient

    import overdrive.testing

    count_in_process(starlette.testclient)
    count_requests()
    starlette.testclient.TestClient = overdrive.testing.TestClient  # type: ignore[misc, assignment]
    try:
        import fastapi.testclient
    except ImportError:
        return
    fastapi.testclient.TestClient = overdrive.testing.TestClient  # type: ignore[misc, assignment]


def count_requests() -> None:
    """Counts what the engine's test clients are answered.

    `Record.ended` rather than `overdrive.testing.listeners`: the scope tells which route a request came to.
    """
    from overdrive.testing.records import Record

    ended = Record.ended

    def count_and_end(self: Record, error: BaseException | None, answered_by: str) -> None:
        who = self.who(answered_by)
        kind = "websocket" if self.filled is not None and self.filled["type"] == "websocket" else "http"
        # A plan's answer without a task is a 404 or a 405, which is no path operation's.
        is_operation = self._task is not None if who == "plan" else meets_operation(self.filled)
        counted[kind, is_operation, who] += 1
        ended(self, error, answered_by)

    Record.ended = count_and_end  # type: ignore[method-assign]


def count_in_process(testclient: Any) -> None:
    """Counts the requests that Starlette's own transport takes: those of trio, where the engine cannot live."""
    transport = testclient._TestClientTransport
    handle = transport.handle_request

    def count_and_handle(self: Any, request: Any) -> Any:
        counted["in-process", False, "asgi: called in-process"] += 1
        return handle(self, request)

    transport.handle_request = count_and_handle


def meets_operation(scope: dict[str, Any] | None) -> bool:
    """Whether FastAPI has found a path operation for this request: path and method are those of an `APIRoute`."""
    try:
        from fastapi.routing import APIRoute
    except ImportError:
        return False
    route = scope.get("route") if scope is not None else None
    return isinstance(route, APIRoute) and scope is not None and scope["method"] in route.methods


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("OVERDRIVE_UPSTREAM_ENGINE"):
        # Told by the report; the suites make errors of warnings.
        config.addinivalue_line("filterwarnings", "ignore::overdrive.testing.InProcessWarning")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    counted.clear()
    set_end()
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    # pytest itself cancels such things here, but the teardown is still to come.
    if isinstance(node, pytest.Item):
        set_end()


def set_end() -> None:
    """Ends this process, if it is a worker, should it not come so far that this is cancelled."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        faulthandler.dump_traceback_later(WORKER_SECONDS, file=STDERR, exit=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if call.when == "teardown":
        report.user_properties.append((PROPERTY, [[*key, count] for key, count in counted.items()]))
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        outcomes[report.nodeid] = "error"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    outcome = outcome_of(report)
    # What goes wrong at the teardown stands over what the test itself came to.
    if report.when == "call" or outcome != "passed":
        outcomes[report.nodeid] = outcome
    for name, value in report.user_properties:
        if name == PROPERTY and value:
            requests[report.nodeid] = value


def outcome_of(report: pytest.TestReport) -> str:
    """One word for a report."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and report.when != "call":
        return "error"
    return report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        results = {"outcomes": outcomes, "requests": requests}
        Path(os.environ["OVERDRIVE_UPSTREAM_RESULTS"]).write_text(json.dumps(results))


if os.environ.get("OVERDRIVE_UPSTREAM_ENGINE"):
    put_engine_in_place()
