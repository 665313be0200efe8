"""From Python: `overdrive.run`, `Config` and `Server` in a program of one's own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import fastapi
import httpx
import pytest

import overdrive
from overdrive import Config, Server, StartupError
from tests.conftest import APPS

# For what must come; a test that waits so long has failed.
PATIENCE = 15.0

label: contextvars.ContextVar[str] = contextvars.ContextVar("label", default="unset")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        body = label.get().encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


def config(application: Any = app, **options: Any) -> Config:
    return Config(application, **{"port": 0, "log_config": None, "lifespan": "off", **options})


def address(server: Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"http://{host}:{port}"


async def get(server: Server) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        return (await client.get(address(server))).text


class WatchedServer(Server):
    """Says when it serves: to threads, and to its own loop."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()
        self.ready = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.serving.set()
        self.ready.set()


@contextlib.asynccontextmanager
async def running(
    server: WatchedServer, sockets: list[socket.socket] | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """A server beside the test on one loop, stopped at the end."""
    task = asyncio.create_task(server.serve(sockets))
    ready = asyncio.create_task(server.ready.wait())
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
        assert server.started, "it ended at once"
        try:
            yield task
        finally:
            server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await task
    assert not server.started


@contextlib.contextmanager
def in_thread(server: WatchedServer) -> Iterator[threading.Thread]:
    """A server in a thread with a loop of its own, stopped at the end."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.serving.wait(PATIENCE)
        yield thread
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_serve_runs_in_a_loop_that_runs_already() -> None:
    async def main() -> None:
        server = WatchedServer(config())
        async with running(server):
            assert await get(server) == "unset"

    asyncio.run(main())


def test_requests_see_the_context_in_which_serve_was_called() -> None:
    async def main() -> None:
        label.set("set before")
        server = WatchedServer(config())
        async with running(server):
            label.set("set later, elsewhere")
            assert await get(server) == "set before"

    asyncio.run(main())


def test_with_reset_contextvars_requests_see_an_empty_context() -> None:
    async def main() -> None:
        label.set("set before")
        server = WatchedServer(config(reset_contextvars=True))
        async with running(server):
            assert await get(server) == "unset"

    asyncio.run(main())


def test_port_zero_is_told_by_config_and_sockets() -> None:
    async def main() -> None:
        server = WatchedServer(config())
        async with running(server):
            assert server.config.port == server.sockets[0].getsockname()[1] != 0

    asyncio.run(main())


def test_bound_sockets_are_served_and_closed_at_the_end() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))

    async def main() -> None:
        server = WatchedServer(config())
        async with running(server, [sock]):
            assert await get(server) == "unset"

    asyncio.run(main())
    assert sock.fileno() == -1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_should_exit_from_another_thread_acts_at_once(loop: str) -> None:
    server = WatchedServer(config(loop=loop))
    with in_thread(server) as thread:
        assert httpx.get(address(server), trust_env=False).text == "unset"
        # Nothing else wakes the loop: if the flag were only looked at on occasion, this would not end.
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert not server.started


def test_force_exit_from_another_thread_leaves_requests_behind() -> None:
    running = threading.Event()

    async def never(scope: Any, receive: Any, send: Any) -> None:
        running.set()
        await asyncio.Event().wait()

    server = WatchedServer(config(never))
    with in_thread(server) as thread, socket.create_connection(("127.0.0.1", server.config.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert running.wait(PATIENCE)
        server.should_exit = True
        server.force_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_server_that_is_told_to_stop_before_it_starts_does_both() -> None:
    server = WatchedServer(config())
    server.should_exit = True
    asyncio.run(asyncio.wait_for(server.serve(), PATIENCE))
    assert server.serving.is_set()


def test_one_config_serves_several_times() -> None:
    shared = config()
    for _ in range(2):
        server = WatchedServer(shared)
        with in_thread(server):
            assert httpx.get(address(server), trust_env=False).text == "unset"


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs Linux's list of descriptors")
def test_servers_of_a_compiled_application_leave_nothing_behind() -> None:
    application = fastapi.FastAPI()

    async def main() -> None:
        server = WatchedServer(config(application))
        async with running(server):
            assert "Not Found" in await get(server)

    descriptors = []
    for _ in range(4):
        asyncio.run(main())
        gc.collect()
        descriptors.append(len(os.listdir("/proc/self/fd")))
    assert descriptors[1] == descriptors[3], "the first one may load libraries"


def test_serving_ends_when_its_task_is_cancelled() -> None:
    async def main() -> None:
        server = WatchedServer(config())
        async with running(server) as task:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.config.port)

    asyncio.run(main())


def test_an_application_that_cannot_be_imported_raises_in_serve() -> None:
    with pytest.raises(StartupError, match='No module "not_there"'):
        asyncio.run(Server(config("not_there:app")).serve())


def test_signals_reach_the_programs_own_handlers_afterwards() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:

        async def main() -> None:
            server = WatchedServer(config())
            async with running(server) as task:
                os.kill(os.getpid(), signal.SIGTERM)
                await task
                assert server.should_exit

        asyncio.run(main())
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_subclass_may_leave_signals_alone() -> None:
    class Unsignalled(WatchedServer):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    async def main() -> None:
        async with running(Unsignalled(config())):
            assert signal.getsignal(signal.SIGTERM) is before

    before = signal.getsignal(signal.SIGTERM)
    asyncio.run(main())


def run_program(tmp_path: Path, text: str) -> subprocess.Popen[str]:
    """A program of the user's, with `cli_app` to be imported."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(text))
    environment = {**os.environ, "PYTHONPATH": str(APPS), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(program)],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def port_of(process: subprocess.Popen[str]) -> int:
    """The port in the line that says where it runs."""
    assert process.stdout is not None
    for line in process.stdout:
        if "running on http://127.0.0.1:" in line:
            return int(line.split("127.0.0.1:")[1].split()[0])
    raise AssertionError("it ended without serving")


@pytest.mark.parametrize("options", ["", ", workers=2", ", reload=True"])
def test_run_serves_an_import_string(tmp_path: Path, options: str) -> None:
    text = f"""
        import overdrive
        if __name__ == "__main__":
            overdrive.run("cli_app:app", port=0{options})
    """
    with run_program(tmp_path, text) as process:
        assert httpx.get(f"http://127.0.0.1:{port_of(process)}/", trust_env=False, timeout=PATIENCE).json() == "ok"
        process.terminate()


def test_run_serves_an_application_object_and_sigint_ends_it_quietly(tmp_path: Path) -> None:
    text = """
        import overdrive
        from cli_app import app
        overdrive.run(app, port=0)
        print("after run")
    """
    with run_program(tmp_path, text) as process:
        assert httpx.get(f"http://127.0.0.1:{port_of(process)}/", trust_env=False).json() == "ok"
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        rest = process.stdout.read()
    assert rest.endswith("after run\n")
    assert "Traceback" not in rest
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        (
            "overdrive.run(app, workers=2)",
            3,
            "Reloading and several workers need the application as an import string, as other processes import it: "
            'run("main:app", ...).',
        ),
        (
            "overdrive.run(app, reload=True)",
            3,
            "Reloading and several workers need the application as an import string, as other processes import it: "
            'run("main:app", ...).',
        ),
        ("overdrive.run(app, port=70000)", 2, "--port 70000: must be a whole number from 0 to 65535."),
        ("overdrive.run('cli_app:nothing', log_config=None)", 1, 'No attribute "nothing" in "cli_app".'),
    ],
)
def test_run_tells_why_it_cannot_in_one_line(tmp_path: Path, call: str, code: int, said: str) -> None:
    with run_program(tmp_path, f"import overdrive\nfrom cli_app import app\n{call}\n") as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert process.returncode == code
    assert len(lines) == 1
    assert lines[0].startswith(f"ERROR:    {said}")


