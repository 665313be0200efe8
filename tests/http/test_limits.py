"""Limits, timeouts, proxies, and the end of a server."""

from __future__ import annotations

import ast
import signal
from typing import Any

import pytest

from tests.conftest import Serve, Served
from tests.http.test_messages import eventually, seen
from tests.http.wire import Wire


def test_an_idle_connection_is_closed_after_the_keep_alive_time(serve: Serve) -> None:
    server = serve("http_plain:app", "--timeout-keep-alive", "0.2")
    with Wire(server) as wire:
        assert wire.get("/slow").body == b"slow"
        assert wire.is_closed()


def test_a_request_longer_than_the_keep_alive_time_is_answered(serve: Serve) -> None:
    server = serve("http_plain:app", "--timeout-keep-alive", "0.01")
    with Wire(server) as wire:
        assert wire.get("/slow").body == b"slow"


def test_beyond_the_concurrency_limit_the_answer_is_503(serve: Serve) -> None:
    server = serve("http_plain:app", "--limit-concurrency", "2")
    with Wire(server) as first, Wire(server) as second:
        assert first.get().status == second.get().status == 200
        with Wire(server) as third:
            response = third.get()
            assert (response.status, response.header("connection")) == (503, "close")
            assert third.is_closed()
        server.wait_for("Exceeded concurrency limit")
        assert first.get().status == 200


def test_beyond_the_connection_limit_clients_wait(serve: Serve) -> None:
    server = serve("http_plain:app", "--limit-connections", "1")
    first = Wire(server)
    assert first.get().status == 200
    with Wire(server) as second:
        second.request()
        second.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            second.response()
        first.sock.close()
        second.sock.settimeout(15)
        assert second.response().status == 200


def test_header_limits(serve: Serve) -> None:
    server = serve("http_plain:app", "--max-headers", "5", "--max-header-size", "1000")
    for headers in ({f"x{n}": "y" for n in range(5)}, {"x": "y" * 1000}):
        with Wire(server) as wire:
            assert wire.get("/", headers).status == 431
            assert wire.is_closed()
    with Wire(server) as wire:
        assert wire.get("/", {f"x{n}": "y" for n in range(4)}).status == 200


def scope(server: Served, headers: dict[str, str]) -> dict[str, Any]:
    with Wire(server) as wire:
        found = ast.literal_eval(wire.get("/scope", headers).body.decode())
        assert isinstance(found, dict)
        return found


FORWARDED = [
    # X-Forwarded-For, --forwarded-allow-ips, the client that the application sees (None: the connection's own)
    ("1.2.3.4", "127.0.0.1", ("1.2.3.4", 0)),
    ("1.2.3.4:567", "127.0.0.1", ("1.2.3.4", 567)),
    ("[2001:db8::1]:567", "127.0.0.1", ("2001:db8::1", 567)),
    ("2001:db8::1", "127.0.0.1", ("2001:db8::1", 0)),
    ("9.9.9.9, 1.2.3.4", "127.0.0.1", ("1.2.3.4", 0)),
    ("9.9.9.9, 1.2.3.4, 10.1.1.1", "127.0.0.1,10.0.0.0/8", ("1.2.3.4", 0)),
    ("10.1.1.2, 10.1.1.1", "127.0.0.1,10.0.0.0/8", ("10.1.1.2", 0)),
    ("9.9.9.9, 1.2.3.4", "*", ("9.9.9.9", 0)),
    ("1.2.3.4", "10.0.0.1", None),
    ("", "127.0.0.1", None),
]


@pytest.mark.parametrize(("header", "trusted", "client"), FORWARDED)
def test_the_client_a_trusted_proxy_names(
    serve: Serve, header: str, trusted: str, client: tuple[str, int] | None
) -> None:
    server = serve("http_plain:app", "--forwarded-allow-ips", trusted)
    found = scope(server, {"x-forwarded-for": header, "x-forwarded-proto": "https"})
    if client is None:
        assert found["client"][0] == "127.0.0.1"
    else:
        assert found["client"] == client
        server.wait_for(rf'{client[0]}:{client[1]} - "GET /scope HTTP/1.1" 200')
    assert found["scheme"] == ("http" if trusted == "10.0.0.1" else "https")


