"""A pytest plugin within FastAPI's suite: compiles each application that a test client is given, and writes reports."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

REPORTS = Path(os.environ["OVERDRIVE_UPSTREAM_REPORTS"])
outcomes: dict[str, str] = {}
compilations: list[Any] = []

if os.environ["OVERDRIVE_UPSTREAM_COMPILED"]:
    import fastapi.testclient
    import starlette.testclient
    from fastapi import FastAPI

    import overdrive
    from overdrive.plans import CompiledRoutes

    class CompilingClient(starlette.testclient.TestClient):
        """Starlette's client, with the application compiled behind its transport."""

        __test__ = False

        def __init__(self, app: Any, *arguments: Any, **options: Any) -> None:
            super().__init__(app, *arguments, **options)
            if isinstance(app, FastAPI) and options.get("backend", "asyncio") == "asyncio":
                self._transport.app = overdrive.compile(app)  # type: ignore[attr-defined]

    install = CompiledRoutes._install

    def note_and_install(self: CompiledRoutes, compilation: Any) -> None:
        compilations.append(compilation)
        install(self, compilation)

    CompiledRoutes._install = note_and_install  # type: ignore[method-assign]
    starlette.testclient.TestClient = CompilingClient  # type: ignore[misc]
    fastapi.testclient.TestClient = CompilingClient  # type: ignore[misc]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        worker = session.config.workerinput["workerid"]
        (REPORTS / f"counts-{worker}.json").write_text(json.dumps(counts()))
    else:
        (REPORTS / "outcomes.json").write_text(json.dumps(outcomes))


def counts() -> dict[str, Any]:
    """Who answered the requests of this worker's tests."""
    handed_over: Counter[str] = Counter()
    not_compiled: Counter[str] = Counter()
    answered = 0
    for compilation in compilations:
        if compilation.plans is not None:
            by_plans, by_reason = compilation.plans.counts()
            answered += by_plans
            handed_over.update(by_reason)
        for entry in compilation.entries:
            if entry.is_operation and not compilation.is_compiled(entry):
                not_compiled[compilation.reason or entry.reason] += 1
    return {
        "answered": answered,
        "handed_over": handed_over,
        "operations": sum(compilation.operations for compilation in compilations),
        "compiled": sum(compilation.compiled for compilation in compilations),
        "not_compiled": not_compiled,
    }