def test_what_users_need_is_exported() -> None:
    assert set(overdrive.__all__) == {
        "Config",
        "ConfigError",
        "EventLoopBlocked",
        "Server",
        "StartupError",
        "__version__",
        "compile",
        "run",
        "uncompiled",
    }
    for name in overdrive.__all__:
        assert getattr(overdrive, name) is not None


BUSY_IN_A_DAEMON = """
import threading, urllib.request
import fastapi
from overdrive import Config, Server

app = fastapi.FastAPI()
busy = threading.Event()

def work():
    busy.set()
    while True:
        pass

@app.get("/async")
async def on_the_loop():
    work()

@app.get("/def")
def on_a_thread():
    work()

@app.get("/stock", response_class=fastapi.responses.StreamingResponse)
async def through_asgi(request: fastapi.Request):
    await request.body()
    work()

server = Server(Config(app, port=0, log_config=None, compile=%r, watch=%r))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    pass
url = "http://127.0.0.1:%%d%s" %% server.sockets[0].getsockname()[1]
threading.Thread(target=urllib.request.urlopen, args=(url,), daemon=True).start()
busy.wait()
print("ends", flush=True)
"""


@pytest.mark.parametrize(
    ("path", "compile_mode", "watch"), [("/async", "auto", "on"), ("/def", "auto", "off"), ("/stock", "off", "on")]
)
def test_a_process_ends_though_a_daemon_thread_of_its_own_serves(path: str, compile_mode: str, watch: str) -> None:
    program = BUSY_IN_A_DAEMON % (compile_mode, watch, path)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=2 * PATIENCE)
    assert (ended.stdout, ended.returncode) == ("ends\n", 0), ended.stderr
