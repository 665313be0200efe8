"""Requests and responses as RFC 9112 frames them: keep-alive, pipelining, chunks, HEAD, HTTP/1.0, early answers."""

from __future__ import annotations

import ast
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve, Served
from tests.http.wire import Wire


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Served:
    return serve_once("http_plain:app", "--loop", request.param)


def seen(server: Served, key: str) -> Any:
    with Wire(server) as wire:
        return json.loads(wire.get("/seen").body)[key]


def go(server: Served, gate: str) -> None:
    """Lets the request go on that waits at `gate`."""
    with Wire(server) as wire:
        assert wire.get(f"/go?{gate}").status == 200


def eventually(condition: Callable[[], bool]) -> None:
    """Waits until `condition` holds, at most 20 s; each look is a request of its own, which is what paces it."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"


def test_a_connection_serves_one_request_after_the_other(server: Served) -> None:
    with Wire(server) as wire:
        for _ in range(5):
            assert wire.get().body == b"ok"
        assert wire.get("/echo").body == b""


def test_connection_close_is_honoured(server: Served) -> None:
    with Wire(server) as wire:
        response = wire.get("/", {"connection": "close"})
        assert response.header("connection") == "close"
        assert wire.is_closed()


def test_pipelined_requests_answer_in_order(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(
            b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n"
            b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
            b"GET /chunks HTTP/1.1\r\nhost: a\r\n\r\n"
            b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n"
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
        )
        bodies = [wire.response().body for _ in range(3)]
        assert bodies == [b"slow", b"hello", b"chunk 0;chunk 1;chunk 2;"]
        assert wire.response(head_only=True).header("content-length") == "2"
        assert wire.response().body == b"ok"


def test_a_hundred_pipelined_requests_answer(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 100)
        assert [wire.response().body for _ in range(100)] == [b"ok"] * 100


def test_chunked_bodies_arrive_whole_however_they_are_cut(server: Served) -> None:
    body = b"5\r\nhello\r\n7;name=value\r\n, world\r\n0\r\nx-trailer: y\r\n\r\n"
    head = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    with Wire(server) as wire:
        for step in (1, 2, 3, 7, len(body)):
            wire.send(head)
            for start in range(0, len(body), step):
                wire.send(body[start : start + step])
            assert wire.response().body == b"hello, world"


def test_a_response_without_a_length_is_chunked(server: Served) -> None:
    with Wire(server) as wire:
        response = wire.get("/chunks")
        assert response.header("transfer-encoding") == "chunked"
        assert response.header("content-length") is None
        assert response.body == b"chunk 0;chunk 1;chunk 2;"


def test_large_bodies_go_both_ways(server: Served) -> None:
    body = bytes(range(256)) * 40_000
    with Wire(server, timeout=60) as wire:
        sender = threading.Thread(target=wire.request, args=("/echo", "POST", None, body))
        sender.start()
        assert wire.response().body == body
        sender.join()
        assert wire.get().body == b"ok"


def test_continue_is_sent_once_the_application_reads(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert wire.response().status == 100
        wire.send(b"hi")
        assert wire.response().body == b"hi"
        assert wire.get().body == b"ok"


def test_no_continue_for_a_body_that_is_not_wanted(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(b"POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert wire.response().status == 403


def test_an_early_answer_is_seen_and_the_rest_of_the_body_dropped(server: Served) -> None:
    with Wire(server, timeout=60) as wire:
        wire.request("/refuse", "POST", body=b"x" * 8_000_000)
        response = wire.response()
        assert (response.status, response.body) == (403, b"no")
        assert wire.get().body == b"ok"


def test_an_endless_unwanted_body_is_given_up(server: Served) -> None:
    with Wire(server, timeout=60) as wire:
        wire.send(b"POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000000\r\n\r\n")
        assert wire.response().status == 403
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 1 << 30:
                wire.send(b"x" * 1_000_000)
                sent += 1_000_000
        assert sent < 1 << 30


def test_head_has_the_head_of_a_get_and_no_body(server: Served) -> None:
    with Wire(server) as wire:
        wire.request("/", "HEAD")
        response = wire.response(head_only=True)
        assert (response.status, response.header("content-length")) == (200, "2")
        wire.request("/chunks", "HEAD")
        assert wire.response(head_only=True).status == 200
        assert wire.get().body == b"ok"


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_have_none(server: Served, status: int) -> None:
    with Wire(server) as wire:
        response = wire.get(f"/status?{status}")
        assert (response.status, response.body) == (status, b"")
        assert response.header("transfer-encoding") is None
        assert wire.get().body == b"ok"


@pytest.mark.parametrize("status", [200, 299, 404, 418, 500, 599, 999])
def test_any_final_status_is_passed_on(server: Served, status: int) -> None:
    with Wire(server) as wire:
        response = wire.get(f"/status?{status}")
        assert (response.status, response.body) == (status, b"a body")


def test_http_1_0_closes_unless_asked_not_to(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert wire.response().body == b"ok"
        assert wire.is_closed()
    with Wire(server) as wire:
        for _ in range(2):
            wire.send(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            response = wire.response()
            assert (response.body, response.header("connection")) == (b"ok", "keep-alive")


def test_http_1_0_gets_no_chunks(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(b"GET /chunks HTTP/1.0\r\n\r\n")
        response = wire.response()
        assert response.header("transfer-encoding") is None
        assert response.body == b"chunk 0;chunk 1;chunk 2;"


def test_absolute_form_and_asterisk_targets(server: Served) -> None:
    with Wire(server) as wire:
        scope = wire_scope(wire, b"GET http://other:81/scope?a=b HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/scope", b"/scope", b"a=b")
        wire.send(b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n")
        assert wire.response().status == 200


def wire_scope(wire: Wire, request: bytes) -> dict[str, object]:
    wire.send(request)
    scope = ast.literal_eval(wire.response().body.decode())
    assert isinstance(scope, dict)
    return scope


def test_a_client_that_leaves_is_noticed(server: Served) -> None:
    before = seen(server, "disconnected")
    wire = Wire(server)
    wire.request("/until-disconnect")
    wire.sock.close()
    eventually(lambda: seen(server, "disconnected") == before + 1)


def test_a_client_that_resets_in_the_middle_of_a_body_is_noticed(server: Served) -> None:
    before = seen(server, "disconnected")
    wire = Wire(server)
    wire.send(b"POST /count HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nhalf")
    eventually(lambda: seen(server, "read") == 4)
    wire.reset()
    eventually(lambda: seen(server, "disconnected") == before + 1)


def test_a_client_that_closes_in_the_middle_of_a_body_is_noticed(server: Served) -> None:
    before = seen(server, "disconnected")
    with Wire(server) as wire:
        wire.send(b"POST /count HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        wire.half_close()
        eventually(lambda: seen(server, "disconnected") == before + 1)


def test_a_half_closed_client_gets_its_answer(server: Served) -> None:
    with Wire(server) as wire:
        wire.request("/slow")
        wire.half_close()
        assert wire.response().body == b"slow"
        assert wire.is_closed()
    with Wire(server) as wire:
        wire.request("/echo", "POST", body=b"x" * 100_000)
        wire.half_close()
        assert wire.response().body == b"x" * 100_000


def test_a_slow_reader_suspends_send(server: Served) -> None:
    before = seen(server, "disconnected")
    with Wire(server) as wire:
        wire.request("/endless")
        wire.until(b"\r\n\r\n")
        # What the application could send is bounded by the buffers between it and us, however long it tries.
        eventually(lambda: (accepted := seen(server, "accepted")) > 0 and accepted == seen(server, "accepted"))
        last = seen(server, "accepted")
        assert last < 64 << 20
        wire.exactly(last + 1_000_000)
        assert seen(server, "accepted") > last
    eventually(lambda: seen(server, "disconnected") == before + 1)


def test_an_application_that_does_not_read_stops_the_client(server: Served) -> None:
    size = 100_000_000
    with Wire(server, timeout=60) as wire:
        wire.send(b"POST /unread?later HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size)
        wire.sock.settimeout(0.3)
        block = memoryview(bytes(1 << 20))
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < size:
                sent += wire.sock.send(block[: size - sent])
        assert sent < 64 << 20, "the socket's buffers take some, the server's memory does not"
        go(server, "later")
        wire.sock.settimeout(60)
        while sent < size:
            sent += wire.sock.send(block[: size - sent])
        assert wire.response().body == b"%d" % size


def test_early_hints_come_before_the_answer(server: Served) -> None:
    with Wire(server) as wire:
        for _ in range(2):
            hint = wire.get("/hints")
            assert hint.status == 103
            assert hint.headers == [("link", "</a.css>; rel=preload"), ("link", "</b.js>; rel=preload")]
            assert wire.response().body == b"hinted"
        wire.send(b"GET /hints HTTP/1.0\r\n\r\n")
        assert wire.response().status == 200, "RFC 9110 section 15.2: none for HTTP/1.0"


def test_trailers_go_to_a_client_that_takes_them(server: Served) -> None:
    with Wire(server) as wire:
        response = wire.get("/trailers", {"te": "trailers"})
        assert (response.body, response.trailers) == (b"body", [("x-sum", "1"), ("x-more", "2")])
        response = wire.get("/trailers")
        assert (response.body, response.trailers) == (b"body", []), "RFC 9110 section 6.5.1: not without being asked"


def test_the_end_of_a_body_is_told_to_all_who_wait_for_it(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(b"POST /two-readers HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
        time.sleep(0.2)  # until both wait: nothing else tells
        wire.send(b"hello")
        response = wire.response()
    assert ast.literal_eval(response.body.decode()) == [(b"hello", False), (b"", False)]


@pytest.mark.parametrize("size", [0, 1, 255, 262_143, 262_144, 262_145, 5_000_000])
def test_a_file_goes_out_by_pathsend(server: Served, tmp_path: Path, size: int) -> None:
    content = bytes(place * 7 % 256 for place in range(size % 1000)) + b"z" * (size - size % 1000)
    file = tmp_path / "file.bin"
    file.write_bytes(content)
    with Wire(server) as wire:
        assert wire.get(f"/pathsend?{file}").body == content
        wire.request(f"/pathsend?{file}", "HEAD")
        assert wire.response(head_only=True).status == 200
        assert wire.get().body == b"ok"


def test_a_relative_path_is_taken_from_where_the_server_was_started(server: Served, tmp_path: Path) -> None:
    # As Starlette sends what its FileResponse was given.
    file = tmp_path / "file.bin"
    file.write_bytes(b"content")
    with Wire(server) as wire:
        assert wire.get(f"/pathsend?{os.path.relpath(file)}").body == b"content"


def test_pathsend_errors_are_raised_in_the_application(server: Served, tmp_path: Path) -> None:
    with Wire(server) as wire:
        assert wire.get(f"/pathsend?{tmp_path}/none").body.startswith(b"FileNotFoundError")
        assert wire.get("/pathsend?relative").body.startswith(b"FileNotFoundError")
        assert wire.get(f"/pathsend?{tmp_path}").body.startswith(b"ValueError")


def test_a_file_that_is_shorter_than_was_announced_is_an_error(server: Served, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 99)
    with Wire(server) as wire:
        assert wire.get(f"/pathsend-announced?{file}").status == 500
        server.wait_for("Response content shorter than Content-Length")
    file.write_bytes(b"x" * 100)
    with Wire(server) as wire:
        assert wire.get(f"/pathsend-announced?{file}").body == b"x" * 100


def test_default_headers(serve: Serve) -> None:
    with Wire(serve("http_plain:app")) as wire:
        response = wire.get()
        assert response.header("server") == "overdrive"
        assert parsedate_to_datetime(response.header("date") or "").utcoffset() == timedelta(0)
    options = ("--no-server-header", "--no-date-header", "--header", "X-One: 1", "--header", "X-Two:2")
    with Wire(serve("http_plain:app", *options)) as wire:
        response = wire.get()
        assert (response.header("server"), response.header("date")) == (None, None)
        assert (response.header("x-one"), response.header("x-two")) == ("1", "2")
    with Wire(serve("http_plain:app", "--header", "Server: mine")) as wire:
        assert [value for name, value in wire.get().headers if name == "server"] == ["mine"]
