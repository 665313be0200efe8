"""Targets, prefixes and addresses, as scopes have them (asgiref's `www.rst`, "HTTP Connection Scope")."""

from __future__ import annotations

import ast
import socket
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect, unix_connect

from tests.conftest import Serve, Served
from tests.http.wire import Wire


@pytest.fixture(scope="module")
def server(serve_once: Serve) -> Served:
    return serve_once("asgi_mirror:app")


def scope_of(server: Served, head: bytes) -> dict[str, Any]:
    with Wire(server) as wire:
        wire.send(head + b"\r\n\r\n")
        response = wire.response()
        assert response.status == 200, response
        found = ast.literal_eval(response.body.decode())
        assert isinstance(found, dict)
        return found


TARGETS = [
    # target, path, raw_path, query_string
    (b"/", "/", b"/", b""),
    (b"/a?", "/a", b"/a", b""),
    (b"/a?b?c", "/a", b"/a", b"b?c"),
    (b"/a?b=%20+c&d", "/a", b"/a", b"b=%20+c&d"),
    (b"//a//b/", "//a//b/", b"//a//b/", b""),
    (b"/a/./b/../c", "/a/./b/../c", b"/a/./b/../c", b""),
    (b"/a%2Fb", "/a/b", b"/a%2Fb", b""),
    (b"/a%3Fb", "/a?b", b"/a%3Fb", b""),
    (b"/caf%C3%A9", "/café", b"/caf%C3%A9", b""),
    (b"/%F0%9F%9A%80", "/\N{ROCKET}", b"/%F0%9F%9A%80", b""),
    (b"/%ff", "/\N{REPLACEMENT CHARACTER}", b"/%ff", b""),
    (b"/%C3", "/\N{REPLACEMENT CHARACTER}", b"/%C3", b""),
    (b"/%ED%A0%80", "/" + "\N{REPLACEMENT CHARACTER}" * 3, b"/%ED%A0%80", b""),
    (b"/%00", "/\0", b"/%00", b""),
    (b"/%zz%", "/%zz%", b"/%zz%", b""),
    (b"/%2", "/%2", b"/%2", b""),
    (b"/%2525", "/%25", b"/%2525", b""),
    (b"/a+b", "/a+b", b"/a+b", b""),
    (b"/a;b=c,d:@!$&'()*", "/a;b=c,d:@!$&'()*", b"/a;b=c,d:@!$&'()*", b""),
    (b'/a{b}|c^d"', '/a{b}|c^d"', b'/a{b}|c^d"', b""),
    (b"/a?[b]|{c}^d`", "/a", b"/a", b"[b]|{c}^d`"),
    (b"/a#b", "/a", b"/a", b""),
    (b"http://other/a%20b?c", "/a b", b"/a%20b", b"c"),
    (b"http://user@other:81/a", "/a", b"/a", b""),
]


@pytest.mark.parametrize(("target", "path", "raw_path", "query"), TARGETS, ids=[repr(row[0])[2:-1] for row in TARGETS])
def test_the_path_is_decoded_and_the_raw_path_and_the_query_are_not(
    server: Served, target: bytes, path: str, raw_path: bytes, query: bytes
) -> None:
    scope = scope_of(server, b"GET " + target + b" HTTP/1.1\r\nHost: a")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


def test_an_absolute_target_decides_neither_the_scheme_nor_the_server(server: Served) -> None:
    scope = scope_of(server, b"GET https://other:81/ HTTP/1.1\r\nHost: a")
    assert (scope["scheme"], scope["server"]) == ("http", ("127.0.0.1", server.port))
    assert scope["headers"] == [(b"host", b"a")]


@pytest.mark.parametrize("method", ["GET", "get", "PATCH", "M-SEARCH", "X!#$%&'*+-.^_`|~9"])
def test_a_method_is_given_in_upper_case(server: Served, method: str) -> None:
    assert scope_of(server, f"{method} / HTTP/1.1\r\nHost: a".encode())["method"] == method.upper()


def test_header_values_are_bytes_without_the_space_around_them(server: Served) -> None:
    scope = scope_of(
        server,
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A:  \t one two \t\r\nX_B:\r\nX-C: \xc3\xa9\xff\r\nCookie: a\r\nCookie: b",
    )
    assert scope["headers"] == [
        (b"host", b"a"),
        (b"x-a", b"one two"),
        (b"x_b", b""),
        (b"x-c", b"\xc3\xa9\xff"),
        (b"cookie", b"a"),
        (b"cookie", b"b"),
    ]


def test_what_an_application_changes_in_a_scope_is_not_in_the_next(server: Served) -> None:
    for _ in range(2):
        assert "changed" not in repr(scope_of(server, b"GET / HTTP/1.1\r\nHost: a"))


@pytest.mark.parametrize("target", ["/a%20b?c", "/api/x"])
def test_a_root_path_stands_before_path_and_raw_path(serve: Serve, target: str) -> None:
    """ASGI: `path` contains `root_path`, as since 2024 uvicorn has it."""
    server = serve("asgi_mirror:app", "--root-path", "/api")
    scope = scope_of(server, f"GET {target} HTTP/1.1\r\nHost: a".encode())
    raw = target.partition("?")[0]
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == (
        "/api",
        "/api" + raw.replace("%20", " "),
        b"/api" + raw.encode(),
    )
    with connect(f"{server.ws_url}{target}") as ws:
        scope = ast.literal_eval(str(ws.recv()))
    assert (scope["root_path"], scope["raw_path"]) == ("/api", b"/api" + raw.encode())


def test_over_a_unix_socket_there_is_no_client_address(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    serve("asgi_mirror:app", "--uds", str(path))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(15)
        sock.connect(str(path))
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while data := sock.recv(65536):
            answer += data
    scope = ast.literal_eval(answer.partition(b"\r\n\r\n")[2].decode())
    assert (scope["client"], scope["server"]) == (None, (str(path), None))
    with unix_connect(str(path)) as ws:
        scope = ast.literal_eval(str(ws.recv()))
    assert (scope["client"], scope["server"]) == (None, (str(path), None))


def test_over_ipv6_addresses_are_pairs(serve: Serve) -> None:
    server = serve("asgi_mirror:app", "--host", "::1")
    server.host = "::1"
    with Wire(server) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n")
        scope = ast.literal_eval(wire.response().body.decode())
        assert scope["client"] == ("::1", wire.sock.getsockname()[1])
    assert scope["server"] == ("::1", server.port)
