"""The servers that are compared: how each is started on a core of its own, stopped, and looked at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from environment import BENCH, RUST_PROGRAMS, VENV

HOST = "127.0.0.1"
START_SECONDS = 20
STOP_SECONDS = 10
KEEP_ALIVE = "600"  # seconds; idle connections must outlive the measurement


class ServerError(Exception):
    """A server did not start, or died; the message holds its last output."""


@dataclass(frozen=True)
class Server:
    """One way of serving an application, with the words of its command line.

    `{app}`, `{port}`, `{workers}` and `{keep_alive}` in a word are filled in at the start.
    """

    name: str
    command: Sequence[str | Path]
    access_log: Sequence[str] = ()
    """Options that turn the access log on, where the case wants it."""
    quiet: Sequence[str] = ()
    """Options that turn it off otherwise."""
    environment: dict[str, str] = field(default_factory=dict)


_BIN = VENV / "bin"
_UVICORN_WORDS = ("{app}", "--app-dir", BENCH / "apps", "--port", "{port}", "--workers", "{workers}",
                  "--timeout-keep-alive", "{keep_alive}", "--log-level", "info")  # fmt: skip

SERVERS = {
    server.name: server
    for server in (
        Server("uvicorn", (_BIN / "uvicorn", *_UVICORN_WORDS, "--loop", "uvloop"), quiet=("--no-access-log",)),
        Server("uvicorn-asyncio", (_BIN / "uvicorn", *_UVICORN_WORDS, "--loop", "asyncio"), quiet=("--no-access-log",)),
        Server(
            "hypercorn",
            (
                _BIN / "hypercorn",
                "{app}",
                "--bind",
                HOST + ":{port}",
                "--workers",
                "{workers}",
                "--worker-class",
                "uvloop",
                "--keep-alive",
                "{keep_alive}",
            ),
            environment={"PYTHONPATH": str(BENCH / "apps")},
        ),  # fmt: skip
        Server(
            "granian",
            (
                _BIN / "granian",
                "{app}",
                "--interface",
                "asgi",
                "--loop",
                "uvloop",
                "--port",
                "{port}",
                "--workers",
                "{workers}",
                "--working-dir",
                BENCH / "apps",
                "--http",
                "1",
            ),
            quiet=("--no-access-log",),
        ),  # fmt: skip
        Server("axum", (RUST_PROGRAMS / "axum-peer", "{port}")),
        Server("overdrive", (_BIN / "overdrive", *_UVICORN_WORDS, "--loop", "uvloop"), quiet=("--no-access-log",)),
        Server(
            "overdrive-asyncio", (_BIN / "overdrive", *_UVICORN_WORDS, "--loop", "asyncio"), quiet=("--no-access-log",)
        ),  # fmt: skip
    )
}


@dataclass
class Running:
    """A server that answers."""

    port: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def resident_bytes(self) -> int:
        """Resident memory of the server and of the processes it started."""
        return sum(_status_bytes(pid, "VmRSS") for pid in self._processes())

    def forget_peak(self) -> None:
        """Makes peak_bytes() count from now on."""
        for pid in self._processes():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The most memory ever resident, of the same processes."""
        return sum(_status_bytes(pid, "VmHWM") for pid in self._processes())

    def processor_seconds(self) -> dict[int, float]:
        """Processor time that each process has taken."""
        ticks = os.sysconf("SC_CLK_TCK")
        # Behind the name in parentheses, utime and stime are the 12th and 13th field (proc_pid_stat(5)).
        fields = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._processes()}
        return {pid: (int(of[11]) + int(of[12])) / ticks for pid, of in fields.items()}

    def _processes(self) -> tuple[int, ...]:
        return (self.process.pid, *_descendants(self.process.pid))

    def said(self) -> str:
        """The end of what it printed."""
        return Path(self.log.name).read_text(errors="replace")[-2000:]


@contextmanager
def running(
    server: Server, app: str, cores: Sequence[int], *, workers: int = 1, access_log: bool = False
) -> Iterator[Running]:
    """Starts a server on `cores` and yields it once it accepts connections; on leaving, it has ended."""
    port = _free_port()
    values = {"app": app, "port": str(port), "workers": str(workers), "keep_alive": KEEP_ALIVE}
    words = [str(word).format(**values) for word in server.command]
    words += server.access_log if access_log else server.quiet
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *words]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OVERDRIVE_", "UVICORN_"))}
    with tempfile.NamedTemporaryFile(prefix=f"bench-{server.name}-", suffix=".log") as log:
        process = subprocess.Popen(
            pinned,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment | server.environment,
            start_new_session=True,
        )
        started = Running(port, process, log)
        try:
            _await_answer(server, started)
            yield started
            if process.poll() is not None:
                raise ServerError(f"{server.name} ended by itself with {process.returncode}:\n{started.said()}")
        finally:
            _stop(process)


def _await_answer(server: Server, started: Running) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if started.process.poll() is not None:
            raise ServerError(f"{server.name} ended with {started.process.returncode}:\n{started.said()}")
        try:
            socket.create_connection((HOST, started.port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # between two tries; the server has no other way to say that it is up
        else:
            return
    raise ServerError(f"{server.name} accepts no connection after {START_SECONDS} s:\n{started.said()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a server and everything in its session: gently, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait(STOP_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _descendants(pid: int) -> Iterator[int]:
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from _descendants(child)


def _status_bytes(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise ServerError(f"process {pid} has no {key}: it has ended")
