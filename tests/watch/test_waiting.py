"""Who waits for a stall, and who does not."""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.conftest import Serve, Served
from tests.watch.apps.waiting import PAUSE

APPS = Path(__file__).parent / "apps"


@pytest.fixture
def waiting(serve: Serve) -> Served:
    return serve("waiting:app", "--no-access-log", app_dir=APPS)


def open_connection(served: Served) -> socket.socket:
    """A connection that has been answered once."""
    host, port = served.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    ask(connection, "/quick")
    answer(connection)
    return connection


def ask(connection: socket.socket, path: str) -> None:
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())


def answer(connection: socket.socket) -> bytes:
    """The body of an answer."""
    data = b""
    while not data.partition(b"\r\n\r\n")[2]:
        received = connection.recv(65536)
        assert received
        data += received
    return data.partition(b"\r\n\r\n")[2]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks begin in the loop's turn: there is nothing to write yet")
def test_answers_go_out_before_a_request_that_is_known_to_block(waiting: Served) -> None:
    """All of them come in one run of the engine, and are written together at its end otherwise."""
    assert httpx.get(f"{waiting.url}/blocks").status_code == 200
    connections = [open_connection(waiting) for _ in range(6)]
    *quick, blocking, first = connections
    ask(first, "/blocks")
    time.sleep(PAUSE / 5)  # until it keeps the loop, so that the others come together
    for connection in quick:
        ask(connection, "/quick")
    ask(blocking, "/blocks")
    for connection in quick:
        finished = float(answer(connection))
        assert time.monotonic() - finished < PAUSE / 2
    for connection in connections:
        connection.close()


def test_an_answer_goes_out_before_background_tasks_that_are_known_to_block(waiting: Served) -> None:
    connection = open_connection(waiting)
    took = []
    for _ in range(2):
        began = time.monotonic()
        ask(connection, "/blocks-afterwards")
        answer(connection)
        took.append(time.monotonic() - began)
    assert took[1] < PAUSE / 2


def test_a_message_goes_out_before_an_endpoint_that_is_known_to_block(waiting: Served) -> None:
    with connect(f"ws{waiting.url.removeprefix('http')}/sends-and-blocks") as websocket:
        websocket.send("first")
        websocket.recv()
        time.sleep(PAUSE)  # until it waits again
        began = time.monotonic()
        websocket.send("second")
        websocket.recv()
        assert time.monotonic() - began < PAUSE / 2


def test_a_connection_waits_for_a_stall_once_however_many_requests_it_makes(waiting: Served) -> None:
    connections = [open_connection(waiting) for _ in range(3)]
    blocking = open_connection(waiting)
    is_over = threading.Event()

    def go_on(connection: socket.socket) -> None:
        while not is_over.is_set():
            ask(connection, "/quick")
            answer(connection)

    threads = [threading.Thread(target=go_on, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    time.sleep(0.1)  # until they are at it
    ask(blocking, "/blocks")
    found = waiting.wait_for(r"GET /blocks \S+ blocked the event loop for \d+ ms; (\d+) requests? waited")
    is_over.set()
    for thread in threads:
        thread.join()
    assert 1 <= int(found[1]) <= 3