def test_proxy_headers_can_be_turned_off(serve: Serve) -> None:
    server = serve("http_plain:app", "--no-proxy-headers")
    found = scope(server, {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"})
    assert (found["client"][0], found["scheme"]) == ("127.0.0.1", "http")


def test_a_scheme_that_is_none_is_ignored(serve: Serve) -> None:
    assert scope(serve("http_plain:app"), {"x-forwarded-proto": "gopher"})["scheme"] == "http"


def test_root_path(serve: Serve) -> None:
    server = serve("http_plain:app", "--root-path", "/api")
    with Wire(server) as wire:
        # The application's own dispatch sees the full path, as ASGI has it.
        assert wire.get("/scope").body == b"ok"
    server.wait_for('"GET /api/scope HTTP/1.1" 200')


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_stop_lets_running_requests_finish_and_closes_the_rest(serve: Serve, loop: str) -> None:
    server = serve("http_plain:app", "--loop", loop)
    with Wire(server) as idle, Wire(server) as busy, Wire(server) as streaming:
        assert idle.get().status == 200
        busy.request("/slow")
        streaming.request("/wait")
        eventually(lambda: seen(server, "waiting") == 1)
        server.signal(signal.SIGTERM)
        assert idle.is_closed()
        with pytest.raises(ConnectionError):
            Wire(server)
        assert busy.response().body == b"slow"
        assert busy.is_closed()
        server.wait_for("Waiting for connections to close")
        # A second Ctrl+C does not wait for the one that never ends.
        server.signal(signal.SIGINT)
    assert server.wait() in (-signal.SIGTERM, -signal.SIGINT, 0)


def test_a_stop_with_nothing_running_is_quick_and_clean(serve: Serve) -> None:
    server = serve("http_plain:app")
    with Wire(server) as wire:
        assert wire.get().status == 200
        assert server.stop() in (0, -signal.SIGTERM)
        assert wire.is_closed()
    assert "Finished server process" in server.log
    assert "Traceback" not in server.log


def test_a_stop_ends_requests_that_take_too_long(serve: Serve) -> None:
    server = serve("http_plain:app", "--timeout-graceful-shutdown", "0.2")
    with Wire(server) as wire:
        wire.request("/wait")
        eventually(lambda: seen(server, "waiting") == 1)
        server.stop()
        assert "Cancel 1 running task(s), timeout graceful shutdown exceeded" in server.log
        wire.rest()


APP_FAILURES = [
    ("/raise", 500, "ValueError: before the answer"),
    ("/nothing", 500, "ASGI callable returned without starting response"),
]


@pytest.mark.parametrize(("path", "status", "line"), APP_FAILURES)
def test_an_application_that_does_not_answer_gives_500(serve: Serve, path: str, status: int, line: str) -> None:
    server = serve("http_plain:app")
    with Wire(server) as wire:
        response = wire.get(path)
        assert (response.status, response.body) == (status, b"Internal Server Error")
        server.wait_for(line)
        assert wire.is_closed()
    with Wire(server) as wire:
        assert wire.get().status == 200


@pytest.mark.parametrize(
    ("path", "line"),
    [("/raise-late", "after the answer began"), ("/half", "ASGI callable returned without completing response")],
)
def test_an_application_that_breaks_off_closes_the_connection(serve: Serve, path: str, line: str) -> None:
    server = serve("http_plain:app")
    with Wire(server) as wire:
        wire.request(path)
        rest = wire.rest()
        assert b"half" in rest
        assert not rest.endswith(b"0\r\n\r\n"), "the client must see that it is not whole"
        server.wait_for(line)
    with Wire(server) as wire:
        assert wire.get().status == 200
