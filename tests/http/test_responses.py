"""What the application sends, as it goes over the wire: framing, headers, and the messages that are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Serve, Served
from tests.http.test_messages import go, seen
from tests.http.wire import Wire

Message = dict[str, Any]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Iterator[Served]:
    served = serve_once("http_plain:app", "--loop", request.param)
    yield served
    assert "panicked" not in served.log
    assert "internal error" not in served.log


def test_a_part_of_a_stream_is_sent_before_the_next_one_is_known(server: Served) -> None:
    with Wire(server) as wire:
        wire.request("/stream?second")
        assert wire.until(b"first\r\n").endswith(b"\r\n\r\n5\r\nfirst\r\n")
        go(server, "second")
        assert wire.rest_of_chunks() == b"second"
        assert wire.get().body == b"ok", "an empty part has not ended the response"


def test_a_response_starts_with_its_first_part(server: Served) -> None:
    """ASGI: a server must not start to send before it has a body message. Until then an error can still be told."""
    with Wire(server) as wire:
        assert wire.get("/raise-started").status == 500
    with Wire(server) as wire:
        wire.request("/late-body?part")
        go(server, "part")
        response = wire.response()
        assert (response.status, response.body) == (201, b"late")


@pytest.mark.parametrize("status", [204, 304])
def test_an_announced_length_does_not_count_for_a_status_without_body(server: Served, status: int) -> None:
    with Wire(server) as wire:
        response = wire.get(f"/declared?{status}")
        assert (response.status, response.body) == (status, b"")
        assert wire.get().body == b"ok"
    assert "shorter than Content-Length" not in server.log


def test_the_length_of_a_head_is_that_of_the_body_that_is_not_sent(server: Served) -> None:
    """As file responses answer a HEAD: a length, and an empty body."""
    with Wire(server) as wire:
        wire.request("/declared", "HEAD")
        assert wire.response(head_only=True).header("content-length") == "5"
        assert wire.get().body == b"ok"
    assert "shorter than Content-Length" not in server.log


def test_headers_keep_their_values_and_the_order_of_repetitions(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(b"GET /answer?Set-Cookie=a&X-Empty=&set-cookie=b&x-latin=\xc3\xa9 HTTP/1.1\r\nhost: a\r\n\r\n")
        response = wire.response()
    assert [value for name, value in response.headers if name == "set-cookie"] == ["a", "b"]
    assert response.header("x-empty") == ""
    assert b"\xc3\xa9\r\n" in response.raw


@pytest.mark.parametrize("name", ["date", "server"])
def test_a_header_of_the_application_replaces_the_servers(server: Served, name: str) -> None:
    with Wire(server) as wire:
        headers = wire.get(f"/answer?{name.title()}=mine").headers
    assert [value for key, value in headers if key == name] == ["mine"]


def test_the_application_can_close_the_connection(server: Served) -> None:
    with Wire(server) as wire:
        response = wire.get("/answer?Connection=close")
        assert (response.header("connection"), response.body) == ("close", b"ok")
        assert wire.is_closed()


def test_chunks_that_the_application_announces_are_made_once(server: Served) -> None:
    with Wire(server) as wire:
        response = wire.get("/answer?Transfer-Encoding=chunked")
        assert [value for name, value in response.headers if name == "transfer-encoding"] == ["chunked"]
        assert response.body == b"ok"
        assert wire.get().body == b"ok"


def test_a_length_given_twice_is_sent_once(server: Served) -> None:
    with Wire(server) as wire:
        response = wire.get("/answer?content-length=2&content-length=2")
        assert [value for name, value in response.headers if name == "content-length"] == ["2"]
        assert response.body == b"ok"


@pytest.mark.parametrize("shape", ["2000&1", "1&1000000"])
def test_many_and_long_headers_of_a_response_are_sent(server: Served, shape: str) -> None:
    count, length = map(int, shape.split("&"))
    with Wire(server) as wire:
        values = [value for name, value in wire.get(f"/large-headers?{shape}").headers if name.startswith("x-")]
        assert values == ["y" * length] * count
        assert wire.get().body == b"ok"


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": "b"}
HINT: Message = {"type": "http.response.early_hint", "links": ["</a>"]}
TRAILERS: Message = {"type": "http.response.trailers", "headers": [["x-t", "1"]]}
FILE: Message = {"type": "http.response.pathsend", "path": __file__}
UNEXPECTED = "RuntimeError: Unexpected ASGI message"
OK = None

# Messages, and what sending each comes to: None, or how the exception begins.
ATTEMPTS: dict[str, list[tuple[Message, str | None]]] = {
    "early hint after the start": [(START, OK), (HINT, "RuntimeError: Expected"), (BODY, OK)],
    "early hint with a newline": [({**HINT, "links": ["a\r\nb: c"]}, "ValueError"), (START, OK), (BODY, OK)],
    "early hint without links": [({"type": HINT["type"]}, "KeyError: 'links'"), (START, OK), (BODY, OK)],
    "trailers first": [(TRAILERS, "RuntimeError: Expected"), (START, OK), (BODY, OK)],
    "trailers that were not announced": [(START, OK), (BODY, OK), (TRAILERS, UNEXPECTED)],
    "trailers before the body's end": [
        ({**START, "trailers": True}, OK),
        ({**BODY, "more_body": True}, OK),
        (TRAILERS, "RuntimeError: Expected"),
        (BODY, OK),
        (TRAILERS, OK),
    ],
    "trailers with a newline": [
        ({**START, "trailers": True}, OK),
        (BODY, OK),
        ({**TRAILERS, "headers": [["x-t", "1\r\nx-u: 2"]]}, "ValueError"),
        (TRAILERS, OK),
        (TRAILERS, UNEXPECTED),
    ],
    "file first": [(FILE, "RuntimeError: Expected"), (START, OK), (BODY, OK)],
    "file after a part": [
        (START, OK),
        ({**BODY, "more_body": True}, OK),
        (FILE, "RuntimeError: Expected"),
        (BODY, OK),
    ],
    "body after a file": [(START, OK), (FILE, OK), (BODY, UNEXPECTED)],
    "empty header name": [({**START, "headers": [["", "v"]]}, "ValueError"), (START, OK), (BODY, OK)],
    "NUL in a header": [({**START, "headers": [["a", "v\0"]]}, "ValueError"), (START, OK), (BODY, OK)],
    "length with a plus": [({**START, "headers": [["content-length", "+1"]]}, "ValueError"), (START, OK), (BODY, OK)],
    "list of lengths": [({**START, "headers": [["content-length", "1, 1"]]}, "ValueError"), (START, OK), (BODY, OK)],
    "two different lengths": [
        ({**START, "headers": [["content-length", "1"], ["content-length", "2"]]}, "ValueError"),
        (START, OK),
        (BODY, OK),
    ],
    "more parts after the end": [(START, OK), (BODY, OK), (BODY, UNEXPECTED), (START, UNEXPECTED)],
}


@pytest.mark.parametrize("name", ATTEMPTS, ids=lambda name: name.replace(" ", "-"))
def test_a_refused_message_raises_and_a_right_one_still_answers(server: Served, name: str) -> None:
    messages, expected = zip(*ATTEMPTS[name], strict=True)
    with Wire(server) as wire:
        wire.request("/try", "POST", {"te": "trailers"}, json.dumps(messages).encode())
        response = wire.response()
        assert response.status == 200
        assert response.trailers in ([], [("x-t", "1")])
        assert wire.get().body == b"ok"
    outcomes = seen(server, "outcomes")
    assert len(outcomes) == len(expected)
    for outcome, beginning in zip(outcomes, expected, strict=True):
        assert outcome == beginning or outcome.startswith(beginning), outcomes


def test_a_length_and_an_encoding_are_not_both_sent(server: Served) -> None:
    """RFC 9112 section 6.2: a sender must not send a length with an encoding."""
    with Wire(server) as wire:
        response = wire.get("/answer?content-length=2&transfer-encoding=chunked")
    assert response.status in (200, 500)
    if response.status == 200:
        assert response.body == b"ok"
        assert [name for name, _ in response.headers if name in ("content-length", "transfer-encoding")] == [
            "transfer-encoding"
        ]


def test_another_encoding_does_not_end_up_in_the_connection_header(server: Served) -> None:
    with Wire(server) as wire:
        response = wire.get("/answer?transfer-encoding=gzip", {"connection": "close"})
        assert response.header("connection") == "close"
