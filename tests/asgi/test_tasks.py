"""Requests are ordinary asyncio tasks: for the loop, for debuggers, for the collector, for threads, for exceptions."""

from __future__ import annotations

import ast
import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import COMMAND, Serve, Served
from tests.http.test_messages import eventually
from tests.http.wire import Wire


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Iterator[Served]:
    served = serve_once("asgi_tasks:app", "--loop", request.param)
    yield served
    assert "panicked" not in served.log
    assert "internal error" not in served.log


def text(server: Served, target: str) -> str:
    with Wire(server) as wire:
        response = wire.get(target)
        assert response.status == 200, response
        return response.body.decode()


def events(server: Served) -> Any:
    return json.loads(text(server, "/events"))


def test_a_debugger_sees_where_a_request_waits(server: Served) -> None:
    with Wire(server) as wire:
        before = events(server).count("waiting")
        wire.request("/wait?debugger")
        eventually(lambda: events(server).count("waiting") == before + 1)
        seen = json.loads(text(server, "/stack"))
        text(server, "/go?debugger")
        assert wire.response().status == 200
    assert 'asgi_tasks.py", line' in seen.pop("stack")
    assert seen.pop("repr").startswith("<Task pending")
    assert seen == {"code": "app", "frame": "app", "awaits": True, "running": False, "is_coroutine": True}


def test_the_collector_spares_a_request_that_nobody_else_refers_to(server: Served) -> None:
    with Wire(server) as wire:
        before = events(server).count("lonely")
        wire.request("/lonely")
        eventually(lambda: events(server).count("lonely") == before + 1)
        assert text(server, "/collect") == "1"
        assert wire.response().body == b"found"


def test_a_context_does_not_pass_to_the_request_that_it_wakes(server: Served) -> None:
    with Wire(server) as wire:
        before = events(server).count("waiting")
        # The second request begins in the step in which the first one ends.
        wire.send(b"GET /wait?woken HTTP/1.1\r\nhost: a\r\n\r\nGET /context?x HTTP/1.1\r\nhost: a\r\n\r\n")
        eventually(lambda: events(server).count("waiting") == before + 1)
        text(server, "/go?woken")
        assert [wire.response().body for _ in range(2)] == [b"unset", b"unset"]


