"""Seven requests, told step by step: two endpoints that overlap, one that blocks the loop, one that comes after it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.watch.test_inspect import APPS, Inspected, until

SOURCE = (APPS / "seven.py").read_text().splitlines()
BLOCKING_LINE = next(number for number, line in enumerate(SOURCE, 1) if line.endswith("# blocks"))

WAITING = [
    ("is received", "is free"),
    ("begins on the loop", "runs it"),
    ("waits", "is free"),
    ("goes on", "runs it"),
    ("is answered", "runs it"),
    ("ends", "is free"),
]
AT_ONCE = [
    ("is received", "is free"),
    ("begins on the loop", "runs it"),
    ("is answered", "runs it"),
    ("ends", "is free"),
]
BLOCKING = [*AT_ONCE[:3], ("ends", "was blocked for N ms")]


@pytest.fixture(scope="module")
def seven(serve_once: Serve) -> Iterator[Inspected]:
    """A server that has answered them."""
    inspected = Inspected(serve_once("seven:app", "--inspect=127.0.0.1:0", app_dir=APPS))
    with ExitStack() as stack:

        def send(path: str) -> Any:
            connection = stack.enter_context(inspected.served.connect())
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n".encode())
            return connection

        def has(path: str, action: str) -> bool:
            return any(step["action"].startswith(action) for step in inspected.json("/steps", only=f" {path}"))

        connections = []
        for path in ("/a/1", "/b/1", "/a/2", "/b/2"):
            connections.append(send(path))
            until(lambda path=path: has(path, "waits"))
        connections.append(send("/c"))
        until(lambda: has("/c", "begins"))
        connections += [send("/d/1"), send("/d/2")]
        for connection in connections:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        until(lambda: has("/d/2", "ends") and all(stall["over"] for stall in inspected.json("/stalls")["stalls"]))
        until(lambda: has("/c", "ends"))
        yield inspected


def test_the_table_of_steps(seven: Inspected) -> None:
    steps = seven.json("/steps")
    table: dict[str, list[tuple[str, str]]] = {}
    for step in steps:
        action = re.sub(r", ran .*", "", step["action"])
        server = re.sub(r"\d+ ms", "N ms", step["server"])
        table.setdefault(step["request"], []).append((action, server))
    assert table == {
        "#1 GET /a/1": WAITING,
        "#2 GET /b/1": WAITING,
        "#3 GET /a/2": WAITING,
        "#4 GET /b/2": WAITING,
        "#5 GET /c": BLOCKING,
        "#6 GET /d/1": AT_ONCE,
        "#7 GET /d/2": AT_ONCE,
    }
    handlers = {step["request"]: step["handler"] for step in steps}
    assert handlers == {name: f"async seven.{name.partition(' /')[2][0]}" for name in table}
    # Nothing of anybody else's happened while it was blocked.
    names = [step["request"] for step in steps]
    begins = names.index("#5 GET /c")
    assert names[begins : begins + 4] == ["#5 GET /c"] * 4
    assert set(names[begins + 4 :]) == set(table) - {"#5 GET /c"}
    assert {step["response"].partition(" ")[0] for step in steps if step["action"] == "is answered"} == {"200"}


def test_the_stall(seven: Inspected) -> None:
    [stall] = seven.json("/stalls")["stalls"]
    assert (stall["line"], stall["request"], stall["over"]) == ("GET /c", 5, True)
    assert stall["seconds"] == pytest.approx(0.5, abs=0.2)
    assert stall["waited"] == 6
    blamed = stall["stack"][stall["blamed"]]
    assert (Path(blamed["file"]).name, blamed["line"], blamed["function"]) == ("seven.py", BLOCKING_LINE, "c")


def test_the_verdicts(seven: Inspected) -> None:
    until(lambda: sum(route["requests"] for route in seven.json("/routes")) == 7)
    verdicts = {route["path"]: route["verdict"] for route in seven.json("/routes")}
    told = {
        path: (verdict["pattern"], verdict["requests"], verdict["word"], verdict["remedy"])
        for path, verdict in verdicts.items()
    }
    assert told == {
        "/a/{number}": ("async", 2, "OK", ""),
        "/b/{number}": ("async", 2, "OK", ""),
        "/c": ("async", 1, "Bad", "await asyncio.sleep(...)"),
        "/d/{number}": ("async", 2, "OK", ""),
    }
    assert [verdicts[path]["concurrency"] for path in ("/a/{number}", "/b/{number}", "/c")] == [2, 2, 1]
    assert verdicts["/c"]["line"].endswith(f"seven.py:{BLOCKING_LINE} time.sleep(0.5)  # blocks")
    assert verdicts["/c"]["longest"] == pytest.approx(0.5, abs=0.2)
    # Each of the six others could not go on, or not begin, for half a second at the most.
    assert 0.5 < verdicts["/c"]["delay"] < 6.01 * verdicts["/c"]["longest"]
