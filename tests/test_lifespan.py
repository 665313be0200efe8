"""The lifespan protocol: what the application is told, and what its answers do to the server."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve, Served

MODES = ("auto", "on")


def ends_in_vain(serve: Serve, app: str, *options: str) -> Served:
    """A server that must not start; its exit code is uvicorn's."""
    served = serve(f"cli_lifespan:{app}", *options, ready=False)
    assert served.wait() == 3
    assert "running on" not in served.log
    return served


def body(served: Served) -> str:
    return httpx.get(served.url, trust_env=False, timeout=10).text


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_and_stop_are_told_around_everything_else(serve: Serve, mode: str, number: signal.Signals) -> None:
    served = serve("cli_app:app", "--lifespan", mode)
    served.signal(number)
    served.wait()
    lines = [re.sub(r"\[\d+\]|:\d+ ", "…", line) for line in served.log.splitlines()]
    assert lines == [
        "INFO:     Started server process …",
        "INFO:     Waiting for application startup.",
        "application starts",
        "INFO:     Application startup complete.",
        "INFO:     Overdrive running on http://127.0.0.1…(Press CTRL+C to quit)",
        "INFO:     Shutting down",
        "INFO:     Waiting for application shutdown.",
        "application stops",
        "INFO:     Application shutdown complete.",
        "INFO:     Finished server process …",
    ]


def test_off_tells_nothing(serve: Serve) -> None:
    served = serve("cli_app:app", "--lifespan", "off")
    assert httpx.get(f"{served.url}/scope", trust_env=False).json().get("state", {}) == {}
    served.stop()
    assert "application" not in served.log.lower()


def test_auto_serves_an_application_without_lifespan(serve: Serve) -> None:
    served = serve("cli_lifespan:app_unsupported")
    assert "INFO:     ASGI 'lifespan' protocol appears unsupported." in served.log
    assert body(served) == "ok"
    served.stop()
    assert "application shutdown" not in served.log


def test_on_refuses_an_application_without_lifespan(serve: Serve) -> None:
    served = ends_in_vain(serve, "app_unsupported", "--lifespan", "on")
    assert "ERROR:    Exception in 'lifespan' protocol" in served.log
    assert served.log.count("TypeError: no lifespan here") == 1
    assert "overdrive/" not in served.log
    assert "ERROR:    Application startup failed. Exiting." in served.log


@pytest.mark.parametrize("mode", MODES)
def test_a_told_failure_is_the_last_word(serve: Serve, mode: str) -> None:
    served = ends_in_vain(serve, "app_told_failure", "--lifespan", mode)
    assert served.log.splitlines()[-2:] == [
        "ERROR:    the database is away",
        "ERROR:    Application startup failed. Exiting.",
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_failure_that_is_told_and_raised_is_printed_once(serve: Serve, mode: str) -> None:
    served = ends_in_vain(serve, "app_told_and_raised_failure", "--lifespan", mode)
    assert served.log.count("told once") == 1
    assert "Traceback" not in served.log


@pytest.mark.parametrize("mode", MODES)
def test_leaving_by_sys_exit_is_a_failure_to_start(serve: Serve, mode: str) -> None:
    served = ends_in_vain(serve, "app_leaves_by_exit", "--lifespan", mode)
    assert served.log.count("SystemExit: 9") == 1


@pytest.mark.parametrize("app", ["app_shutdown_failure", "app_shutdown_raises"])
def test_a_failure_to_stop_is_told(serve: Serve, app: str) -> None:
    served = serve(f"cli_lifespan:{app}")
    assert served.stop() == -signal.SIGTERM
    said = "raised while tidying up" if "raises" in app else "could not tidy up"
    assert served.log.count(f"{said}\n") == 1
    assert "ERROR:    Application shutdown failed. Exiting." in served.log


def test_an_application_that_has_left_lifespan_is_not_told_of_the_stop(serve: Serve) -> None:
    served = serve("cli_lifespan:app_ends_early")
    assert body(served) == "ok"
    assert served.stop() == -signal.SIGTERM
    assert "application shutdown" not in served.log


def test_answers_out_of_order_raise_in_the_application_alone(serve: Serve) -> None:
    served = serve("cli_lifespan:app_wrong_message")
    assert body(served) == "ok"
    served.stop()
    start, shutdown = re.findall(r"refused: (.*)", served.log)
    assert start == (
        "Expected ASGI message 'lifespan.startup.complete' or 'lifespan.startup.failed', "
        "but got 'lifespan.shutdown.complete'."
    )
    assert shutdown == (
        "Expected ASGI message 'lifespan.shutdown.complete' or 'lifespan.shutdown.failed', "
        "but got 'lifespan.startup.complete'."
    )
    assert "Application shutdown complete" in served.log


def test_work_after_the_last_answer_is_waited_for(serve: Serve) -> None:
    served = serve("cli_lifespan:app_works_after_its_answer")
    served.stop()
    assert "the last word" in served.log


def test_sigint_twice_ends_a_start_that_hangs(serve: Serve) -> None:
    served = serve("cli_lifespan:app_never_starts", ready=False)
    served.wait_for("starting for ever")
    # Two at once may arrive as one, and nothing shows that the first has arrived: so again until it ends.
    for _ in range(100):
        served.signal(signal.SIGINT)
        try:
            served.process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    served.wait()
    assert "running on" not in served.log
    assert "Traceback" not in served.log


def test_a_signal_during_the_start_stops_right_after_it(serve: Serve, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    served = serve("cli_lifespan:app_starts_when_told", env={"CLI_FIFO": str(fifo)}, ready=False)
    served.wait_for("waiting to start")
    served.signal(signal.SIGTERM)
    fifo.write_text("go")
    assert served.wait() == -signal.SIGTERM
    assert served.log.index("Application startup complete") < served.log.index("Application shutdown complete")


def test_a_second_sigint_ends_a_stop_that_hangs(serve: Serve) -> None:
    served = serve("cli_lifespan:app_never_stops")
    served.signal(signal.SIGINT)
    served.wait_for("stopping for ever")
    served.signal(signal.SIGINT)
    served.wait()
    assert "Application shutdown complete" not in served.log
    assert "Traceback" not in served.log


def test_a_start_that_cannot_listen_still_stops_the_application(serve: Serve) -> None:
    # Bound, as the server will be, and not listening: the application takes the port between the server's two steps.
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        env = {"CLI_PORT": str(port)}
        served = serve("cli_lifespan:app_takes_the_port", "--port", str(port), env=env, ready=False)
        assert served.wait() == 3
    assert "shutdown received" in served.log
    assert f"ERROR:    Cannot listen on 127.0.0.1:{port}: the address is in use." in served.log
    assert "Traceback" not in served.log
