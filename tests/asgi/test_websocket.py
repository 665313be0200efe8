"""The WebSocket half of ASGI 3, to the letter, with a real client and, where that is too well-behaved, with bytes."""

from __future__ import annotations

import ast
import json
import os
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.asgi.test_http import event, get
from tests.conftest import Serve, Served
from tests.http.wire import Wire

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Served:
    return serve_once("asgi_probe:app", "--loop", request.param)


def client(server: Served, path: str, **options: Any) -> ClientConnection:
    connection: ClientConnection = connect(f"{server.ws_url}{path}", **options)
    return connection


@contextmanager
def raw(server: Served, path: str, headers: dict[str, str] | None = None) -> Iterator[Wire]:
    """An open WebSocket as bytes."""
    with Wire(server) as wire:
        fields = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        wire.request(path, headers={**fields, "sec-websocket-key": KEY, **(headers or {})})
        response = wire.response()
        assert (response.status, response.header("sec-websocket-accept")) == (101, ACCEPT)
        yield wire


def frame(opcode: int, payload: bytes = b"", fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    head = bytes([fin << 7 | reserved << 4 | opcode])
    size, bit = len(payload), masked << 7
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def read_frame(wire: Wire) -> tuple[int, bytes]:
    first, size = wire.exactly(2)
    if size == 126:
        (size,) = struct.unpack("!H", wire.exactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", wire.exactly(8))
    return first & 0x0F, wire.exactly(size)


def close_code(wire: Wire) -> int:
    """Reads up to the close frame, and gives its code."""
    while True:
        opcode, payload = read_frame(wire)
        if opcode == 8:
            return int.from_bytes(payload[:2], "big")


def test_the_scope_has_every_key_with_its_value(server: Served) -> None:
    with client(server, "/scope?a=b", subprotocols=["one", "two"]) as ws:
        scope = ast.literal_eval(str(ws.recv()))
    headers, (host, port) = scope.pop("headers"), scope.pop("client")
    assert (host, type(port)) == ("127.0.0.1", int)
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/scope",
        "raw_path": b"/scope",
        "query_string": b"a=b",
        "root_path": "",
        "server": ("127.0.0.1", server.port),
        "subprotocols": ["one", "two"],
        "state": ["plain", "shared"],
        "extensions": {"websocket.http.response": {}},
    }
    assert (b"upgrade", b"websocket") in headers


def test_text_and_binary_messages_of_all_sizes_are_echoed(server: Served) -> None:
    with client(server, "/echo", max_size=None) as ws:
        for size in (0, 1, 125, 126, 127, 65535, 65536, 1_000_000):
            ws.send("é" * size)
            assert ws.recv() == "é" * size
            ws.send(bytes(size))
            assert ws.recv() == bytes(size)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_are_compressed_when_both_sides_can(server: Served, compression: str | None) -> None:
    with client(server, "/echo", compression=compression) as ws:
        agreed = ws.response.headers.get("sec-websocket-extensions", "") if ws.response else ""
        assert agreed.startswith("permessage-deflate") == (compression == "deflate")
        for message in ("x" * 10_000, "abc" * 5_000, os.urandom(20_000), "short"):
            ws.send(message)
            assert ws.recv() == message


def test_compression_can_be_turned_off(serve: Serve) -> None:
    server = serve("asgi_probe:app", "--ws-per-message-deflate", "false")
    with client(server, "/echo") as ws:
        assert ws.response is not None
        assert "sec-websocket-extensions" not in ws.response.headers


def test_accept_sends_subprotocol_and_headers_and_close_its_code_and_reason(server: Served) -> None:
    with client(server, "/accept", subprotocols=["one", "two"]) as ws:
        assert ws.response is not None
        assert (ws.subprotocol, ws.response.headers["x-extra"]) == ("two", "1")
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")
    assert event(server, "after close") == "after close 4001"
    server.wait_for(r'127\.0\.0\.1:\d+ - "WebSocket /accept" \[accepted\]')


def test_a_close_before_the_accept_is_403(server: Served) -> None:
    with pytest.raises(InvalidStatus) as refused:
        client(server, "/reject")
    assert refused.value.response.status_code == 403
    server.wait_for(r'"WebSocket /reject" 403')


@pytest.mark.parametrize("query", ["", "?slowly"])
def test_a_denial_is_an_ordinary_response(server: Served, query: str) -> None:
    with pytest.raises(InvalidStatus) as denied:
        client(server, f"/deny{query}")
    response = denied.value.response
    assert (response.status_code, response.headers["x-why"], response.body) == (402, "no ticket", b"pay first")
    assert event(server, "denied") == "denied websocket.disconnect"


@pytest.mark.parametrize("outcome", ["return", "raise"])
def test_an_application_that_does_not_decide_gives_500(server: Served, outcome: str) -> None:
    with pytest.raises(InvalidStatus) as failed:
        client(server, f"/{outcome}")
    assert failed.value.response.status_code == 500
    server.wait_for("ASGI callable returned without sending handshake" if outcome == "return" else "in the websocket")


@pytest.mark.parametrize(("outcome", "code"), [("return", 1000), ("raise", 1011)])
def test_an_application_that_ends_closes_its_websocket(server: Served, outcome: str, code: int) -> None:
    with client(server, f"/{outcome}?accepted") as ws:
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "away"), (3000, ""), (4999, "ü" * 60)])
def test_the_clients_close_code_and_reason_reach_the_application(server: Served, code: int, reason: str) -> None:
    with client(server, "/echo") as ws:
        ws.close(code, reason)
    assert event(server, f"disconnect {code}") == f"disconnect {code} {reason!r}"