def test_a_context_does_not_pass_to_the_next_pipelined_request(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(b"".join(b"GET /context?%d HTTP/1.1\r\nhost: a\r\n\r\n" % number for number in range(50)))
        assert [wire.response().body for _ in range(50)] == [b"unset"] * 50


def test_a_request_goes_on_after_it_has_answered(server: Served) -> None:
    before = events(server).count("background done")
    with Wire(server) as wire:
        assert wire.get("/background?later").body == b"ok"
        assert events(server).count("background done") == before
        text(server, "/go?later")
        eventually(lambda: events(server).count("background done") == before + 1)


def test_requests_woken_by_threads_are_answered(server: Served) -> None:
    """Wake-ups from outside the engine, many at once, while the descriptor may be silent."""
    failures: list[bytes] = []

    def client() -> None:
        with Wire(server, timeout=60) as wire:
            for _ in range(10):
                body = wire.get("/thread").body
                if body != b"part;part;part;":
                    failures.append(body)

    clients = [threading.Thread(target=client) for _ in range(16)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert failures == []


def test_receive_and_send_may_be_called_in_a_thread_and_awaited_on_the_loop(server: Served) -> None:
    """`run_coroutine_threadsafe(receive(), loop)`, the way WSGI adapters read a body."""
    body = b"x" * 500_000
    with Wire(server) as wire:
        wire.request("/foreign-receive", "POST", body=body)
        assert wire.response().body == body


def test_a_given_up_send_leaves_the_response_whole(server: Served) -> None:
    with Wire(server) as wire:
        before = len(events(server))
        wire.request("/impatient")
        wire.until(b"\r\n\r\n")
        eventually(lambda: any(event.startswith("given up") for event in events(server)[before:]))
        body = wire.rest_of_chunks()
        assert "given up 5" in events(server)[before:], "it has waited for us"
    assert body.endswith(b"end")
    parts = [body[start : start + 65_536] for start in range(0, len(body) - 3, 65_536)]
    numbers = [int(part[:4]) for part in parts]
    assert parts == [b"%04d" % number * 16_384 for number in numbers], "no part is cut"
    assert numbers == sorted(set(numbers)), "no part is sent twice"


def test_what_an_await_ends_with_belongs_to_whoever_keeps_it(server: Served) -> None:
    """The engine raises one `StopIteration` again and again, but for those that somebody holds."""
    with Wire(server) as wire:
        wire.request("/by-hand", "POST", body=bytes(range(256)) * 4096)
        assert wire.response().body == b"[True, True, True]"


FAILURES = [
    ("/cancel-self", "CancelledError"),
    ("/cancelled", "CancelledError"),
    ("/group", "ValueError: in a group"),
    ("/unprintable", "Unprintable"),
    ("/stop-iteration", "StopIteration"),
    ("/generator-exit", "GeneratorExit"),
    ("/deep", "RecursionError"),
]


@pytest.mark.parametrize(("path", "line"), FAILURES)
def test_every_kind_of_exception_gives_500_and_is_logged(server: Served, path: str, line: str) -> None:
    with Wire(server) as wire:
        assert wire.get(path).status == 500
    server.wait_for(line)
    assert text(server, "/context?x") == "unset"


@pytest.mark.parametrize("path", ["/raise", "/stop-iteration", "/none", "/number"])
def test_a_callable_that_gives_no_awaitable_gives_500(serve: Serve, path: str) -> None:
    server = serve("asgi_tasks:callable_app")
    with Wire(server) as wire:
        assert wire.get(path).status == 500
    with Wire(server) as wire:
        assert wire.get("/").status == 200
    assert "panicked" not in server.log


@pytest.mark.parametrize("when", ["at-once", "late"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_keyboard_interrupt_in_a_handler_ends_the_server(serve: Serve, when: str, loop: str) -> None:
    server = serve("asgi_tasks:app", "--loop", loop)
    with Wire(server) as wire:
        wire.request(f"/interrupt?{when}")
        server.wait()
    assert "KeyboardInterrupt" in server.log
    assert "panicked" not in server.log


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_loops_debug_mode_finds_nothing(serve: Serve, loop: str) -> None:
    server = serve("asgi_tasks:app", "--loop", loop, env={"PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "always"})
    for target in ("/context?x", "/thread", "/context?y"):
        text(server, target)
    with Wire(server) as wire:
        wire.request("/foreign-receive", "POST", body=b"x" * 100)
        wire.response()
    server.stop()
    for sign in ("Traceback", "never awaited", "Non-thread-safe", "was destroyed but it is pending", "ResourceWarning"):
        assert sign not in server.log, server.log


def test_a_task_factory_that_fails_gives_500(serve: Serve) -> None:
    server = serve("asgi_tasks:app", "--loop", "asyncio", env={"FAILING_FACTORY": "1"})
    for _ in range(2):
        with Wire(server) as wire:
            assert wire.get("/go").status == 500
    server.wait_for("no tasks today")


def python_version() -> tuple[int, ...]:
    """The version of the Python that runs the server."""
    code = "import sys; print(tuple(sys.version_info[:2]))"
    python = COMMAND[: COMMAND.index("-m")]
    found = subprocess.run([*python, "-c", code], check=True, capture_output=True, text=True).stdout
    return tuple(ast.literal_eval(found))


def test_an_eager_task_factory_is_used(serve: Serve) -> None:
    if python_version() < (3, 12):
        pytest.skip("asyncio.eager_task_factory came with Python 3.12")
    # uvloop passes such a factory an argument that the one of some Python releases does not take.
    server = serve("asgi_tasks:app", "--loop", "asyncio", env={"EAGER_TASKS": "1"})
    for target in ("/context?x", "/thread", "/context?y"):
        text(server, target)
    with Wire(server) as wire:
        wire.send(b"GET /context?x HTTP/1.1\r\nhost: a\r\n\r\n" * 20)
        assert [wire.response().body for _ in range(20)] == [b"unset"] * 20
