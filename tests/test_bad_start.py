"""Starts that must fail: one line that says what is wrong and what to do, the right exit code, no traceback of ours."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import APPS

# Exit codes: the application, the command line, the start-up.
APPLICATION, USAGE, STARTUP = 1, 2, 3


class Ended:
    """A command that was to end by itself."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "overdrive", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
        self.code = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr

    def line(self) -> str:
        """What it said beside information; fails unless that is one line on stderr, without a traceback."""
        assert self.stdout == ""
        assert "Traceback" not in self.stderr, self.stderr
        lines = [line for line in self.stderr.splitlines() if not line.startswith(("INFO:", "WARNING:"))]
        assert len(lines) == 1, self.stderr
        return lines[0]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("nowhere:app", ['No module "nowhere"', str(APPS), "--app-dir"]),
        ("nowhere.at.all:app", ['No module "nowhere"', str(APPS)]),
        ("cli_probe.inner:app", ['No module "cli_probe.inner"']),
        ("cli_probe:appp", ['No attribute "appp" in "cli_probe"', 'Did you mean "app"?']),
        ("cli_probe:app.inner", ['No attribute "inner" in "cli_probe:app"']),
        ("cli_probe:not_callable", ['"cli_probe:not_callable"', "type dict", "cannot be called"]),
        ("cli_probe", ['"cli_probe" names no application', '"main:app"']),
        ("cli_probe:", ['"cli_probe:" names no application']),
        (":app", ['":app" names no application']),
        ("cli_probe.py:app", ['"cli_probe.py:app" names a file', '"main:app"']),
        ("./cli_probe:app", ['"./cli_probe:app" names a file']),
        ("cli_probe:wsgi", ["two arguments", "--interface wsgi"]),
    ],
)
def test_an_application_that_is_not_there_is_told_in_one_line(app: str, says: list[str]) -> None:
    ended = Ended(app, "--app-dir", str(APPS), "--port", "0")
    line = ended.line()
    for words in says:
        assert words in line
    assert ended.code == APPLICATION


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("cli_probe:create_nothing", ['"cli_probe:create_nothing"', "type NoneType"]),
        ("cli_probe:not_callable", ['"cli_probe:not_callable"', "type dict"]),
    ],
)
def test_a_factory_that_makes_nothing_is_told_in_one_line(app: str, says: list[str]) -> None:
    ended = Ended(app, "--factory", "--app-dir", str(APPS), "--port", "0")
    line = ended.line()
    for words in says:
        assert words in line
    assert ended.code == APPLICATION


def test_the_folder_that_was_searched_is_the_current_one_without_app_dir(tmp_path: Path) -> None:
    ended = Ended("nowhere:app", "--port", "0", cwd=tmp_path)
    assert str(tmp_path) in ended.line()


@pytest.mark.parametrize(
    ("source", "final"),
    [
        ("import json\n\n\ndef connect():\n    raise LookupError('no such table')\n\n\nconnect()\n", "LookupError"),
        ("import a_package_that_nobody_has\n", "ModuleNotFoundError"),
        ("def app(:\n    pass\n", "SyntaxError"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--workers", "2"]])
def test_an_error_in_the_users_module_shows_their_traceback_alone_and_once(
    tmp_path: Path, source: str, final: str, options: list[str]
) -> None:
    (tmp_path / "broken.py").write_text(source)
    ended = Ended("broken:app", "--app-dir", str(tmp_path), "--port", "0", *options)
    assert ended.code == APPLICATION
    assert ended.stderr.count(f"\n{final}: ") == 1
    assert ended.stderr.count(str(tmp_path / "broken.py")) >= 1
    assert "overdrive" + os.sep not in ended.stderr
    assert "importlib" not in ended.stderr
    assert ended.stderr.count('"broken" cannot be imported') == 1
    assert ended.stderr.count("Traceback") == (0 if final == "SyntaxError" else 1)


def test_an_error_deep_in_the_users_imports_shows_every_frame_of_theirs(tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text("import inner\n")
    (tmp_path / "inner.py").write_text("1 / 0\n")
    ended = Ended("outer:app", "--app-dir", str(tmp_path), "--port", "0")
    assert ended.code == APPLICATION
    assert ended.stderr.index("outer.py") < ended.stderr.index("inner.py") < ended.stderr.index("ZeroDivisionError")
    assert "importlib" not in ended.stderr


def test_an_error_in_a_factory_shows_the_users_traceback() -> None:
    ended = Ended("cli_probe:create_failing", "--factory", "--app-dir", str(APPS), "--port", "0")
    assert ended.code == APPLICATION
    assert "LookupError: no settings" in ended.stderr
    assert "in create_failing" in ended.stderr
    assert "overdrive" + os.sep not in ended.stderr


@pytest.mark.parametrize("options", [[], ["--workers", "2"], ["--reload"]])
def test_a_port_in_use_is_told_in_one_line(taken_port: int, options: list[str]) -> None:
    ended = Ended("cli_probe:app", "--app-dir", str(APPS), "--port", str(taken_port), *options)
    line = ended.line()
    assert f"127.0.0.1:{taken_port}" in line
    assert "in use" in line
    assert "--port" in line
    assert ended.code == STARTUP
    assert "Waiting for application startup" not in ended.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "192.0.2.1"], ["192.0.2.1", "not an address of this machine", "--host"]),
        (["--host", "no-such-host.invalid"], ["no-such-host.invalid", "no such address"]),
        (["--host", ".."], ["--host ..", "no such address"]),
        (["--fd", "99"], ["--fd 99", "not an open socket"]),
        (["--fd", "0"], ["--fd 0", "not an open socket"]),
        (["--uds", "/no/such/folder/app.sock"], ["/no/such/folder/app.sock", "there is no such folder", "--uds"]),
        (["--uds", "/"], ["Cannot listen on /", "--uds"]),
        (["--uds", "x" * 200], ["--uds"]),
    ],
)
def test_an_address_that_cannot_be_had_is_told_in_one_line(options: list[str], says: list[str]) -> None:
    ended = Ended("cli_probe:app", "--app-dir", str(APPS), *options)
    line = ended.line()
    for words in says:
        assert words in line
    assert ended.code == STARTUP


