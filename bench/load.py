"""The load: wrk and the Rust clients, on the core that the server leaves free. A faulty run is no measurement."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environment import BENCH, RUST_PROGRAMS, VENV
from servers import HOST

SPARE_SECONDS = 120
"""What a client gets beyond the time that it measures."""


class InvalidRun(Exception):
    """The load met errors or wrong answers, so its figure would mean nothing."""


@dataclass(frozen=True)
class Request:
    """What is asked of a server."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def wrk(port: int, request: Request, core: int, *, connections: int, seconds: float, status: int = 200) -> float:
    """Requests a second that wrk measures, on keep-alive connections from one thread; `status` answers each."""
    words = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s"]
    # By default it calls 2 s an error, which a server with 512 connections to serve may need on a busy machine.
    words += ["--timeout", "10s"]
    url = f"http://{HOST}:{port}{request.path}"
    if request == Request(request.path) and status < 400:
        words.append(url)
    else:
        pairs = [word for pair in request.headers.items() for word in pair]
        script = str(BENCH / "request.lua")
        words += ["-s", script, url, "--", request.method, str(status), request.body.decode(), *pairs]
    report = _run(words, core, seconds)
    # What wrk itself calls wrong is a status from 400 on; where that is wanted, the script counts all others.
    for fault in ("Socket errors", r"wrong: [1-9]", *(() if status >= 400 else ("Non-2xx",))):
        if found := re.search(f".*{fault}.*", report):
            raise InvalidRun(found[0].strip())
    rate = re.search(r"Requests/sec:\s+([\d.]+)", report)
    if rate is None or float(rate[1]) == 0:
        raise InvalidRun(f"wrk measured nothing:\n{report}")
    return float(rate[1])


def websocket(port: int, core: int, *, connections: int, seconds: float) -> float:
    """Echoes a second over WebSocket, one message in flight on each connection."""
    words: list[str | Path] = [RUST_PROGRAMS / "load", "websocket", f"{HOST}:{port}", str(connections), str(seconds)]
    result = _result(_run(words, core, seconds))
    return float(result["messages"] / result["seconds"])


def sessions(port: int, core: int, *, at_once: int, seconds: float) -> float:
    """WebSockets a second that are opened, asked for one echo, and closed."""
    words: list[str | Path] = [RUST_PROGRAMS / "load", "sessions", f"{HOST}:{port}", str(at_once), str(seconds)]
    result = _result(_run(words, core, seconds))
    return float(result["sessions"] / result["seconds"])


def transfer(port: int, core: int, direction: str, size: int) -> float:
    """Bytes a second of one body of `size` bytes; `direction` is upload or download."""
    result = _result(_run([RUST_PROGRAMS / "load", direction, f"{HOST}:{port}", str(size)], core, 0))
    return float(result["bytes"] / result["seconds"])


def compilation(app: str, core: int) -> dict[str, Any]:
    """What `overdrive routes` says of an application: its routes, how many are compiled, and how long that took."""
    words: list[str | Path] = [VENV / "bin/overdrive", "routes", app, "--json", "--app-dir", BENCH / "apps"]
    return _result(_run(words, core, 0))


@contextmanager
def idle(port: int, core: int, connections: int) -> Iterator[None]:
    """Holds so many connections open, one request made on each; on leaving, each has answered once more."""
    words = [*_pinned(core), str(RUST_PROGRAMS / "load"), "idle", f"{HOST}:{port}", str(connections)]
    client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        # Its own sockets time out, so that this line comes or the client ends.
        assert client.stdout is not None
        if client.stdout.readline() != "open\n":
            raise InvalidRun(client.communicate(timeout=SPARE_SECONDS)[1].strip())
        yield
        _, errors = client.communicate(timeout=SPARE_SECONDS)
        if client.returncode:
            raise InvalidRun(errors.strip())
    finally:
        client.kill()
        client.wait(SPARE_SECONDS)


def fetch(port: int, request: Request) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: status, headers with names in lower case, and body."""
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request(request.method, request.path, request.body or None, dict(request.headers))
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def connections_by_process(port: int, connections: int) -> Counter[int]:
    """How many of so many connections, opened at once, each process of the server holds."""
    held: Counter[int] = Counter()
    with ExitStack() as opened:
        clients = []
        for _ in range(connections):
            client = http.client.HTTPConnection(HOST, port, timeout=20)
            opened.callback(client.close)
            client.connect()
            clients.append(client)
        for client in clients:
            client.request("GET", "/pid")
        for client in clients:
            held[int(client.getresponse().read())] += 1
    return held


def _run(words: Sequence[str | Path], core: int, seconds: float) -> str:
    try:
        done = subprocess.run(
            [*_pinned(core), *map(str, words)], capture_output=True, text=True, timeout=seconds + SPARE_SECONDS
        )
    except subprocess.TimeoutExpired as expired:
        raise InvalidRun(f"{Path(words[0]).name} did not end in time") from expired
    if done.returncode:
        raise InvalidRun(done.stderr.strip() or f"{Path(words[0]).name} failed with {done.returncode}")
    return done.stdout


def _result(line: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(line)
    return result


def _pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)]
