"""Of a clean application nothing is told, however busy it is, and however slow the machine.

`CLEAN_SECONDS` says for how long each (`make clean-minute`: a minute; otherwise some seconds).
"""

from __future__ import annotations

import http.client
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.conftest import Serve, Served

APPS = Path(__file__).parent / "apps"
SECONDS = float(os.environ.get("CLEAN_SECONDS", "5"))
CLIENTS = 8
PATHS = ("/at-once", "/waits", "/thread/7", "/computes", "/background", "/stream", "/file", "/gathers")
ITEM = b'{"name": "a thing", "price": 4.5, "tags": ["new"]}'
# Takes all that it is given, and is no Python: many are started at once.
HOG = ["sh", "-c", "while :; do :; done"]


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many processes that want a processor each, all the time."""
    started = [subprocess.Popen(HOG) for _ in range(count)]
    try:
        yield
    finally:
        for hog in started:
            hog.kill()
        for hog in started:
            hog.wait()


def ask(served: Served, ends: float, counts: list[int]) -> None:
    """Asks for one thing after the other until the time has come."""
    connection = http.client.HTTPConnection(served.host, served.port, timeout=60)
    count = 0
    while time.monotonic() < ends:
        if random.random() < 0.1:
            connection.request("POST", "/items", ITEM, {"content-type": "application/json"})
        else:
            connection.request("GET", random.choice(PATHS))
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        count += 1
    connection.close()
    counts.append(count)


def talk(served: Served, ends: float, counts: list[int]) -> None:
    """The same over a WebSocket."""
    count = 0
    with connect(f"{served.ws_url}/echo") as socket:
        while time.monotonic() < ends:
            socket.send("hello")
            assert socket.recv() == "hello"
            count += 1
    counts.append(count)


def busy(served: Served, seconds: float) -> None:
    """Keeps the server busy for so long."""
    ends = time.monotonic() + seconds
    counts: list[int] = []
    clients = [threading.Thread(target=ask, args=(served, ends, counts)) for _ in range(CLIENTS)]
    clients += [threading.Thread(target=talk, args=(served, ends, counts)) for _ in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(counts) == len(clients), "a client has failed"
    print(f"{sum(counts)} answers in {seconds:.0f} s")


@pytest.mark.parametrize("compiling", ["auto", "off"], ids=["compiled", "stock"])
@pytest.mark.parametrize("disturbed", [False, True], ids=["quiet", "disturbed"])
def test_nothing_is_told_of_a_clean_application_under_load(serve: Serve, disturbed: bool, compiling: str) -> None:
    served = serve("clean:app", "--no-access-log", "--report", "--compile", compiling, app_dir=APPS)
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with hogs(3 * processors if disturbed else 0):
        busy(served, SECONDS)
        told = re.findall(r"^(?:WARNING|ERROR).*$", served.log, re.MULTILINE)
        assert told == [], "\n".join(told)
        # And of what does block it is told, under the same circumstances.
        connection = http.client.HTTPConnection(served.host, served.port, timeout=60)
        connection.request("GET", "/blocks")
        assert connection.getresponse().status == 200
        served.wait_for(r"GET /blocks \(clean\.blocks\) blocked the event loop for \d+ ms; .*clean\.py:\d+, in blocks")
    served.process.send_signal(signal.SIGTERM)
    served.wait()
    verdicts = re.findall(
        r"^((?:GET|POST|WS) \S+) +(?:async|def) .* (OK|Bad|Could be better)$", served.log, re.MULTILINE
    )
    assert len(verdicts) >= 10, served.log
    assert [endpoint for endpoint, word in verdicts if word == "Bad"] == ["GET /blocks"]
    told = re.findall(r"^(?:WARNING|ERROR).*$", served.log, re.MULTILINE)
    assert len(told) == 1, told


def test_nothing_is_told_of_a_process_that_was_stopped_for_a_while(serve: Serve) -> None:
    served = serve("clean:app", "--no-access-log", app_dir=APPS)
    if sys.platform == "linux":
        # On one processor it is not always the watcher that runs first again.
        one = {min(os.sched_getaffinity(0))}
        for thread in Path(f"/proc/{served.process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), one)
    over = threading.Event()

    def work() -> None:
        connection = http.client.HTTPConnection(served.host, served.port, timeout=60)
        while not over.is_set():
            connection.request("GET", "/nearly")
            connection.getresponse().read()
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(6):
        time.sleep(0.3)  # It works, and is within a step nearly always.
        served.process.send_signal(signal.SIGSTOP)
        time.sleep(0.4)  # The time that it loses.
        served.process.send_signal(signal.SIGCONT)
    over.set()
    for worker in workers:
        worker.join()
    told = re.findall(r"^(?:WARNING|ERROR).*$", served.log, re.MULTILINE)
    assert told == [], "\n".join(told)


def test_many_threads_start_without_the_loop_waiting_for_each(serve: Serve) -> None:
    served = serve("starting:app", app_dir=APPS)
    with ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(12)]
        for connection in connections:
            connection.sendall(b"GET /slow HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        counts = []
        for connection in connections:
            answer = b"".join(iter(lambda connection=connection: connection.recv(65536), b""))
            counts.append(int(answer.rpartition(b"\r\n")[2]))
    assert max(counts) > 12, "they have run at the same time"
    served.stop()
    assert "blocked" not in served.log
