"""Runs the Autobahn test suite against the server: `python tests/autobahn/run.py`.

The suite is the WebSocket world's conformance test: some five hundred cases for a server, permessage-deflate included.
It runs on Python 2.7 only, which is looked for as `python2.7` on the PATH and in pyenv; its packages are installed
once, into `.venvs/autobahn-suite` of this repository. The server is started by the interpreter that runs this file.

A table says how many cases of each section passed; every case that did not is named. The suite's own pages, with what
was on the wire in each case, are in `autobahn-report/index.html`.

Exit code: 0 when all cases passed (or when there is no Python 2.7 to try with), 1 when a case failed or could not be
run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
PACKAGES = ROOT / ".venvs" / "autobahn-suite"

# `site` instead of PYTHONPATH: zope.interface needs its .pth file read.
WSTEST = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite import wstest
wstest.run()
"""

# Its longest messages have 16 MiB. Pings of the server's own would be noted by the suite as unexpected.
SERVER = [
    *(sys.executable, "-m", "overdrive", "echo:app", "--app-dir", str(HERE), "--port", "{port}"),
    *("--ws-max-size", "33554432", "--ws-ping-interval", "3600", "--log-level", "warning"),
]

SECTIONS = {
    1: "Framing",
    2: "Pings and pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8 handling",
    7: "Close handling",
    9: "Limits and performance",
    10: "Miscellaneous",
    12: "Compression, payloads",
    13: "Compression, parameters",
}

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}

START_TIMEOUT = 30.0  # seconds
CASE_TIMEOUT = 300.0  # seconds without a word of the suite; its slowest case takes about 12


class Failure(Exception):
    """The suite could not be run to its end; the message is for the person at the terminal."""


@dataclass(frozen=True)
class Case:
    """What the suite says of one case."""

    id: str
    behavior: str
    close: str
    milliseconds: int

    @property
    def section(self) -> int:
        return int(self.id.split(".")[0])

    @property
    def order(self) -> list[int]:
        return [int(number) for number in self.id.split(".")]

    @property
    def passed(self) -> bool:
        return self.behavior in PASSED and self.close in PASSED


def main() -> int:
    options = parse_options()
    python = find_python()
    if python is None:
        print("autobahn: skipped, as there is no Python 2.7 with pip here (neither python2.7 on the PATH nor in pyenv)")
        return 0
    try:
        install(python)
        command = shlex.split(options.server_command) if options.server_command else SERVER
        with serve(command, options.output) as url:
            announced = run_suite(python, url, options.cases.split(","), options.output)
        cases = read_report(options.output / "index.json")
        if len(cases) != announced:
            raise Failure(f"{announced} cases were to be run, but the report has {len(cases)}")
    except Failure as failure:
        print(f"autobahn: {failure}", file=sys.stderr)
        return 1
    print_table(cases)
    return 0 if all(case.passed for case in cases) else 1


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the Autobahn WebSocket test suite against the server.")
    parser.add_argument("--cases", default="*", help="such as 1.*,12.1.3 (default: all)")
    parser.add_argument(
        "--server-command",
        help="another echo server to test; {port} stands for the port it has to listen on (default: overdrive)",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "autobahn-report", help="folder of the report")
    return parser.parse_args()


