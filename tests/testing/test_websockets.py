"""WebSocket sessions."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest
from fastapi import Depends, FastAPI, Header, WebSocket, WebSocketException
from starlette.responses import JSONResponse
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from overdrive import testing
from tests.testing.conftest import CLIENTS


class Custom(Exception):
    """Raised by applications."""


def endpoint(function: Any) -> Any:
    """An ASGI application whose only WebSocket `function` handles."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await function(WebSocket(scope, receive, send))

    return app


@endpoint
async def echo(websocket: WebSocket) -> None:
    """Sends back what it receives."""
    await websocket.accept()
    while (message := await websocket.receive())["type"] == "websocket.receive":
        await websocket.send({**message, "type": "websocket.send"})


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1_000_000])
def test_messages_of_every_size_arrive(Client: Any, size: int) -> None:
    with Client(echo).websocket_connect("/") as websocket:
        websocket.send_text("ü" * size)
        assert websocket.receive_text() == "ü" * size
        websocket.send_bytes(b"\xff" * size)
        assert websocket.receive_bytes() == b"\xff" * size


@pytest.mark.parametrize("mode", ["text", "binary"])
def test_json_arrives(Client: Any, mode: Any) -> None:
    with Client(echo).websocket_connect("/") as websocket:
        websocket.send_json({"a": [1, "ü"]}, mode)
        assert websocket.receive_json(mode) == {"a": [1, "ü"]}


def test_messages_are_sent_and_received_as_they_are(Client: Any) -> None:
    with Client(echo).websocket_connect("/") as websocket:
        websocket.send({"type": "websocket.receive", "text": "a"})
        assert websocket.receive() == {"type": "websocket.send", "text": "a"}
        websocket.send({"type": "websocket.receive", "bytes": b"b"})
        assert websocket.receive() == {"type": "websocket.send", "bytes": b"b"}


def test_many_messages_wait_for_each_other(Client: Any) -> None:
    @endpoint
    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        for number in range(2000):
            await websocket.send_text(f"{number}" + "x" * 500)
        assert [await websocket.receive_text() for _ in range(2000)] == [str(number) for number in range(2000)]
        await websocket.close()

    with Client(app).websocket_connect("/") as websocket:
        for number in range(2000):
            websocket.send_text(str(number))
        for number in range(2000):
            assert websocket.receive_text() == f"{number}" + "x" * 500
        with pytest.raises(WebSocketDisconnect):
            websocket.receive_text()


CONNECTIONS: dict[str, dict[str, Any]] = {
    "plain": {"url": "/ws"},
    "query": {"url": "/ws?a=b", "params": {"c": "d"}},
    "escaped path": {"url": "/a%20b/ü"},
    "subprotocols": {"url": "/", "subprotocols": ["one", "two"]},
    "headers": {"url": "/", "headers": {"x-a": "b", "Origin": "http://a"}, "cookies": {"c": "d"}},
    "header with blanks": {"url": "/", "headers": {"x-a": " b "}},
    "handshake of its own": {"url": "/", "headers": {"sec-websocket-key": "mine", "sec-websocket-extensions": "odd"}},
    "absolute": {"url": "wss://example.org:444/ws"},
}


@pytest.mark.filterwarnings("ignore:Setting per-request cookies:DeprecationWarning")
@pytest.mark.parametrize("name", CONNECTIONS)
def test_scope_is_that_of_starlettes_client(name: str) -> None:
    compared = ["type", "scheme", "path", "raw_path", "query_string", "root_path", "headers", "client", "server"]
    scopes = []

    @endpoint
    async def app(websocket: WebSocket) -> None:
        scopes.append({key: websocket.scope[key] for key in [*compared, "subprotocols", "state"]})
        assert "websocket.http.response" in websocket.scope["extensions"]
        await websocket.accept()

    for client_class in CLIENTS.values():
        with client_class(app, root_path="/root").websocket_connect(**CONNECTIONS[name]):
            pass
    stock, ours = scopes
    assert ours == stock


def test_subprotocol_and_headers_of_the_acceptance_are_told(Client: Any) -> None:
    @endpoint
    async def app(websocket: WebSocket) -> None:
        await websocket.accept(websocket.scope["subprotocols"][1], headers=[(b"x-a", b"b")])

    with Client(app).websocket_connect("/", subprotocols=["one", "two"]) as websocket:
        assert websocket.accepted_subprotocol == "two"
        assert websocket.extra_headers == [(b"x-a", b"b")]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "gone"), (3999, "ü"), (4000, None)])
def test_the_applications_close_is_raised(Client: Any, code: int, reason: str | None) -> None:
    @endpoint
    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(code, reason)

    with Client(app).websocket_connect("/") as websocket, pytest.raises(WebSocketDisconnect) as raised:
        websocket.receive_text()
    assert (raised.value.code, raised.value.reason) == (code, reason or "")


