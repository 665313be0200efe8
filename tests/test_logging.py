"""Log lines that a uvicorn user recognizes, through the standard `logging`, with and without the engine's short cut."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import APPS, COMMAND, Serve, Served

Spawn = Callable[..., subprocess.Popen[Any]]

# Request lines, and the access lines they come to in uvicorn's form.
REQUESTS = {
    "GET / HTTP/1.1": '"GET / HTTP/1.1" 200 OK',
    "GET /a%20b?x=%C3%A9&y HTTP/1.1": '"GET /a%20b?x=%C3%A9&y HTTP/1.1" 200 OK',
    "GET /caf%C3%A9/%22quoted%22 HTTP/1.1": '"GET /caf%C3%A9/%22quoted%22 HTTP/1.1" 200 OK',
    "HEAD / HTTP/1.1": '"HEAD / HTTP/1.1" 200 OK',
    "OPTIONS /o HTTP/1.1": '"OPTIONS /o HTTP/1.1" 200 OK',
    "PROPFIND /dav HTTP/1.1": '"PROPFIND /dav HTTP/1.1" 200 OK',
    "GET /status/201 HTTP/1.1": '"GET /status/201 HTTP/1.1" 201 Created',
    "GET /status/404 HTTP/1.1": '"GET /status/404 HTTP/1.1" 404 Not Found',
    "GET /status/599 HTTP/1.1": '"GET /status/599 HTTP/1.1" 599 ',
    "GET /old HTTP/1.0": '"GET /old HTTP/1.0" 200 OK',
}
# What the user may have done to `logging` that the engine cannot see in a line, so that it has to leave lines to it.
WITHOUT_SHORT_CUT = ("record factory", "replaced handle")


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """As `subprocess.Popen`, of the command with these arguments; none outlives its test."""
    started: list[subprocess.Popen[Any]] = []

    def start(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[Any]:
        command = [*COMMAND, *arguments, "--app-dir", str(APPS)]
        started.append(subprocess.Popen(command, env={**os.environ, **(env or {})}, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def ask(served: Served, request_line: str) -> str:
    """Sends one request; gives the client's address as a log line names it, once the answer is there."""
    with served.connect() as connection:
        connection.sendall(f"{request_line}\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        while connection.recv(65536):
            pass
        host, port = connection.getsockname()[:2]
        return f"{host}:{port}"


def access_lines(served: Served) -> list[str]:
    return [line for line in served.log.splitlines() if " HTTP/1." in line]


@pytest.mark.parametrize("change", ["", *WITHOUT_SHORT_CUT])
def test_access_lines_are_uvicorns_by_logging_and_by_the_engine_alike(serve: Serve, change: str) -> None:
    served = serve("cli_logging:app", env={"CLI_LOGGING": change})
    for request_line, logged in REQUESTS.items():
        client = ask(served, request_line)
        served.wait_for(rf"INFO:     {re.escape(f'{client} - {logged}')}\n")
    assert len(access_lines(served)) == len(REQUESTS)


def test_access_lines_go_to_stdout_and_the_others_to_stderr(spawn: Spawn) -> None:
    process = spawn("cli_probe:app", "--port", "0", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    before = ""
    while "running on" not in before:
        line = process.stderr.readline()
        assert line, before
        before += line
    port = int(re.findall(r":(\d+) \(", before)[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        while connection.recv(65536):
            pass
    process.send_signal(signal.SIGTERM)
    out, after = process.communicate(timeout=20)
    assert re.search(r'INFO:     127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200 OK\n', out)
    assert '"GET /' not in before + after
    assert "INFO:" not in out.replace("INFO:     127.0.0.1", "")


def test_no_access_line_is_lost_when_the_server_ends(serve: Serve) -> None:
    served = serve("cli_probe:app")
    for _ in range(20):
        ask(served, "GET /last HTTP/1.1")
    served.stop()
    assert served.log.count('"GET /last HTTP/1.1" 200 OK') == 20


@pytest.mark.parametrize("change", ["logger filter", "handler filter"])
def test_a_filter_of_the_users_is_respected(serve: Serve, change: str) -> None:
    served = serve("cli_logging:app", env={"CLI_LOGGING": change})
    ask(served, "GET /health HTTP/1.1")
    ask(served, "GET /seen HTTP/1.1")
    served.wait_for("GET /seen")
    served.stop()
    assert len(access_lines(served)) == 1


def test_a_filter_added_to_a_running_server_is_respected(serve: Serve) -> None:
    served = serve("cli_logging:app")
    ask(served, "GET /health HTTP/1.1")
    served.wait_for("GET /health")
    ask(served, "GET /filter HTTP/1.1")
    # The engine looks a few times a second whether it may still take its short cut.
    hidden = 0
    for number in range(2000):
        ask(served, "GET /health HTTP/1.1")
        ask(served, f"GET /mark/{number} HTTP/1.1")
        served.wait_for(rf"GET /mark/{number} ")
        lines = access_lines(served)
        hidden = hidden + 1 if "/mark/" in lines[-1] and "/health" not in lines[-2] else 0
        if hidden == 3:
            return
    pytest.fail("a filter was never asked")


def test_a_second_handler_gets_uvicorns_arguments(serve: Serve) -> None:
    served = serve("cli_logging:app", env={"CLI_LOGGING": "second handler"})
    client = ask(served, "GET /a?b HTTP/1.1")
    served.wait_for(re.escape(f"second: overdrive.access INFO ({client!r}, 'GET', '/a?b', '1.1', 200)"))
    served.wait_for(re.escape(f'INFO:     {client} - "GET /a?b HTTP/1.1" 200 OK'))


def test_a_formatter_of_the_users_is_used(serve: Serve) -> None:
    served = serve("cli_logging:app", env={"CLI_LOGGING": "formatter"})
    client = ask(served, "GET /small HTTP/1.1")
    served.wait_for(re.escape(f'{client} - "GET /SMALL HTTP/1.1" 200'))


def test_propagation_reaches_the_parents_handler(serve: Serve) -> None:
    served = serve("cli_logging:app", env={"CLI_LOGGING": "propagation"})
    client = ask(served, "GET / HTTP/1.1")
    served.wait_for(re.escape(f'parent: {client} - "GET / HTTP/1.1" 200\n'))
    served.wait_for(re.escape(f'INFO:     {client} - "GET / HTTP/1.1" 200 OK\n'))


class Quiet:
    """A server that need not say where it is, as it is given a socket that listens already."""

    def __init__(self, spawn: Spawn, *options: str, env: dict[str, str] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.address = listening.getsockname()[:2]
            self.process = spawn(
                "cli_logging:app",
                "--fd",
                str(listening.fileno()),
                *options,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                pass_fds=[listening.fileno()],
            )

    def ask(self, path: str) -> None:
        with socket.create_connection(self.address, timeout=20) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            while connection.recv(65536):
                pass

    def stop(self) -> str:
        """All that it printed."""
        self.process.send_signal(signal.SIGTERM)
        printed: str = self.process.communicate(timeout=20)[0]
        return printed


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["--no-access-log"], {}),
        (["--log-level", "warning"], {}),
        ([], {"CLI_LOGGING": "level"}),
        ([], {"OVERDRIVE_ACCESS_LOG": "false"}),
    ],
)
def test_access_lines_can_be_turned_off(spawn: Spawn, options: list[str], environment: dict[str, str]) -> None:
    server = Quiet(spawn, *options, env=environment)
    server.ask("/quiet")
    assert "/quiet" not in server.stop()


def test_the_log_level_decides_what_is_said(spawn: Spawn) -> None:
    server = Quiet(spawn, "--log-level", "error")
    server.ask("/raise")
    printed = server.stop()
    assert "INFO" not in printed
    assert printed.startswith("ERROR:    Exception in ASGI application\n")
    assert printed.endswith("LookupError: no such order\nshutdown was told\n")


def test_an_exception_in_the_application_is_logged_with_its_traceback_once(spawn: Spawn, serve: Serve) -> None:
    served = serve("cli_logging:app")
    client = ask(served, "GET /raise HTTP/1.1")
    served.wait_for(re.escape(f'INFO:     {client} - "GET /raise HTTP/1.1" 500 Internal Server Error'))
    assert served.log.count("ERROR:    Exception in ASGI application\n") == 1
    assert served.log.count("LookupError: no such order\n") == 1
    assert str(APPS / "cli_logging.py") in served.log


def on_a_terminal(spawn: Spawn, *options: str) -> str:
    """What a server prints to a terminal until it has answered one request and ended."""
    ours, theirs = pty.openpty()
    process = spawn("cli_probe:app", "--port", "0", *options, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    printed = ""
    asked = False
    # Linux tells the end of the last process that has the terminal open as an error.
    with contextlib.suppress(OSError):
        while select.select([ours], [], [], 20)[0]:
            printed += os.read(ours, 65536).decode()
            found = re.search(r"http://127\.0\.0\.1:(\d+)", printed)
            if found is not None and "CTRL+C" in printed and not asked:
                asked = True
                with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    while connection.recv(65536):
                        pass
                process.send_signal(signal.SIGTERM)
    os.close(ours)
    process.wait(timeout=20)
    return printed.replace("\r\n", "\n")


def test_lines_are_coloured_on_a_terminal(spawn: Spawn) -> None:
    printed = on_a_terminal(spawn)
    assert "\x1b[32mINFO\x1b[0m:     Overdrive running on \x1b[1mhttp://127.0.0.1:" in printed
    assert re.search(
        r"\x1b\[32mINFO\x1b\[0m:     127\.0\.0\.1:\d+ - "
        r'"\x1b\[1mGET / HTTP/1\.1\x1b\[0m" \x1b\[32m200 OK\x1b\[0m\n',
        printed,
    )


def test_lines_are_not_coloured_on_a_terminal_that_is_not_to_have_colours(spawn: Spawn) -> None:
    printed = on_a_terminal(spawn, "--no-use-colors")
    assert '"GET / HTTP/1.1" 200 OK' in printed
    assert "\x1b[" not in printed


def test_lines_are_coloured_elsewhere_only_when_asked_for(spawn: Spawn) -> None:
    plain, coloured = Quiet(spawn), Quiet(spawn, "--use-colors")
    for server in (plain, coloured):
        server.ask("/status/404")
    assert "\x1b[" not in plain.stop()
    assert '"\x1b[1mGET /status/404 HTTP/1.1\x1b[0m" \x1b[31m404 Not Found\x1b[0m' in coloured.stop()


DICT_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "configured|%(name)s|%(levelname)s|%(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stdout"}},
    "root": {"handlers": ["out"], "level": "INFO"},
}

