"""`--workers`: processes that share a socket, replaced when they die or hang, one by one on SIGHUP."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.conftest import Serve, Served

STARTED = r"Started server process \[(\d+)\]"
READY = r"Application startup complete"


def workers(served: Served, count: int) -> list[int]:
    """The ids of the first `count` workers that were started, once all of them are ready."""
    served.wait_for(READY, count=count)
    return [int(pid) for pid in re.findall(STARTED, served.log)][:count]


def pid_of(connection: HTTPConnection) -> int:
    """Which worker answers on this connection."""
    connection.request("GET", "/pid")
    response = connection.getresponse()
    assert response.status == 200
    return int(json.loads(response.read()))


@contextlib.contextmanager
def connections(served: Served, count: int) -> Iterator[list[HTTPConnection]]:
    """Keep-alive connections that have all been answered once."""
    opened = [HTTPConnection(served.host, served.port, timeout=20) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


def connection_to(served: Served, pid: int) -> HTTPConnection:
    """A connection to one worker; where others answer is tried again, with those kept open so that it is its turn."""
    with contextlib.ExitStack() as others:
        for _ in range(100):
            connection = HTTPConnection(served.host, served.port, timeout=20)
            if pid_of(connection) == pid:
                return connection
            others.callback(connection.close)
    raise AssertionError(f"worker {pid} takes no connections")


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 15.0) -> None:
    """For what nobody announces: the end of a process that is not our child."""
    tick = threading.Event()
    for _ in range(round(timeout / 0.02)):
        if condition():
            return
        tick.wait(0.02)
    raise AssertionError(f"{what} did not happen in {timeout} s")


def test_as_many_workers_as_asked_for_serve(serve: Serve) -> None:
    served = serve("cli_app:app", "--workers", "3")
    pids = workers(served, 3)
    assert len(set(pids)) == 3
    assert served.process.pid not in pids
    assert f"INFO:     Started parent process [{served.process.pid}]" in served.log
    for pid in pids:
        connection_to(served, pid).close()


def test_the_number_of_workers_comes_from_web_concurrency(serve: Serve) -> None:
    served = serve("cli_app:app", env={"WEB_CONCURRENCY": "2"})
    assert len(set(workers(served, 2))) == 2


def test_connections_are_spread_evenly(serve: Serve) -> None:
    served = serve("cli_app:app", "--workers", "2")
    pids = workers(served, 2)
    with connections(served, 64) as opened:
        with ThreadPoolExecutor(16) as pool:
            counted = Counter(pool.map(pid_of, opened))
        assert set(counted) == set(pids)
        assert min(counted.values()) >= 24, counted


def test_a_worker_that_dies_is_replaced(serve: Serve) -> None:
    served = serve("cli_app:app", "--workers", "2")
    first, second = workers(served, 2)
    os.kill(first, signal.SIGKILL)
    served.wait_for(rf"Worker \[{first}\] ended by SIGKILL soon after its start; the next starts in 0\.25 s")
    served.wait_for(READY, count=3)
    third = int(re.findall(STARTED, served.log)[2])
    with connections(served, 32) as opened:
        assert {pid_of(connection) for connection in opened} == {second, third}


def test_workers_that_keep_dying_are_started_ever_later(serve: Serve) -> None:
    served = serve("cli_app:app", "--workers", "2")
    workers(served, 2)
    for turn, delay in enumerate((r"0\.25", r"0\.5", "1")):
        os.kill(int(re.findall(STARTED, served.log)[-1]), signal.SIGKILL)
        served.wait_for(rf"the next starts in {delay} s")
        served.wait_for(READY, count=3 + turn)


def test_a_worker_that_hangs_is_killed_and_replaced(serve: Serve) -> None:
    served = serve("cli_app:app", "--workers", "2", "--timeout-worker-healthcheck", "0.5")
    first, second = workers(served, 2)
    hanging = connection_to(served, first)
    hanging.request("GET", "/hang")
    served.wait_for(rf"Worker \[{first}\] does not respond; killing it")
    served.wait_for(READY, count=3)
    hanging.close()
    assert not ended(second)


def test_a_worker_whose_loop_is_busy_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "busy.py").write_text(
        "import sys, time\n"
        "from cli_app import app as inner\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'http' and scope['path'] == '/busy':\n"
        "        time.sleep(2.5)\n"
        "        scope = {**scope, 'path': '/pid'}\n"
        "    await inner(scope, receive, send)\n"
    )
    options = ("--workers", "2", "--timeout-worker-healthcheck", "0.5")
    served = serve("busy:app", *options, env={"PYTHONPATH": str(tmp_path)})
    workers(served, 2)
    connection = HTTPConnection(served.host, served.port, timeout=20)
    pid = pid_of(connection)
    connection.request("GET", "/busy")
    assert json.loads(connection.getresponse().read()) == pid
    assert "does not respond" not in served.log
    connection.close()


@pytest.mark.parametrize(
    ("app", "said", "code"),
    [
        ("cli_app:nothing", 'No attribute "nothing" in "cli_app"', 1),
        ("cli_lifespan:app_told_failure", "the database is away", 3),
    ],
)
def test_an_application_that_cannot_start_ends_everything_and_says_so_once(
    serve: Serve, app: str, said: str, code: int
) -> None:
    served = serve(app, "--workers", "4", ready=False)
    assert served.wait() == code
    assert served.log.count(said) == 1
    assert f"No worker can start: the first ended with exit code {code}." in served.log
    assert "Traceback" not in served.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_ends_all_gracefully(serve: Serve, number: signal.Signals) -> None:
    served = serve("cli_app:app", "--workers", "2")
    pids = workers(served, 2)
    served.signal(number)
    assert served.wait() == 0
    assert served.log.count("application stops") == 2
    assert all(ended(pid) for pid in pids)
    assert served.log.splitlines()[-1] == f"INFO:     Stopping parent process [{served.process.pid}]"


def test_a_running_request_is_finished_before_the_parent_ends(serve: Serve, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    served = serve("cli_app:app", "--workers", "2")
    workers(served, 2)
    connection = HTTPConnection(served.host, served.port, timeout=20)
    connection.request("GET", f"/hold?{fifo}")
    served.wait_for("holding")
    served.signal(signal.SIGTERM)
    served.wait_for("Waiting for connections to close")
    fifo.write_bytes(b"go")
    assert json.loads(connection.getresponse().read()) == "held"
    assert served.wait() == 0


def test_a_second_sigint_ends_a_worker_that_still_waits(serve: Serve, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    served = serve("cli_app:app", "--workers", "2")
    pids = workers(served, 2)
    connection = HTTPConnection(served.host, served.port, timeout=20)
    connection.request("GET", f"/hold?{fifo}")
    served.wait_for("holding")
    served.signal(signal.SIGINT)
    served.wait_for("Waiting for connections to close")
    served.signal(signal.SIGINT)
    assert served.wait() == 0
    assert all(ended(pid) for pid in pids)
    connection.close()


def test_sighup_replaces_every_worker_without_refusing_or_failing_a_request(serve: Serve) -> None:
    served = serve("cli_app:app", "--workers", "2", "--no-access-log")
    old = workers(served, 2)
    replaced = threading.Event()

    def ask_until_replaced() -> Counter[int]:
        # A connection for each request: a kept one may be closed by a draining server just as it is used, by right.
        answered: Counter[int] = Counter()
        while not replaced.is_set():
            connection = HTTPConnection(served.host, served.port, timeout=20)
            answered[pid_of(connection)] += 1
            connection.close()
        return answered

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask_until_replaced) for _ in range(4)]
        try:
            served.signal(signal.SIGHUP)
            served.wait_for(r"Finished server process", count=2, timeout=30)
        finally:
            replaced.set()
        answered = sum((client.result(timeout=30) for client in clients), Counter[int]())
    served.wait_for(READY, count=4)
    new = [int(pid) for pid in re.findall(STARTED, served.log)][2:]
    assert len(new) == 2
    assert not set(new) & set(old)
    assert set(answered) <= {*old, *new}
    with connections(served, 32) as opened:
        assert {pid_of(connection) for connection in opened} == set(new)
    assert served.stop() == 0


def test_sighup_keeps_the_old_workers_when_a_new_one_cannot_start(serve: Serve, tmp_path: Path) -> None:
    module = tmp_path / "changing.py"
    module.write_text("from cli_app import app\n")
    served = serve("changing:app", "--workers", "2", env={"PYTHONPATH": str(tmp_path)})
    pids = workers(served, 2)
    module.write_text("raise RuntimeError('a bad release')\n")
    served.signal(signal.SIGHUP)
    served.wait_for(r"The new worker \[\d+\] ended with exit code 1; the old ones stay\.")
    assert served.log.count("RuntimeError: a bad release\n") == 1
    with connections(served, 32) as opened:
        assert {pid_of(connection) for connection in opened} == set(pids)


def test_sigusr1_has_each_worker_print_its_verdicts(serve: Serve) -> None:
    served = serve("cli_app:app", "--workers", "2")
    pids = workers(served, 2)
    served.signal(signal.SIGUSR1)
    for pid in pids:
        served.wait_for(rf"Worker \[{pid}\]:\nNo request has come in, and nothing has blocked the event loop")
    assert served.process.poll() is None


def test_sigttin_adds_a_worker_and_sigttou_takes_one_away(serve: Serve) -> None:
    served = serve("cli_app:app", "--workers", "2")
    workers(served, 2)
    served.signal(signal.SIGTTIN)
    served.wait_for("The number of workers is 3 now")
    served.wait_for(READY, count=3)
    served.signal(signal.SIGTTOU)
    served.wait_for("The number of workers is 2 now")
    served.wait_for("Finished server process")
    served.signal(signal.SIGTTOU)
    served.wait_for("The number of workers is 1 now")
    served.wait_for("Finished server process", count=2)
    served.signal(signal.SIGTTOU)
    served.wait_for("The number of workers stays 1")
    (left,) = {int(pid) for pid in re.findall(STARTED, served.log)} - {
        int(pid) for pid in re.findall(r"Finished server process \[(\d+)\]", served.log)
    }
    with connections(served, 8) as opened:
        assert {pid_of(connection) for connection in opened} == {left}


def test_workers_end_when_their_parent_is_killed(serve: Serve) -> None:
    served = serve("cli_app:app", "--workers", "2")
    pids = workers(served, 2)
    served.process.kill()
    wait_until(lambda: all(ended(pid) for pid in pids), "the end of the workers")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((served.host, served.port), timeout=5)


def test_workers_replaced_after_the_greatest_number_of_requests_do_not_all_end_together(serve: Serve) -> None:
    options = ("--workers", "2", "--limit-max-requests", "20", "--limit-max-requests-jitter", "20")
    served = serve("cli_app:app", *options)
    workers(served, 2)
    for _ in range(120):
        connection = HTTPConnection(served.host, served.port, timeout=20)
        pid_of(connection)
        connection.close()
    limits = [int(limit) for limit in re.findall(r"Maximum request limit of (\d+) exceeded", served.log)]
    assert limits
    assert all(20 <= limit <= 40 for limit in limits)
    served.wait_for(r"Worker \[\d+\] ended with exit code 0; starting another")
    served.wait_for(READY, count=3)


def test_nothing_is_accepted_while_a_running_request_is_finished(serve: Serve, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    served = serve("cli_app:app", "--workers", "2")
    workers(served, 2)
    connection = HTTPConnection(served.host, served.port, timeout=20)
    connection.request("GET", f"/hold?{fifo}")
    served.wait_for("holding")
    served.signal(signal.SIGTERM)
    # By then the one has closed its socket, and the other does as soon as its loop comes to it.
    served.wait_for("Finished server process")
    served.wait_for("Waiting for connections to close")
    deadline = time.monotonic() + 10
    with pytest.raises(ConnectionRefusedError):
        while time.monotonic() < deadline:
            served.connect().close()
    fifo.write_bytes(b"go")
    assert json.loads(connection.getresponse().read()) == "held"
    assert served.wait() == 0


def test_the_others_serve_while_a_worker_cannot_start_and_it_recovers(serve: Serve, tmp_path: Path) -> None:
    module = tmp_path / "changing.py"
    module.write_text("from cli_app import app\n")
    served = serve("changing:app", "--workers", "2", env={"PYTHONPATH": str(tmp_path)})
    first, second = workers(served, 2)
    module.write_text("raise RuntimeError('a bad release')\n")
    os.kill(first, signal.SIGKILL)
    for delay in (r"0\.25", r"0\.5", "1"):
        served.wait_for(rf"soon after its start; the next starts in {delay} s")
        with connections(served, 4) as opened:
            assert {pid_of(connection) for connection in opened} == {second}
    module.write_text("from cli_app import app\n")
    served.wait_for(READY, count=3)
    third = int(re.findall(STARTED, served.log)[-1])
    with connections(served, 32) as opened:
        assert {pid_of(connection) for connection in opened} == {second, third}


def test_sighup_lets_a_running_request_finish(serve: Serve, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    served = serve("cli_app:app", "--workers", "2")
    old = workers(served, 2)
    connection = HTTPConnection(served.host, served.port, timeout=20)
    connection.request("GET", f"/hold?{fifo}")
    served.wait_for("holding")
    served.signal(signal.SIGHUP)
    served.wait_for(READY, count=4)
    served.wait_for("Finished server process")
    new = [int(pid) for pid in re.findall(STARTED, served.log)][2:]
    with connections(served, 16) as opened:
        assert {pid_of(connection) for connection in opened} == set(new)
    fifo.write_bytes(b"go")
    assert json.loads(connection.getresponse().read()) == "held"
    served.wait_for("Finished server process", count=2)
    assert {int(pid) for pid in re.findall(r"Finished server process \[(\d+)\]", served.log)} == set(old)


def test_requests_that_outlast_the_grace_period_are_cancelled_in_workers(serve: Serve, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    served = serve("cli_app:app", "--workers", "2", "--timeout-graceful-shutdown", "0.2")
    workers(served, 2)
    connection = HTTPConnection(served.host, served.port, timeout=20)
    connection.request("GET", f"/hold?{fifo}")
    served.wait_for("holding")
    served.signal(signal.SIGTERM)
    assert served.wait() == 0
    assert "cancelled: Task cancelled, timeout graceful shutdown exceeded" in served.log
    assert served.log.count("application stops") == 2
    connection.close()