def find_python() -> str | None:
    """A Python 2.7 that runs, and has pip."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which("python2.7"), *sorted(map(str, pyenv.glob("versions/2.7*/bin/python2.7")), reverse=True)]
    for candidate in filter(None, candidates):
        # The first may be a shim of pyenv, which fails unless a 2.7 is switched on.
        found = subprocess.run([candidate, "-m", "pip", "--version"], capture_output=True, text=True, check=False)
        if found.returncode == 0 and "python 2.7" in found.stdout:
            return candidate
    return None


def install(python: str) -> None:
    """The suite and what it needs, unless they are there."""
    wanted = REQUIREMENTS.read_text()
    installed = PACKAGES / "requirements.txt"
    if installed.is_file() and installed.read_text() == wanted:
        return
    print(f"autobahn: installing {wanted.splitlines()[1]} for {python}", flush=True)
    PACKAGES.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PACKAGES.parent) as folder:
        target = Path(folder, "packages")
        command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-warn-script-location"]
        pip = subprocess.run(
            [*command, "--target", str(target), "--requirement", str(REQUIREMENTS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if pip.returncode != 0:
            raise Failure(f"pip failed:\n{pip.stdout}")
        (target / "requirements.txt").write_text(wanted)
        shutil.rmtree(PACKAGES, ignore_errors=True)
        target.rename(PACKAGES)


@contextlib.contextmanager
def serve(command: Sequence[str], output: Path) -> Iterator[str]:
    """Runs the server; gives its WebSocket URL. What it prints goes to `server.log` in the report."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    port = free_port()
    log = output / "server.log"
    with log.open("w") as stream:
        arguments = [argument.replace("{port}", str(port)) for argument in command]
        try:
            server = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        except OSError as error:
            raise Failure(f"the server cannot be started: {error}") from error
    try:
        wait_until_listening(server, port, log)
        yield f"ws://127.0.0.1:{port}"
        if server.poll() is not None:
            raise Failure(f"the server ended meanwhile, with exit code {server.returncode}:\n{log.read_text()}")
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_listening(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if server.poll() is not None:
            raise Failure(f"the server ended at once, with exit code {server.returncode}:\n{log.read_text()}")
        if time.monotonic() > deadline:
            raise Failure(f"the server does not listen on port {port} after {START_TIMEOUT:g} s:\n{log.read_text()}")
        # Any server can be tested, so there is no sign to wait for but the open port.
        time.sleep(0.05)


def run_suite(python: str, url: str, cases: list[str], output: Path) -> int:
    """Runs the fuzzing client; gives the number of cases that it wanted to run."""
    specification = output / "specification.json"
    specification.write_text(
        json.dumps(
            {
                "outdir": str(output),
                "servers": [{"agent": "server", "url": url}],
                "cases": cases,
                "exclude-cases": [],
                "exclude-agent-cases": {},
            },
        ),
    )
    client = subprocess.Popen(
        [python, "-W", "ignore", "-u", "-c", WSTEST, str(PACKAGES), "-m", "fuzzingclient", "-s", str(specification)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    announced = 0
    progress = Progress()
    with (output / "client.log").open("w") as log:
        try:
            for line in lines(client):
                log.write(line)
                if line.startswith("Ok, will run "):
                    announced = int(line.split()[3])
                elif line.startswith("Running test case ID "):
                    progress.show(line.split()[4], announced)
        finally:
            progress.end()
            if client.poll() is None:
                client.kill()
                client.wait()
    if client.returncode != 0 or not announced:
        raise Failure(f"the suite failed, see {output / 'client.log'}")
    return announced


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What a process prints, to its end; fails when it says nothing for too long."""
    printed: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            printed.put(line)
        printed.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = printed.get(timeout=CASE_TIMEOUT)
        except queue.Empty:
            raise Failure(f"the suite said nothing for {CASE_TIMEOUT:g} s; its last case hangs") from None
        if line is None:
            process.wait()
            return
        yield line


class Progress:
    """One line that changes on a terminal, a line for each section in a log."""

    def __init__(self) -> None:
        self._count = 0
        self._section = ""
        self._in_place = sys.stdout.isatty()

    def show(self, case: str, total: int) -> None:
        self._count += 1
        section = case.split(".")[0]
        if self._in_place:
            print(f"\r[{self._count}/{total}] {case:<12}", end="", flush=True)
        elif section != self._section:
            print(f"[{self._count}/{total}] {case} …", flush=True)
        self._section = section

    def end(self) -> None:
        if self._in_place:
            print("\r" + " " * 40 + "\r", end="", flush=True)


def read_report(index: Path) -> list[Case]:
    if not index.is_file():
        return []
    (results,) = json.loads(index.read_text()).values()
    cases = [
        Case(case, result["behavior"], result["behaviorClose"], result["duration"] or 0)
        for case, result in results.items()
    ]
    return sorted(cases, key=lambda case: case.order)


def print_table(cases: list[Case]) -> None:
    print(f"{'section':<28} {'cases':>5} {'ok':>5} {'non-strict':>10} {'informational':>13} {'failed':>6} {'s':>7}")
    for number in sorted({case.section for case in cases}):
        print_row(f"{number:>2} {SECTIONS.get(number, '')}", [case for case in cases if case.section == number])
    print_row("   all", cases)
    for case in cases:
        if not case.passed:
            print(f"FAILED {case.id}: behaviour {case.behavior}, closing {case.close}")


def print_row(title: str, cases: list[Case]) -> None:
    counts = Counter(case.behavior if case.passed else "FAILED" for case in cases)
    # A case without a connection has no start to measure from.
    seconds = sum(case.milliseconds for case in cases if case.passed) / 1000
    print(
        f"{title:<28} {len(cases):>5} {counts['OK']:>5} {counts['NON-STRICT']:>10} {counts['INFORMATIONAL']:>13} "
        f"{counts['FAILED']:>6} {seconds:>7.1f}",
    )


if __name__ == "__main__":
    sys.exit(main())