INI_CONFIG = """
[loggers]
keys=root

[handlers]
keys=out

[formatters]
keys=plain

[logger_root]
level=INFO
handlers=out

[handler_out]
class=StreamHandler
formatter=plain
args=(sys.stdout,)

[formatter_plain]
format=configured|%(name)s|%(levelname)s|%(message)s
"""

YAML_CONFIG = """
version: 1
disable_existing_loggers: false
formatters:
  plain:
    format: "configured|%(name)s|%(levelname)s|%(message)s"
handlers:
  out:
    class: logging.StreamHandler
    formatter: plain
    stream: ext://sys.stdout
root:
  handlers: [out]
  level: INFO
"""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.json", json.dumps(DICT_CONFIG)),
        ("log.ini", INI_CONFIG),
        ("log.conf", INI_CONFIG),
        ("log.yaml", YAML_CONFIG),
        ("log.yml", YAML_CONFIG),
    ],
)
@pytest.mark.parametrize("options", [[], ["--workers", "2"]])
def test_logging_is_configured_from_a_file(
    serve: Serve, tmp_path: Path, name: str, content: str, options: list[str]
) -> None:
    (tmp_path / name).write_text(content)
    served = serve("cli_probe:app", "--log-config", str(tmp_path / name), *options)
    client = ask(served, "GET /a?b HTTP/1.1")
    served.wait_for(r"configured\|overdrive\.error\|INFO\|Started server process")
    served.wait_for(re.escape(f'configured|overdrive.access|INFO|{client} - "GET /a?b HTTP/1.1" 200'))
    assert "INFO:     " not in served.log


def test_a_level_beside_a_configuration_file_wins(spawn: Spawn, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(json.dumps(DICT_CONFIG))
    server = Quiet(spawn, "--log-config", str(tmp_path / "log.json"), "--log-level", "error")
    server.ask("/raise")
    printed = server.stop()
    assert "configured|overdrive.error|ERROR|Exception in ASGI application" in printed
    assert "|INFO|" not in printed
