"""What one request costs in instructions, stage by stage, as a Markdown table for `docs/performance.md`.

    python3 bench/instructions.py [--loop asyncio] [--app fastapi_json:app --path /…] [--requests 3200] [--no-build]
    python3 bench/instructions.py --websocket --app fastapi_rows:app --path /echo   # a request is an echo then

Time on a shared machine varies by tenths; instructions vary by thousandths, and say what a change has saved. The server
runs under valgrind's callgrind, built with the cargo profile `profiling` (release code with symbols). Counting begins
once the connections are open and warm, and ends before they close. The kernel's instructions are not seen.

The engine works in turns of a limited time. Under valgrind that time holds fewer requests, so the event loop and the
reactor, which cost something each turn, look dearer than they are; all other stages are per request.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import callgrind
import stages
from environment import BENCH, ROOT, TARGET, VENV, SetupError

HOST = "127.0.0.1"
PACKAGE = TARGET / "profiling-package"
START_SECONDS = 120  # valgrind makes everything some fifty times slower
ANSWER_SECONDS = 60
TEXT_FRAME = b"\x81\xa0" + bytes(4) + b"0123456789abcdef" * 2  # a text of 32 bytes, with a mask of zeros
STOP_SECONDS = 60
BUILD_SECONDS = 1800


def main() -> int:
    options = _options()
    try:
        _require_tools()
        if not options.no_build:
            _build()
        tables = [_overdrive(options)]
        if options.compare:
            tables.append(_compared(options))
    except (SetupError, callgrind.FormatError, OSError, subprocess.SubprocessError) as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 1
    print("\n\n".join(tables))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--app", default="bare:app", help="application in bench/apps (default: %(default)s)")
    parser.add_argument("--path", default="/json", help="path that is requested (default: %(default)s)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--websocket", action="store_true", help="count messages of WebSockets, which are echoed")
    parser.add_argument("--server-options", default="", help='more for the server, as "--watch off" (default: none)')
    parser.add_argument("--requests", type=int, default=3200, help="requests that are counted (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="keep-alive connections (default: %(default)s)")
    parser.add_argument("--compare", action="store_true", help="count uvicorn, too, by library")
    parser.add_argument("--no-build", action="store_true", help="take what the last run built")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep callgrind's output, for kcachegrind")
    options = parser.parse_args()
    if options.requests < options.connections or options.connections < 1:
        parser.error("--requests must be at least --connections, and that at least 1")
    options.requests -= options.requests % options.connections
    return options


def _require_tools() -> None:
    for tool in ("valgrind", "callgrind_control"):
        if shutil.which(tool) is None:
            raise SetupError(f"{tool} is missing: apt install valgrind")
    if not (VENV / "bin/python").exists():
        raise SetupError(f"{VENV} is not there yet: run bench/run.py once")


def _build() -> None:
    """The extension module with its symbols, beside a copy of the package, in a folder of its own."""
    command = ["cargo", "build", "--profile", "profiling", "--package", "overdrive-python"]
    command += ["--features", "pyo3/extension-module", "--manifest-path", str(ROOT / "Cargo.toml")]
    command += ["--target-dir", str(TARGET / "profiling")]
    subprocess.run(
        command, env=os.environ | {"PYO3_PYTHON": str(VENV / "bin/python")}, check=True, timeout=BUILD_SECONDS
    )
    suffix = subprocess.run(
        [VENV / "bin/python", "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    shutil.rmtree(PACKAGE, ignore_errors=True)
    # An extension built in place for development is left out: it would be found before the one that has the symbols.
    shutil.copytree(
        ROOT / "python/overdrive", PACKAGE / "overdrive", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    shutil.copy2(TARGET / "profiling/profiling/lib_overdrive.so", PACKAGE / f"overdrive/_overdrive{suffix}")


def _overdrive(options: argparse.Namespace) -> str:
    costs = _count("overdrive", options)
    found = callgrind.by_stage(costs, stages.RULES, stages.RETURNS, stages.LOOP)
    total = sum(found.instructions.values())
    lines = [
        f"One request, overdrive on {options.loop}, {options.app} {options.path}: "
        f"{total / options.requests:,.0f} instructions.",
        "",
        "| stage | instructions | share | what it is |",
        "|---|--:|--:|---|",
    ]
    for stage, meaning in stages.MEANING.items():
        count = found.instructions.get(stage, 0)
        if count == 0:
            continue
        lines.append(f"| {stage} | {count / options.requests:,.0f} | {count / total:.1%} | {meaning} |")
    for function, count in found.unplaced.items():
        if count > total / 200:
            print(
                f"instructions: {function} ({count / total:.1%}) is called back by code that no stage owns, and "
                "bench/stages.py does not say from which stage: shares may be wrong by as much",
                file=sys.stderr,
            )
    return "\n".join([*lines, "", *_libraries({"overdrive": costs}, options.requests)])


def _compared(options: argparse.Namespace) -> str:
    return "\n".join(_libraries({"uvicorn": _count("uvicorn", options)}, options.requests))


def _libraries(counted: dict[str, Sequence[callgrind.Cost]], requests: int) -> list[str]:
    """A table of the instructions by the library they stand in."""
    lines = []
    for server, costs in counted.items():
        found = callgrind.by_library(costs)
        total = sum(found.values())
        lines += [f"| {server}: library | instructions | share |", "|---|--:|--:|"]
        for library, count in sorted(found.items(), key=lambda item: -item[1]):
            if count >= total / 1000:
                lines.append(f"| {Path(library).name} | {count / requests:,.0f} | {count / total:.1%} |")
        lines.append(f"| all | {total / requests:,.0f} | |")
    return lines


def _count(server: str, options: argparse.Namespace) -> Sequence[callgrind.Cost]:
    """Runs `server` under callgrind for the requests of `options`."""
    with tempfile.TemporaryDirectory(prefix="bench-instructions-") as folder:
        output = Path(folder) / "callgrind.out"
        with _running(server, options, output) as (port, process):
            _fetch_all(port, options, lambda counting: _control(process, counting))
        if options.keep and server == "overdrive":
            shutil.copyfile(output, options.keep)
        return list(callgrind.read(output))


@contextmanager
def _running(server: str, options: argparse.Namespace, output: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    command = [
        "valgrind",
        "--tool=callgrind",
        "--instr-atstart=no",
        f"--callgrind-out-file={output}",
        str(VENV / "bin/python"),
        *("-m", server, options.app, "--app-dir", str(BENCH / "apps"), "--port", str(port)),
        *options.server_options.split(),
        *("--loop", options.loop, "--no-access-log", "--timeout-keep-alive", "600"),
    ]
    log_path = output.with_suffix(".log")
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | ({"PYTHONPATH": str(PACKAGE)} if server == "overdrive" else {}),
        )
        try:
            _await_listening(port, process, log_path)
            yield port, process
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)  # callgrind writes its output at the end
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _await_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)  # between two tries; the server has no other way to say that it is up
        else:
            return
    raise SetupError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _control(process: subprocess.Popen[bytes], counting: bool) -> None:
    """Turns callgrind's counting on or off, by valgrind's debugger interface."""
    command = ["callgrind_control", "-i", "on" if counting else "off", str(process.pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode or "OK" not in done.stdout:
        raise SetupError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _fetch_all(port: int, options: argparse.Namespace, control: Callable[[bool], None]) -> None:
    """Warms the connections up, and makes the requests that are counted: one on each connection at a time, so that the
    server finds as many ready as it would under load."""
    connections = [socket.create_connection((HOST, port), timeout=ANSWER_SECONDS) for _ in range(options.connections)]
    try:
        if options.websocket:
            for connection in connections:
                _open_websocket(connection, options.path)
            # A server's frame is a client's without the four bytes of the mask.
            request, expected = TEXT_FRAME, len(TEXT_FRAME) - 4
        else:
            request = f"GET {options.path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
            expected = _answer_length(connections[0], request)
        rounds = options.requests // options.connections
        for counted, number in ((False, 10), (True, rounds)):
            if counted:
                control(True)
            for _ in range(number):
                for connection in connections:
                    connection.sendall(request)
                for connection in connections:
                    _receive(connection, expected)
        control(False)
    finally:
        for connection in connections:
            connection.close()


def _open_websocket(connection: socket.socket, path: str) -> None:
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += _some(connection)
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise SetupError(f"{path} should be a WebSocket, and answered:\n{answer.decode('latin-1')}")


def _answer_length(connection: socket.socket, request: bytes) -> int:
    """The length of the whole answer, which must be 200 and say its length; the others are as long."""
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _some(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode("latin-1").split("\r\n")
    length = next((int(line[15:]) for line in headers if line.lower().startswith("content-length:")), None)
    if not status.startswith("HTTP/1.1 200 ") or length is None:
        raise SetupError(f"the answer should be 200 with a Content-Length, and was:\n{head.decode('latin-1')}")
    _receive(connection, length - len(body))
    return len(head) + 4 + length


def _receive(connection: socket.socket, length: int) -> None:
    while length > 0:
        length -= len(_some(connection))
    if length < 0:
        raise SetupError("an answer was longer than the first one")


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise SetupError("the server closed a connection")
    return data


if __name__ == "__main__":
    sys.exit(main())