@pytest.mark.parametrize(("code", "reason"), [(1000, None), (1001, "gone"), (3001, "ü"), (1005, None), (1006, None)])
def test_the_clients_close_is_received(code: int, reason: str | None) -> None:
    received = []

    @endpoint
    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        message = await websocket.receive()
        received.append((message["type"], message["code"], message.get("reason") or ""))

    with testing.TestClient(app).websocket_connect("/") as websocket:
        websocket.close(code, reason)
    assert received == [("websocket.disconnect", code, reason or "")]


def test_a_refusal_tells_code_and_reason(Client: Any) -> None:
    app = FastAPI()

    @app.websocket("/closed")
    async def closed(websocket: WebSocket) -> None:
        await websocket.close(4001, "no")

    def forbid() -> None:
        raise WebSocketException(1008, "not you")

    @app.websocket("/forbidden", dependencies=[Depends(forbid)])
    async def forbidden(websocket: WebSocket) -> None:
        raise AssertionError("not reached")

    @app.websocket("/invalid")
    async def invalid(websocket: WebSocket, number: int = Header()) -> None:
        raise AssertionError("not reached")

    client = Client(app)
    for path, expected in {
        "/closed": (4001, "no"),
        "/forbidden": (1008, "not you"),
        "/nowhere": (1000, ""),
    }.items():
        with pytest.raises(WebSocketDisconnect) as raised, client.websocket_connect(path):
            raise AssertionError("it was accepted")
        assert (raised.value.code, raised.value.reason) == expected
    with pytest.raises(WebSocketDisconnect) as raised, client.websocket_connect("/invalid"):
        raise AssertionError("it was accepted")
    assert raised.value.code == 1008
    assert "number" in str(raised.value.reason)


def test_a_denial_is_raised_as_a_response(Client: Any) -> None:
    @endpoint
    async def app(websocket: WebSocket) -> None:
        await websocket.send_denial_response(JSONResponse({"detail": "no"}, 451, headers={"x-a": "b"}))

    with pytest.raises(WebSocketDenialResponse) as raised, Client(app).websocket_connect("/"):
        raise AssertionError("it was accepted")
    response = raised.value
    assert (response.status_code, response.json(), response.headers["x-a"]) == (451, {"detail": "no"}, "b")
    assert "transfer-encoding" not in response.headers


@pytest.mark.parametrize("accepts", [True, False])
def test_the_applications_exception_is_raised(Client: Any, accepts: bool) -> None:
    error = Custom("it")

    @endpoint
    async def app(websocket: WebSocket) -> None:
        if accepts:
            await websocket.accept()
        raise error

    with pytest.raises(Custom) as raised, Client(app).websocket_connect("/") as websocket:
        websocket.receive_text()
    assert raised.value is error
    with pytest.raises(Custom), Client(app, raise_server_exceptions=False).websocket_connect("/"):
        pass


def test_an_unhandled_disconnect_is_raised_at_the_end(Client: Any) -> None:
    @endpoint
    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    with pytest.raises(WebSocketDisconnect), Client(app).websocket_connect("/"):
        pass


def test_the_end_of_the_block_ends_the_application(Client: Any) -> None:
    ended = threading.Event()

    @endpoint
    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    with Client(app).websocket_connect("/"):
        pass
    assert ended.is_set()


def test_an_application_that_returns_has_closed() -> None:
    @endpoint
    async def app(websocket: WebSocket) -> None:
        await websocket.accept()

    with testing.TestClient(app).websocket_connect("/") as websocket:
        assert websocket.receive() == {"type": "websocket.close", "code": 1000, "reason": ""}
        # Again, rather than never.
        assert websocket.receive()["type"] == "websocket.close"


def test_an_application_that_does_not_answer_is_told_of() -> None:
    @endpoint
    async def app(websocket: WebSocket) -> None:
        pass

    with (
        pytest.raises(AssertionError, match="neither accepted nor refused"),
        testing.TestClient(app).websocket_connect("/"),
    ):
        pass


@pytest.mark.parametrize("within", [True, False])
def test_websockets_and_requests_of_one_client_reach_each_other(within: bool) -> None:
    app = FastAPI()
    sockets: list[WebSocket] = []

    @app.websocket("/ws")
    async def join(websocket: WebSocket) -> None:
        await websocket.accept()
        sockets.append(websocket)
        await websocket.send_text("joined")
        while True:
            await websocket.receive_text()

    @app.post("/")
    async def broadcast() -> None:
        for websocket in sockets:
            await websocket.send_text("news")

    def run(client: Any) -> None:
        sockets.clear()
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/ws") as one,
            client.websocket_connect("/ws") as two,
        ):
            assert (one.receive_text(), two.receive_text()) == ("joined", "joined")
            client.post("/")
            assert (one.receive_text(), two.receive_text()) == ("news", "news")

    client = testing.TestClient(app)
    if within:
        with client:
            run(client)
    for _ in range(2):
        run(client)