def test_a_file_in_the_place_of_the_unix_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    ended = Ended("cli_probe:app", "--app-dir", str(APPS), "--uds", str(path))
    assert str(path) in ended.line()
    assert "in use" in ended.stderr
    assert ended.code == STARTUP
    assert path.read_text() == "data"


@pytest.mark.parametrize("kind", ["port", "uds"])
def test_missing_permission_is_told_in_one_line(kind: str) -> None:
    # Not pytest's folder, into which no other user may look.
    with tempfile.TemporaryDirectory() as forbidden:
        os.chmod(forbidden, 0o555)
        options = f"port={_privileged_port()}" if kind == "port" else f"uds={forbidden + '/app.sock'!r}"
        program = (
            "import os, overdrive\n"
            "async def app(scope, receive, send): pass\n"
            "if os.geteuid() == 0:\n"
            # What is imported later, another user may not be able to read.
            "    import concurrent.futures.thread, encodings.idna\n"
            "    os.setgid(65534); os.setuid(65534)\n"
            f"overdrive.run(app, {options}, app_dir=None, loop='asyncio')\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, cwd="/")
    assert done.returncode == STARTUP, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    assert len(errors) == 1
    assert "no permission" in errors[0]
    assert "start with the rights to it" in errors[0]


def _privileged_port() -> int:
    """One that ordinary users may not bind, and nobody listens on."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except OSError:
        first = 1024
    if first < 2:
        pytest.skip("every user may bind every port here")
    return first - 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "65536"], "--port"),
        (["--port", "-1"], "--port"),
        (["--port", "eighty"], "--port"),
        (["--workers", "0"], "--workers"),
        (["--workers", "two"], "--workers"),
        (["--backlog", "0"], "--backlog"),
        (["--backlog", "99999999999"], "--backlog"),
        (["--lifespan", "maybe"], "--lifespan"),
        (["--interface", "asgi4"], "--interface"),
        (["--loop", "trio"], "--loop"),
        (["--log-level", "loud"], "--log-level"),
        (["--header", "no-colon"], "--header"),
        (["--header", ": no name"], "--header"),
        (["--header", "two words: x"], "two words"),
        (["--header", "x: line\nbreak"], "x"),
        (["--timeout-keep-alive", "-1"], "--timeout-keep-alive"),
        (["--timeout-keep-alive", "soon"], "--timeout-keep-alive"),
        (["--timeout-keep-alive", "nan"], "--timeout-keep-alive"),
        (["--timeout-keep-alive", "inf"], "--timeout-keep-alive"),
        (["--timeout-header-read", "0"], "--timeout-header-read"),
        (["--timeout-graceful-shutdown", "-1"], "--timeout-graceful-shutdown"),
        (["--timeout-worker-healthcheck", "0"], "--timeout-worker-healthcheck"),
        (["--limit-concurrency", "0"], "--limit-concurrency"),
        (["--limit-connections", "0"], "--limit-connections"),
        (["--limit-max-requests", "0"], "--limit-max-requests"),
        (["--limit-max-requests-jitter", "-1"], "--limit-max-requests-jitter"),
        (["--max-header-size", "1"], "--max-header-size"),
        (["--max-headers", "0"], "--max-headers"),
        (["--ws-max-size", "0"], "--ws-max-size"),
        (["--ws-max-queue", "0"], "--ws-max-queue"),
        (["--ws-ping-interval", "-1"], "--ws-ping-interval"),
        (["--ws-per-message-deflate", "perhaps"], "--ws-per-message-deflate"),
        (["--env-file", "nowhere.env"], "nowhere.env"),
        (["--log-config", "nowhere.ini"], "nowhere.ini"),
        (["--reload", "--reload-dir", "nowhere"], "nowhere"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_a_wrong_option_value_is_told_and_names_the_option(tmp_path: Path, options: list[str], says: str) -> None:
    ended = Ended("cli_probe:app", "--app-dir", str(APPS), *options, cwd=tmp_path)
    assert ended.code == USAGE
    assert "Traceback" not in ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.lower().startswith("error:")]
    assert len(errors) == 1, ended.stderr
    assert says in errors[0]


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        (["--http", "h11"], "leave it out"),
        (["--ws", "wsproto"], "leave it out"),
        (["--http2"], "proxy"),
        (["--h11-max-incomplete-event-size", "1000"], "--max-header-size"),
        (["--ssl-keyfile", "key.pem"], "proxy"),
        (["--ssl-certfile", "cert.pem"], "proxy"),
    ],
)
def test_an_option_that_only_uvicorn_has_is_told_with_what_to_do_instead(option: list[str], instead: str) -> None:
    ended = Ended("cli_probe:app", "--app-dir", str(APPS), *option)
    assert ended.code == USAGE
    assert f"no option {option[0]}" in ended.stderr
    assert instead in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.ini", "", "empty.ini"),
        ("wrong.ini", "[loggers]\nkeys=root\n", "wrong.ini"),
        ("broken.json", "{", "broken.json"),
        ("list.json", "[]", "list.json"),
        ("version.json", '{"version": 2}', "version.json"),
        ("handler.json", '{"version": 1, "handlers": {"h": {"class": "no.such.Handler"}}}', "no.such"),
        ("broken.yaml", "a: [", "broken.yaml"),
        ("text.yaml", "just text", "text.yaml"),
    ],
)
def test_a_wrong_logging_configuration_is_told_in_one_line(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    ended = Ended("cli_probe:app", "--app-dir", str(APPS), "--log-config", str(tmp_path / name))
    line = ended.line()
    assert "--log-config" in line
    assert says in line
    assert ended.code == USAGE


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"OVERDRIVE_PORT": "eighty"}, "eighty"),
        ({"OVERDRIVE_WORKERS": "0"}, "--workers"),
        ({"OVERDRIVE_RELOAD": "perhaps"}, "perhaps"),
        ({"WEB_CONCURRENCY": "many"}, "WEB_CONCURRENCY"),
    ],
)
def test_a_wrong_environment_variable_is_told(env: dict[str, str], says: str) -> None:
    ended = Ended("cli_probe:app", "--app-dir", str(APPS), env=env)
    assert ended.code == USAGE
    assert "Traceback" not in ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.lower().startswith("error:")]
    assert len(errors) == 1, ended.stderr
    assert says in errors[0]


@pytest.mark.parametrize(
    ("options", "module", "package"),
    [
        (["--loop", "uvloop"], "uvloop", "uvloop"),
        (["--reload"], "watchfiles", "watchfiles"),
        (["--env-file", "some.env"], "dotenv", "python-dotenv"),
        (["--log-config", "some.yaml"], "yaml", "pyyaml"),
        (["--interface", "wsgi"], "a2wsgi", "a2wsgi"),
    ],
)
def test_a_package_that_an_option_needs_is_named(tmp_path: Path, options: list[str], module: str, package: str) -> None:
    # A module of this name that is not to be found: as if it were not installed.
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    (tmp_path / "some.env").write_text("A=1\n")
    (tmp_path / "some.yaml").write_text("version: 1\n")
    ended = Ended(
        "cli_probe:app",
        "--app-dir",
        str(APPS),
        "--port",
        "0",
        *options,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    line = ended.line()
    assert f"needs the package {package}" in line
    assert "pip install 'overdrive[standard]'" in line
    assert ended.code == USAGE


def test_several_workers_need_an_import_string(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import overdrive\n\n\nasync def app(scope, receive, send): ...\n\n\n"
        "if __name__ == '__main__':\n    overdrive.run(app, workers=2)\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "import string" in done.stderr
