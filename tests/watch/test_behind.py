"""A request is blamed for what runs in tasks that it has started, and a task for what it does by itself."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Hashable
from pathlib import Path

import httpx
import pytest

from overdrive._overdrive import Watch
from overdrive.watch import stacks
from overdrive.watch.endpoints import describe
from overdrive.watch.faults import Faults
from overdrive.watch.origin import ORIGIN
from tests.conftest import Serve, Served

APPS = Path(__file__).parent / "apps"
SOURCE = (APPS / "behind.py").read_text().splitlines()

# Before, a task keeps its context to itself.
needs_task_contexts = pytest.mark.skipif(sys.version_info < (3, 12), reason="needs Task.get_context")


def line_of(mark: str) -> int:
    return next(number for number, line in enumerate(SOURCE, 1) if line.endswith(f"  # {mark}"))


@pytest.fixture(scope="module", params=["auto", "off"], ids=["compiled", "stock"])
def behind(request: pytest.FixtureRequest, serve_once: Serve) -> Served:
    return serve_once("behind:app", "--compile", request.param, app_dir=APPS)


def get(served: Served, path: str) -> None:
    assert httpx.get(f"{served.url}{path}", timeout=30).status_code == 200


@needs_task_contexts
@pytest.mark.parametrize("name", ["waited", "streamed", "background"])
def test_behind_a_middleware_the_endpoint_is_blamed(behind: Served, name: str) -> None:
    get(behind, f"/{name}/3" if name == "waited" else f"/{name}")
    told = behind.wait_for(
        rf"GET /{name}(?:/\S+)? \(behind\.{name}\) blocked the event loop for \d+ ms; \S*behind\.py:(\d+), in "
    )
    assert int(told[1]) == line_of(name)
    behind.process.send_signal(signal.SIGUSR1)
    behind.wait_for(
        rf"GET /{name}\S* +async +\S+ +1 +\d+ ms +\d+ ms +\S+(?: ms)? +Bad\n +\S*behind\.py:{line_of(name)} "
    )


@needs_task_contexts
def test_tasks_of_one_function_are_one_place_and_name_who_began_them(behind: Served) -> None:
    get(behind, "/spawns")
    told = behind.wait_for(
        r"the task Task-\d+ \(spawns\.<locals>\.work\) blocked the event loop for \d+ ms; "
        r"started by GET /spawns \(behind\.spawns\); .*behind\.py:(\d+), in spawns"
    )
    assert int(told[1]) == line_of("spawns")
    behind.process.send_signal(signal.SIGUSR1)
    row = behind.wait_for(r"a task of spawns\.<locals>\.work +- +- +- +(\d+) ms +(\d+) ms")
    assert int(row[2]) > int(row[1]) > 0, "more than one of them"
    assert len(re.findall(r"the task Task-\d+ \(spawns", behind.log)) == 1, "told of once"


def test_a_stall_outside_of_requests_is_told_of_though_a_request_goes_on_first(behind: Served) -> None:
    # One client waits for its own stream, another for its turn: both go on before the loop answers the watch.
    before = behind.log.count("in streamed.<locals>.parts")
    other = threading.Thread(target=get, args=(behind, "/streamed"))
    other.start()
    get(behind, "/streamed")
    other.join()
    if before == 0:
        behind.wait_for(r"in streamed\.<locals>\.parts")
    behind.process.send_signal(signal.SIGUSR1)
    behind.wait_for(rf"behind\.py:{line_of('streamed')} time\.sleep")


def test_runs_of_the_collector_are_added_up(behind: Served) -> None:
    get(behind, "/collects")
    told = behind.wait_for(
        r"blocked the event loop for (\d+) ms;.* (\d+) ms of it were the garbage collector's; \S*:(\d+)"
    )
    # Making and freeing the garbage is no collection; one of the eight runs alone would be less than an eighth.
    assert int(told[1]) >= int(told[2]) > int(told[1]) * 0.4
    assert int(told[3]) == line_of("collects")


@needs_task_contexts
def test_the_endpoint_is_named_while_its_stall_goes_on(behind: Served) -> None:
    blocking = threading.Thread(target=get, args=(behind, "/endless"))
    blocking.start()
    who = behind.wait_for(r"(.*) has been blocking the event loop for .*behind\.py:\d+, in endless")[1]
    blocking.join()
    # Of an application's own way to its endpoint nothing is known before a step of it has ended.
    assert who.endswith(("a request", "GET /endless", "GET /endless (behind.endless)"))


def test_pythons_own_warning_keeps_the_line_of_the_application(behind: Served) -> None:
    get(behind, "/unawaited")
    told = behind.wait_for(r"behind\.py:(\d+): RuntimeWarning: coroutine 'never' was never awaited")
    assert abs(int(told[1]) - line_of("unawaited")) <= 1
    behind.wait_for(r"the coroutine never \(\S*behind\.py:\d+\) was never awaited; in GET /unawaited")


def test_the_report_has_what_the_application_did_at_its_end(serve: Serve) -> None:
    served = serve("behind:app", "--report", app_dir=APPS)
    get(served, "/fine")
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(30) == 0
    served.wait_for(rf"verdict\n(?:.*\n)*?.*behind\.py:{line_of('shutdown')} time\.sleep")


def test_a_fault_within_the_telling_of_another_does_not_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(threshold=0.1, describe=describe, on_stall=print, origin=ORIGIN, libraries=stacks.libraries())
    faults = Faults(watch)
    due = faults._telling.due

    def collects(key: Hashable) -> int | None:
        # As the garbage collector does, in whatever allocates: a coroutine of a cycle dies.
        if "the outer one" in str(key):
            faults.add("the inner one", "")
        return due(key)

    monkeypatch.setattr(faults._telling, "due", collects)
    thread = threading.Thread(target=faults.add, args=("the outer one", ""), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert {text for text, _, _ in watch.faults()} == {"the outer one", "the inner one"}


@pytest.mark.parametrize("folder", ["/usr/lib/python3/dist-packages", "/home/u/.local/lib/python3/site-packages/"])
def test_packages_of_the_system_and_of_the_user_are_libraries(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, folder])
    stacks._package_folders.cache_clear()
    try:
        assert folder.rstrip("/") in stacks._package_folders()
    finally:
        stacks._package_folders.cache_clear()


@pytest.mark.parametrize("compile_mode", ["auto", "off"])
def test_of_a_huge_answer_the_framework_line_is_told_with_its_remedy(serve: Serve, compile_mode: str) -> None:
    served = serve("huge:app", "--compile", compile_mode, "--report", app_dir=APPS)
    get(served, "/huge")
    served.wait_for(
        r"GET /huge \(huge\.huge\) blocked the event loop for \d+ ms; "
        r".*(?:fastapi/(?:encoders|routing|_compat)|pydantic/(?:main|type_adapter))"
    )
    served.stop()
    assert "use a smaller answer, a page of it" in served.log