def test_a_close_without_a_code_is_1005_and_a_broken_connection_1006(server: Served) -> None:
    with raw(server, "/echo") as wire:
        wire.send(frame(8))
        assert read_frame(wire) == (8, b"")
        assert wire.is_closed()
    assert event(server, "disconnect 1005") == "disconnect 1005 ''"
    with raw(server, "/echo") as wire:
        wire.sock.close()
    assert event(server, "disconnect 1006") == "disconnect 1006 ''"


def test_a_client_that_leaves_before_the_decision_is_told(server: Served) -> None:
    wire = Wire(server)
    headers = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": KEY}
    wire.request("/never", headers=headers)
    wire.sock.close()
    assert event(server, "undecided") == "undecided 1006"


def test_fragments_are_joined_and_control_frames_come_between(server: Served) -> None:
    with raw(server, "/echo") as wire:
        wire.send(frame(1, b"Hel", fin=False) + frame(9, b"ping") + frame(0, b"l", fin=False) + frame(0, b"o"))
        assert read_frame(wire) == (10, b"ping")
        assert read_frame(wire) == (1, b"Hello")


def test_a_frame_in_single_bytes_is_understood(server: Served) -> None:
    with raw(server, "/echo") as wire:
        for byte in frame(2, b"slowly"):
            wire.send(bytes([byte]))
        assert read_frame(wire) == (2, b"slowly")


def handshake(path: str, version: str = "1.1", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "host: a", "connection: keep-alive, Upgrade", "upgrade: WebSocket"]
    return "\r\n".join([*lines, "sec-websocket-version: 13", f"sec-websocket-key: {KEY}", "", ""]).encode()


