"""Applications of others, unmodified: their routes are compiled, and they answer as they do under uvicorn.

`scripts/test.sh applications -k gradio -s` runs one of them, and prints how many routes and requests plans had.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import pytest

from tests.applications import session_gradio, session_litellm, session_phoenix
from tests.applications.installed import APPLICATIONS, FOLDER, Application, python_of
from tests.applications.recorded import Recorder
from tests.conftest import Serve, Served

SESSIONS: dict[str, ModuleType] = {
    "gradio": session_gradio,
    "litellm": session_litellm,
    "phoenix": session_phoenix,
}
START_SECONDS = 300
RUNNING = r"(?i)running on http://[^:\s]+:(\d+)"


@dataclass(frozen=True)
class Both:
    """An application under the two servers, which have begun to start."""

    application: Application
    uvicorn: Served
    overdrive: Served


@pytest.fixture(scope="module", params=list(APPLICATIONS))
def both(request: pytest.FixtureRequest, serve_once: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    application = APPLICATIONS[request.param]
    python = python_of(application)

    def start(module: str, *options: str) -> Served:
        folder = tmp_path_factory.mktemp(f"{application.name}-{module}")
        return serve_once(
            application.app,
            *options,
            *application.options,
            app_dir=FOLDER / "apps",
            cwd=folder,
            command=[str(python), "-m", module],
            # The order of what an application keeps in sets is the same under both.
            env={"PYTHONHASHSEED": "0", **application.variables(folder)},
            ready=False,
        )

    servers = start("uvicorn"), start("overdrive", "--log-level", "debug")
    for served in servers:
        served.port = int(served.wait_for(RUNNING, timeout=START_SECONDS)[1])
    yield Both(application, *servers)
    for served in servers:
        served.stop_if_running()


@pytest.fixture(scope="module")
def told(both: Both) -> tuple[list[str], list[str]]:
    """What uvicorn told of the session, and what overdrive did."""
    session = SESSIONS[both.application.name]
    recorders = []
    for served in (both.uvicorn, both.overdrive):
        recorders.append(Recorder(served, frozenset(session.VARYING), session.HEADERS))
        session.hold(recorders[-1])
    return recorders[0].told, recorders[1].told


def test_nearly_all_routes_are_compiled(both: Both) -> None:
    line = both.overdrive.wait_for(r"Compiled (\d+) of (\d+) routes.*")
    compiled, operations = int(line[1]), int(line[2])
    print(f"{both.application.title}: {line[0].strip()}")
    assert operations > 50
    assert compiled / operations >= both.application.share, line[0]


def test_a_session_is_answered_as_under_uvicorn(told: tuple[list[str], list[str]]) -> None:
    expected, found = told
    differing = [
        "\n".join(difflib.unified_diff(there.split("\n"), here.split("\n"), "uvicorn", "overdrive", lineterm=""))
        for there, here in zip(expected, found, strict=True)
        if there != here
    ]
    assert not differing, "\n\n".join(differing)
    # A session that is refused at every turn would prove nothing.
    statuses = [int(answer.split("\n")[1][:3]) for answer in expected]
    assert len(statuses) >= 40
    assert sum(status < 400 for status in statuses) >= 0.4 * len(statuses), statuses
    assert sum(status >= 400 for status in statuses) >= 5, statuses
    assert 0 not in statuses


def test_plans_answered_nearly_all_of_it(both: Both, told: tuple[list[str], list[str]]) -> None:
    """The last of the tests: it stops the servers, and overdrive says so at its end."""
    assert both.overdrive.stop() == both.uvicorn.stop(), both.overdrive.log
    answered = re.search(r"Plans answered (\d+) request", both.overdrive.log)
    handed_over = re.findall(r"FastAPI's own code was given (\d+) request\(s\): (.*)", both.overdrive.log)
    assert answered is not None
    # LiteLLM adds routes with the first request for them: until they are compiled, FastAPI's own code answers.
    plans = int(answered[1])
    others = sum(int(count) for count, reason in handed_over if reason != "the routes have changed")
    print(f"{both.application.title}: {plans} requests answered by plans; by FastAPI's own code: {handed_over}")
    assert plans >= 40
    assert plans / (plans + others) >= both.application.share, handed_over
