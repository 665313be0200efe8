"""The command: its options, the environment, where it listens and what it serves."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from overdrive.cli import Option, main
from overdrive.config import ELSEWHERE, Config
from tests.conftest import APPS, COMMAND, Serve, Served


def command(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    environment = {**os.environ, **(env or {})}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, env=environment)


def get(served: Served, path: str = "/", **options: Any) -> httpx.Response:
    return httpx.get(served.url + path, trust_env=False, timeout=10, **options)


def ask(served: Served, path: str, **options: Any) -> Any:
    response = get(served, path, **options)
    assert response.status_code == 200
    return response.json()


# What uvicorn 0.54 has, beside the options of `ELSEWHERE`.
# fmt: off
UVICORNS_OPTIONS = {
    "--host", "--port", "--uds", "--fd", "--reload", "--no-access-log", "--reload-dir", "--reload-include",
    "--reload-exclude", "--reload-delay", "--workers", "--loop", "--ws-max-size", "--ws-max-queue",
    "--ws-ping-interval", "--ws-ping-timeout", "--ws-per-message-deflate", "--lifespan", "--interface",
    "--env-file", "--log-config", "--log-level", "--access-log", "--use-colors", "--no-use-colors",
    "--proxy-headers", "--no-proxy-headers", "--server-header", "--no-server-header", "--date-header",
    "--no-date-header", "--forwarded-allow-ips", "--root-path", "--limit-concurrency", "--backlog",
    "--limit-max-requests", "--limit-max-requests-jitter", "--timeout-keep-alive", "--timeout-graceful-shutdown",
    "--timeout-worker-healthcheck", "--header", "--version", "--app-dir", "--reset-contextvars", "--factory",
}
# fmt: on


def test_every_option_of_uvicorn_is_there() -> None:
    ours = {flag for option in main.params for flag in (*option.opts, *option.secondary_opts)}
    assert ours >= UVICORNS_OPTIONS


def test_the_command_and_python_have_the_same_options_and_defaults() -> None:
    fields = {entry.name: entry for entry in dataclasses.fields(Config) if entry.init}
    options = {option.name: option for option in main.params if isinstance(option, Option) and option.name != "version"}
    assert set(options) == set(fields) - {"app"}
    differ = {"log_config", "app_dir", "reload_dirs", "reload_includes", "reload_excludes", "headers"}
    given = {**main.make_context("overdrive", ["main:app"], resilient_parsing=True).params}
    for name in set(options) - differ:
        assert given[name] == fields[name].default, name


def test_every_option_has_a_help_text() -> None:
    shown = command("--help").stdout
    for option in main.params:
        if isinstance(option, Option):
            assert option.opts[0] in shown
            assert option.help, option.opts
    assert "[default: 8000]" in shown


def test_version_names_overdrive_and_python() -> None:
    done = command("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"Running overdrive \d+\.\d+\.\d+\S* with CPython 3\.\d+\.\d+\S* on \w+\n", done.stdout)


def test_the_installed_script_is_the_same_command() -> None:
    script = Path(sys.executable).with_name("overdrive")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=30)
    assert done.stdout == command("--version").stdout


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_option_of_uvicorn_that_means_nothing_here_says_what_to_do(name: str) -> None:
    flag = "--" + name.replace("_", "-")
    done = command("cli_app:app", flag, *([] if name == "http2" else ["1"]))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"Error: There is no option {flag} here: {ELSEWHERE[name]}."


def test_options_come_from_the_environment(serve: Serve) -> None:
    env = {
        "OVERDRIVE_ROOT_PATH": "/from-environment",
        "OVERDRIVE_SERVER_HEADER": "false",
        "OVERDRIVE_LOOP": "asyncio",
        "OVERDRIVE_HEADER": "X-One: 1\nX-Two: two words",
    }
    served = serve("cli_app:app", env=env)
    response = get(served, "/scope")
    assert response.json()["root_path"] == "/from-environment"
    assert "server" not in response.headers
    assert (response.headers["x-one"], response.headers["x-two"]) == ("1", "two words")
    assert ask(served, "/process")["loop"].startswith("asyncio")


def test_an_option_wins_over_the_environment(serve: Serve) -> None:
    served = serve("cli_app:app", "--root-path", "/option", env={"OVERDRIVE_ROOT_PATH": "/environment"})
    assert ask(served, "/scope")["root_path"] == "/option"


def test_the_application_may_be_named_in_the_environment(serve: Serve) -> None:
    environment = {**os.environ, "OVERDRIVE_APP": "cli_app:app", "OVERDRIVE_APP_DIR": str(APPS), "OVERDRIVE_PORT": "0"}
    with subprocess.Popen(COMMAND, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("Overdrive running on" in line for line in process.stderr)
        process.terminate()


def test_host_and_port_are_those_asked_for(serve: Serve) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = serve("cli_app:app", "--port", str(port))
    assert served.port == port
    assert ask(served, "/scope")["server"] == ["127.0.0.1", port]


def test_ipv6_addresses_are_served_and_logged_in_brackets(serve: Serve) -> None:
    served = serve("cli_app:app", "--host", "::1")
    assert f"running on http://[::1]:{served.port} " in served.log
    assert httpx.get(f"http://[::1]:{served.port}/scope", trust_env=False).json()["server"] == ["::1", served.port]


def test_a_host_name_is_served_on_each_of_its_addresses(serve: Serve) -> None:
    addresses = {entry[4][0] for entry in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    served = serve("cli_app:app", "--host", "localhost")
    for address in addresses:
        host = f"[{address}]" if ":" in address else address
        assert httpx.get(f"http://{host}:{served.port}/", trust_env=False).json() == "ok"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_unix_socket_is_open_to_all_and_removed_at_the_end(serve: Serve, tmp_path: Path, workers: str) -> None:
    path = tmp_path / "server.sock"
    served = serve("cli_app:app", "--uds", str(path), "--workers", workers)
    assert f"running on unix socket {path} " in served.log
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://any/").json() == "ok"
    served.stop()
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced_and_its_mode_kept(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    path.chmod(0o600)
    serve("cli_app:app", "--uds", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://any/").json() == "ok"


def test_a_unix_socket_that_another_server_has_taken_over_is_left_to_it(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    first = serve("cli_app:app", "--uds", str(path))
    serve("cli_app:app", "--uds", str(path))
    first.stop()
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://any/").json() == "ok"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_descriptor_is_taken_over(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        arguments = ["cli_app:app", "--app-dir", str(APPS), "--fd", str(fd), "--workers", workers]
        process = subprocess.Popen([*COMMAND, *arguments], pass_fds=[fd], stderr=subprocess.PIPE, text=True)
        with process:
            # It listens already, so what is asked now is answered once the server is there.
            port = listening.getsockname()[1]
            assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=20).json() == "ok"
            process.terminate()
            assert process.stderr is not None
            assert f"running on socket ('127.0.0.1', {port}) " in process.stderr.read()


@pytest.mark.parametrize(
    ("attribute", "body"),
    [
        ("function", "asgi 3.0"),
        ("instance", "asgi 3.0"),
        ("wrapped", "asgi 3.0"),
        ("nested.inner.app", "asgi 3.0"),
        ("Asgi2", "asgi 2.0"),
    ],
)
def test_the_interface_is_found_out(serve: Serve, attribute: str, body: str) -> None:
    assert get(serve(f"cli_interfaces:{attribute}")).text == body


def test_wsgi_is_served_through_a2wsgi(serve: Serve) -> None:
    assert get(serve("cli_interfaces:wsgi", "--interface", "wsgi"), "/path").text == "wsgi /path"


def test_a_factory_is_called(serve: Serve) -> None:
    served = serve("cli_interfaces:create", "--factory")
    assert get(served).text == "asgi 3.0"
    assert "factory detected" not in served.log


def test_a_factory_is_recognized_with_a_warning(serve: Serve) -> None:
    served = serve("cli_interfaces:create")
    assert get(served).text == "asgi 3.0"
    assert served.log.count("WARNING:  ASGI app factory detected.") == 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_loop_is_the_one_asked_for(serve: Serve, loop: str) -> None:
    assert ask(serve("cli_app:app", "--loop", loop), "/process")["loop"].partition(".")[0] == loop


def test_auto_takes_uvloop(serve: Serve) -> None:
    assert ask(serve("cli_app:app"), "/process")["loop"] == "uvloop"


def test_a_loop_factory_of_the_users_is_called(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "loops_of_mine.py").write_text(
        "import asyncio\nfrom cli_app import app\nclass Loop(asyncio.SelectorEventLoop): pass\n"
    )
    served = serve("cli_app:app", "--loop", "loops_of_mine:Loop", env={"PYTHONPATH": str(tmp_path)})
    assert ask(served, "/process")["loop"] == "loops_of_mine"


def test_an_env_file_is_read(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("CLI_GREETING='hello there'\nCLI_KEPT=file\n")
    served = serve("cli_app:app", "--env-file", str(file), env={"CLI_KEPT": "environment"})
    environment = ask(served, "/process")["environment"]
    assert environment["CLI_GREETING"] == "hello there"
    assert environment["CLI_KEPT"] == "environment"
    assert f"INFO:     Loading environment from '{file}'" in served.log


def test_the_app_dir_comes_first_on_the_path(serve: Serve) -> None:
    assert ask(serve("cli_app:app"), "/process")["path"] == str(APPS)


def test_headers_are_added_and_taken_away(serve: Serve) -> None:
    plain = get(serve("cli_app:app")).headers
    assert plain["server"] == "overdrive"
    assert "date" in plain
    options = ["--header", "X-Kept: a: b", "--header", "Server:mine", "--no-date-header"]
    changed = get(serve("cli_app:app", *options)).headers
    assert changed["x-kept"] == "a: b"
    assert changed["server"] == "mine"
    assert "date" not in changed
    assert "server" not in get(serve("cli_app:app", "--no-server-header")).headers


@pytest.mark.parametrize(
    ("options", "env", "client"),
    [
        ([], {}, "203.0.113.9"),
        (["--no-proxy-headers"], {}, "127.0.0.1"),
        (["--forwarded-allow-ips", "192.0.2.1, 127.0.0.0/8"], {}, "203.0.113.9"),
        (["--forwarded-allow-ips", "192.0.2.1"], {}, "127.0.0.1"),
        ([], {"FORWARDED_ALLOW_IPS": "192.0.2.1"}, "127.0.0.1"),
        (["--forwarded-allow-ips", "*"], {"FORWARDED_ALLOW_IPS": "192.0.2.1"}, "203.0.113.9"),
    ],
)
def test_trusted_proxies_name_the_client(serve: Serve, options: list[str], env: dict[str, str], client: str) -> None:
    served = serve("cli_app:app", *options, env=env)
    assert ask(served, "/scope", headers={"X-Forwarded-For": "203.0.113.9"})["client"][0] == client


def test_the_process_ends_well_after_the_greatest_number_of_requests(serve: Serve) -> None:
    served = serve("cli_app:app", "--limit-max-requests", "3")
    with httpx.Client(base_url=served.url, trust_env=False) as client:
        assert [client.get("/").json() for _ in range(3)] == ["ok"] * 3
    assert served.wait() == 0
    assert "Maximum request limit of 3 exceeded. Terminating process." in served.log
    assert "application stops" in served.log


def test_lifespan_state_reaches_requests_but_its_context_does_not(serve: Serve) -> None:
    served = serve("cli_app:app")
    assert ask(served, "/scope")["state"] == {"opened": served.process.pid}
    assert ask(served, "/process")["context"] == "nothing"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_a_signal_ends_the_process_as_uvicorn_does(serve: Serve, loop: str, number: signal.Signals, code: int) -> None:
    served = serve("cli_app:app", "--loop", loop)
    get(served)
    served.signal(number)
    assert served.wait() == code
    assert served.log.index("Shutting down") < served.log.index("application stops")
    assert served.log.splitlines()[-1] == f"INFO:     Finished server process [{served.process.pid}]"


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def held_request(served: Served, fifo: Path) -> socket.socket:
    """A request that runs until something is written to the FIFO."""
    client = served.connect()
    client.sendall(f"GET /hold?{fifo} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    served.wait_for("holding")
    return client


def read_all(client: socket.socket) -> bytes:
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received


def test_a_running_request_is_finished_before_the_process_ends(serve: Serve, fifo: Path) -> None:
    served = serve("cli_app:app")
    with held_request(served, fifo) as client:
        served.signal(signal.SIGTERM)
        served.wait_for("Waiting for connections to close")
        fifo.write_bytes(b"go")
        assert read_all(client).endswith(json.dumps("held").encode())
    assert served.wait() == -signal.SIGTERM
    assert "application stops" in served.log


def test_a_request_that_outlasts_the_grace_period_is_cancelled(serve: Serve, fifo: Path) -> None:
    served = serve("cli_app:app", "--timeout-graceful-shutdown", "0.2")
    with held_request(served, fifo):
        served.signal(signal.SIGTERM)
        assert served.wait() == -signal.SIGTERM
    assert "ERROR:    Cancel 1 running task(s), timeout graceful shutdown exceeded" in served.log
    assert "cancelled: Task cancelled, timeout graceful shutdown exceeded" in served.log
    assert "application stops" in served.log


def test_a_second_sigint_waits_for_nothing(serve: Serve, fifo: Path) -> None:
    served = serve("cli_app:app")
    with held_request(served, fifo):
        served.signal(signal.SIGINT)
        served.wait_for("Waiting for connections to close")
        served.signal(signal.SIGINT)
        served.wait()
    assert "application stops" not in served.log
    assert "Traceback" not in served.log


def test_the_documentation_names_every_option_with_its_default() -> None:
    page = (Path(__file__).parent.parent / "docs" / "options.md").read_text()
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.replace(r"\|", "/").split("|")]
        for flag in re.findall(r"--[a-z0-9-]+", cells[1]) if len(cells) > 4 else ():
            rows[flag] = cells[3]
    for option in main.params:
        if not isinstance(option, Option) or option.is_eager:
            continue
        for flag in (*option.opts, *option.secondary_opts):
            assert flag in rows
        default = rows[option.opts[0]].strip("`").split()[0] if rows[option.opts[0]] else ""
        if isinstance(option.default, bool):
            assert default in (("on", "true") if option.default else ("off",)), option.opts
        elif option.show_default:
            assert default in (str(option.default), f"{option.default:g}" if option.type.name == "float" else ""), (
                option.opts
            )