def test_frames_that_come_with_the_handshake_are_not_lost(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(handshake("/echo") + frame(1, b"one") + frame(1, b"two"))
        assert wire.response().status == 101
        assert [read_frame(wire) for _ in range(2)] == [(1, b"one"), (1, b"two")]


def test_frames_that_come_before_the_accept_wait_for_it(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(handshake("/late") + frame(1, b"early"))
        assert get_ok(server, "/listen")
        assert wire.response().status == 101
        assert read_frame(wire) == (1, b"early")


def test_a_post_is_an_ordinary_request_whatever_it_asks_to_be(server: Served) -> None:
    """RFC 6455 section 4.1: the method of a handshake is GET."""
    with Wire(server) as wire:
        wire.send(handshake("/scope", method="POST"))
        response = wire.response()
        assert (response.status, ast.literal_eval(response.body.decode())["type"]) == (200, "http")


def test_a_handshake_over_http_1_0_is_refused(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(handshake("/echo", version="1.0"))
        assert wire.response().status == 400


def test_a_client_that_leaves_ends_what_is_sent_to_it(server: Served) -> None:
    with raw(server, "/pour") as wire:
        wire.exactly(1_000_000)
        wire.reset()
    assert event(server, "poured") == "poured ClientDisconnected: the client has disconnected"


def test_an_answer_to_a_client_that_has_left_is_not_logged_as_an_error(serve: Serve) -> None:
    """As under uvicorn: it is nobody's fault, and an application need not catch it."""
    server = serve("asgi_probe:app")
    with raw(server, "/answer") as wire:
        wire.send(frame(1, b"question") + frame(8, b"\x03\xe8"))
        assert close_code(wire) == 1000
        assert wire.is_closed()
    assert get_ok(server, "/listen")
    assert event(server, "answering")
    server.stop()
    assert "Traceback" not in server.log


VIOLATIONS = [
    ("unmasked", frame(1, b"x", masked=False), 1002),
    ("reserved bit", frame(1, b"x", reserved=2), 1002),
    ("unknown opcode", frame(3, b"x"), 1002),
    ("fragmented ping", frame(9, b"x", fin=False), 1002),
    ("long ping", frame(9, b"x" * 126), 1002),
    ("continuation of nothing", frame(0, b"x"), 1002),
    ("text within a text", frame(1, b"x", fin=False) + frame(1, b"y"), 1002),
    ("close of one byte", frame(8, b"x"), 1002),
    ("close with a code that is none", frame(8, b"\x03\xed"), 1002),
    ("text that is not UTF-8", frame(1, b"\xff"), 1007),
    ("close reason that is not UTF-8", frame(8, b"\x03\xe8\xff"), 1007),
    ("too long", frame(2, bytes(16_777_217)), 1009),
]


@pytest.mark.parametrize(
    ("name", "sent", "code"), VIOLATIONS, ids=[name.replace(" ", "-") for name, _, _ in VIOLATIONS]
)
def test_violations_of_the_protocol_close_with_their_code(server: Served, name: str, sent: bytes, code: int) -> None:
    with raw(server, "/echo") as wire:
        # An error: closed before all was sent.
        with suppress(ConnectionError):
            wire.send(sent)
        assert close_code(wire) == code
        assert wire.is_closed()
    assert event(server, f"disconnect {code}")


def test_the_size_limit_counts_what_is_inflated(serve: Serve) -> None:
    server = serve("asgi_probe:app", "--ws-max-size", "1000")
    with client(server, "/echo") as ws:
        ws.send("x" * 1000)
        assert ws.recv() == "x" * 1000
        ws.send("x" * 1001)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_pings_keep_a_connection_and_their_absence_ends_it(serve: Serve) -> None:
    server = serve("asgi_probe:app", "--ws-ping-interval", "0.1", "--ws-ping-timeout", "0.2")
    with raw(server, "/echo") as wire:
        for _ in range(5):
            opcode, payload = read_frame(wire)
            assert opcode == 9
            wire.send(frame(10, payload))
        wire.send(frame(1, b"alive"))
        while (received := read_frame(wire))[0] == 9:
            wire.send(frame(10, received[1]))
        assert received == (1, b"alive")
        assert close_code(wire) == 1011
    assert event(server, "disconnect 1011") == "disconnect 1011 'keepalive ping timeout'"


def test_no_pings_when_they_are_turned_off(serve: Serve) -> None:
    server = serve("asgi_probe:app", "--ws-ping-interval", "0")
    with raw(server, "/echo") as wire:
        wire.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            read_frame(wire)


def test_messages_out_of_order_raise_in_the_application(server: Served) -> None:
    with client(server, "/out-of-order") as ws:
        outcomes = json.loads(ws.recv())
    assert event(server, "handshake alive")
    expected = {
        "send before accept": "RuntimeError: Expected ASGI message 'websocket.accept', 'websocket.close' or",
        "http": "RuntimeError: Expected ASGI message 'websocket.accept', 'websocket.close' or",
        "no subprotocol": "ValueError: not a subprotocol",
        "accept twice": "RuntimeError: Expected ASGI message 'websocket.send' or 'websocket.close', but got",
        "nothing": "ValueError: 'websocket.send' needs 'bytes' or 'text'",
        "both": "ValueError: 'websocket.send' takes either",
        "text no str": "TypeError: 'text' of 'websocket.send' must be str",
        "bad code": "ValueError: 1005 is not a close code",
    }
    assert outcomes.pop("accept") is None
    assert outcomes.keys() == expected.keys()
    for name, beginning in expected.items():
        assert outcomes[name].startswith(beginning), (name, outcomes[name])
    assert "Unexpected ASGI message 'websocket.send'" in event(server, "after close: ")


def test_sending_to_a_client_that_has_left_raises_oserror(server: Served) -> None:
    wire_context = raw(server, "/send-to-gone")
    with wire_context as wire:
        wire.sock.close()
    assert event(server, "gone 1006") == "gone 1006: ClientDisconnected: the client has disconnected"


def test_a_slow_reader_suspends_send(server: Served) -> None:
    with raw(server, "/flood") as wire:
        read_frame(wire)
        last = ""
        for _ in range(2000):
            now = event(server, "flooded")
            if now == last:
                break
            last = now
        assert last != "flooded 1999", "what waits is bounded"
        for _ in range(1999):
            assert len(read_frame(wire)[1]) == 65536
        assert close_code(wire) == 1000


def test_an_application_that_does_not_receive_stops_the_client(serve: Serve) -> None:
    server = serve("asgi_probe:app", "--ws-max-queue", "4")
    with raw(server, "/deaf") as wire:
        wire.sock.settimeout(0.5)
        message = frame(2, bytes(60_000))
        messages = 0
        pending = b""
        with pytest.raises(TimeoutError):
            while messages < 2000:
                if not pending:
                    pending = message
                    messages += 1
                pending = pending[wire.sock.send(pending) :]
        assert messages * len(message) < 32 << 20
        assert get_ok(server, "/listen")
        wire.sock.settimeout(15)
        wire.send(pending + frame(1, b"last"))
        opcode, payload = read_frame(wire)
        assert opcode == 1
        assert int(payload) == messages + 1, "not one message is lost"


def get_ok(server: Served, path: str) -> bool:
    with Wire(server) as wire:
        return wire.get(path).status == 200


def test_a_cancelled_receive_loses_no_message(server: Served) -> None:
    with client(server, "/cancelled") as ws:
        for number in range(50):
            ws.send(str(number))
        assert json.loads(ws.recv()) == [str(number) for number in range(50)]


def test_a_stop_closes_websockets_with_1012(serve: Serve) -> None:
    server = serve("asgi_probe:app")
    with client(server, "/echo") as ws:
        ws.send("hello")
        assert ws.recv() == "hello"
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    server.wait()
    assert "Traceback" not in server.log


def test_a_stop_is_told_to_the_application(serve: Serve) -> None:
    server = serve("asgi_probe:app")
    with raw(server, "/told") as wire:
        server.signal(signal.SIGTERM)
        assert close_code(wire) == 1012
    server.wait()
    server.wait_for("told websocket.disconnect 1012")


def test_a_stop_cancels_an_application_that_does_not_listen(serve: Serve) -> None:
    server = serve("asgi_probe:app", "--timeout-graceful-shutdown", "0.2")
    with raw(server, "/stubborn") as wire:
        server.signal(signal.SIGTERM)
        assert close_code(wire) == 1012
        server.wait()
    server.wait_for("cancelled at last")


BAD_HANDSHAKES = [
    ("no version", {"sec-websocket-version": None}, 426),
    ("version 12", {"sec-websocket-version": "12"}, 426),
    ("no key", {"sec-websocket-key": None}, 400),
    ("short key", {"sec-websocket-key": "c2hvcnQ="}, 400),
    ("no base64", {"sec-websocket-key": "!" * 24}, 400),
]


@pytest.mark.parametrize(("name", "change", "status"), BAD_HANDSHAKES, ids=[row[0] for row in BAD_HANDSHAKES])
def test_invalid_handshakes_are_refused(server: Served, name: str, change: dict[str, str | None], status: int) -> None:
    fields = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": KEY}
    headers = {key: value for key, value in {**fields, **change}.items() if value is not None}
    with Wire(server) as wire:
        response = wire.get("/echo", headers)
        assert response.status == status
        if status == 426:
            assert response.header("sec-websocket-version") == "13"
        assert get(server, "/events") is not None
