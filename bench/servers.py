"""The servers that are compared: how each is started on a core of its own, stopped, and looked at."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from environment import BENCH, FRAMEWORK_VENVS, RUST_PROGRAMS, VENV

HOST = "127.0.0.1"
START_SECONDS = 20
STOP_SECONDS = 10
KEEP_ALIVE_SECONDS = 600  # idle connections must outlive the measurement


class ServerError(Exception):
    """A server did not start, or died; the message holds its last output."""


@dataclass(frozen=True)
class Server:
    """One way of serving an application.

    In its command, {venv}, {frameworks}, {rust} and {apps} are folders, and {app}, {object} (its part after the colon),
    {port}, {workers} and {keep_alive} what the case wants. `quiet` turns the access log off.
    """

    name: str
    command: str
    quiet: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM


_LIKE_UVICORN = (
    "{app} --app-dir {apps} --port {port} --workers {workers} --timeout-keep-alive {keep_alive} --log-level info"
)

SERVERS = {
    server.name: server
    for server in (
        Server("uvicorn", f"{{venv}}/uvicorn {_LIKE_UVICORN} --loop uvloop", quiet="--no-access-log"),
        Server(
            "hypercorn",
            "{venv}/hypercorn {app} --bind 127.0.0.1:{port} --workers {workers} --worker-class uvloop "
            "--keep-alive {keep_alive}",
            environment={"PYTHONPATH": str(BENCH / "apps")},
        ),
        Server(
            "granian",
            # By default it stops accepting at 1024 connections, and ends idle ones after 30 s.
            "{venv}/granian {app} --interface asgi --http 1 --loop uvloop --port {port} --workers {workers} "
            "--working-dir {apps} --backlog 16384 --backpressure 16384 --http1-header-read-timeout 60000",
            quiet="--no-access-log",
        ),
        Server("axum", "{rust}/axum-peer {port}"),
        # A driver that measures itself; this one only starts it.
        Server("driver", f"{{venv}}/uvicorn {_LIKE_UVICORN} --loop uvloop", quiet="--no-access-log"),
        Server("overdrive", f"{{venv}}/overdrive {_LIKE_UVICORN} --loop uvloop", quiet="--no-access-log"),
        Server(
            "overdrive-unwatched",
            f"{{venv}}/overdrive {_LIKE_UVICORN} --loop uvloop --watch off",
            quiet="--no-access-log",
        ),
        Server("overdrive-asyncio", f"{{venv}}/overdrive {_LIKE_UVICORN} --loop asyncio", quiet="--no-access-log"),
    )
}


@dataclass
class Running:
    """A server that answers."""

    name: str
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


def busy_seconds(cores: Sequence[int]) -> float:
    """Processor time that `cores` have spent on anything; grows, as the processes' own counters do.

    The kernel's interrupts are left out: most of them are packets between the server and its load.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    wanted = {f"cpu{core}" for core in cores}
    # user, nice, system, steal (proc_stat(5))
    return sum(sum(int(of[column]) for column in (1, 2, 3, 8)) for of in lines if of[0] in wanted) / ticks


@contextmanager
def running(
    server: Server,
    app: str,
    cores: Sequence[int],
    *,
    workers: int = 1,
    access_log: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Starts a server on `cores` and yields it once it accepts connections; on leaving, it has ended."""
    port = _free_port()
    words = shlex.split(server.command if access_log else f"{server.command} {server.quiet}")
    values = {
        "venv": VENV / "bin",
        "frameworks": FRAMEWORK_VENVS,
        "rust": RUST_PROGRAMS,
        "apps": BENCH / "apps",
        "app": app,
        "object": app.rpartition(":")[2],
        "port": port,
        "workers": workers,
        "keep_alive": KEEP_ALIVE_SECONDS,
    }
    # Filled in after the splitting, so that a folder may have a space in its name.
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *(word.format(**values) for word in words)]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OVERDRIVE_", "UVICORN_"))}
    with tempfile.NamedTemporaryFile(prefix=f"bench-{server.name}-", suffix=".log") as log:
        process = subprocess.Popen(
            pinned,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=inherited | dict(server.environment) | dict(environment or {}),
            start_new_session=True,
        )
        started = Running(server.name, port, process, log)
        try:
            _await_answer(server, started)
            yield started
            if process.poll() is not None:
                raise ServerError(f"{server.name} ended by itself with {process.returncode}:\n{started.said()}")
        finally:
            _stop(process, server.stop_signal)


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


def _stop(process: subprocess.Popen[bytes], first: signal.Signals) -> None:
    """Ends a server and everything in its session: gently, then not."""
    for number in (first, signal.SIGKILL):
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
