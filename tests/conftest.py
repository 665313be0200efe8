"""Starts the real command on a free port and stops only what it started."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
APPS = TESTS / "apps"

# The command under test. `OVERDRIVE_TEST_COMMAND="python -m uvicorn"` runs a test against the oracle instead.
COMMAND = shlex.split(os.environ.get("OVERDRIVE_TEST_COMMAND", f"{shlex.quote(sys.executable)} -m overdrive"))

_RUNNING = r"(?i)running on (?:http://(?:[^:\s\]]+|\[[^\]]+\]):(?P<port>\d+)|unix socket (?P<uds>\S+))"


class Served:
    """A server process: its address, what it printed, and how to end it."""

    def __init__(self, command: list[str], arguments: list[str], env: dict[str, str], cwd: Path | None) -> None:
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
            cwd=cwd,
            text=True,
            errors="replace",
        )
        self.host = "127.0.0.1"
        self.port = 0
        self._lines: list[str] = []
        self._ended = False  # Nothing more will be printed.
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """Everything printed so far, stdout and stderr together."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, pattern: str, timeout: float = 15.0, count: int = 1) -> re.Match[str]:
        """Waits until `pattern` has been printed `count` times; fails with the whole log."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = list(re.finditer(pattern, "".join(self._lines)))
                if len(found) >= count:
                    return found[count - 1]
                if self._ended:
                    raise AssertionError(f"the server ended before {pattern!r}:\n{''.join(self._lines)}")
                if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise AssertionError(
                        f"{pattern!r} was not printed {count}x in {timeout} s:\n{''.join(self._lines)}"
                    )

    def connect(self, timeout: float = 10.0) -> socket.socket:
        """A plain TCP connection."""
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 20.0) -> int:
        """The exit code, once the process has ended and all it printed was read."""
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        return code

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM, then the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop within {timeout} s:\n{self.log}") from None

    def stop_if_running(self) -> None:
        """SIGTERM, unless the process has ended already."""
        if self.process.poll() is None:
            self.stop()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


Serve = Callable[..., Served]


@contextlib.contextmanager
def _servers() -> Iterator[Serve]:
    # Ends every server, also when another one did not stop and has said so.
    started = contextlib.ExitStack()

    def start(
        app: str,
        *options: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        app_dir: Path = APPS,
        ready: bool = True,
        command: list[str] | None = None,
    ) -> Served:
        arguments = [app, "--app-dir", str(app_dir), *options]
        if not {"--port", "--uds", "--fd"} & set(options):
            arguments += ["--port", "0"]
        served = Served(command or COMMAND, arguments, env or {}, cwd)
        started.callback(served.stop_if_running)
        if ready:
            served.port = int(served.wait_for(_RUNNING, timeout=30)["port"] or 0)
        return served

    with started:
        yield start


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve("module:app", "--option", "value", env={}, cwd=None, ready=True)`: a module of `tests/apps`, served.

    With `ready=False` it does not wait for the address (for starts that must fail). `app_dir` is another folder.
    """
    with _servers() as start:
        yield start


@pytest.fixture(scope="module")
def serve_once() -> Iterator[Serve]:
    """As `serve`, for servers that all tests of a module share."""
    with _servers() as start:
        yield start
