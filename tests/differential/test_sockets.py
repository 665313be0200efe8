"""WebSocket routes with their dependencies: what a client hears, and what runs in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.differential.pair import Pair, Story
from tests.differential.wire import post

UUID = "123e4567-e89b-12d3-a456-426614174000"
# What docs/differences.md says of connections that the application does not close itself.
ENDED = {1000, 1005, 1006, 1011, 1012}


@dataclass(frozen=True)
class Talk:
    """A connection: what is sent, and what is heard at least.

    `until`: events that may come after the connection's end. `leaves`: the client says goodbye after what it has sent.
    `asked`: what is sent one after the other, each when the application has said `next`.
    """

    path: str
    shows: str
    sends: tuple[str | bytes, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    until: tuple[str, ...] = ()
    leaves: bool = False
    asked: tuple[str | bytes, ...] = ()


EXIT = "exit session CONNECTED"

TALKS: dict[str, Talk] = {
    "echo": Talk("/echo", "'b'", ("a", "b"), leaves=True, until=("left",)),
    "tree": Talk("/tree?q=3", "closed 4001 done", until=("exit session DISCONNECTED",)),
    "tree-invalid": Talk("/tree?q=x", "403", until=("exit session CONNECTING",)),
    "parameters": Talk(
        f"/parameters/5/{UUID}/a/b%20c/?q=1&q=2&w-o=ab",
        "a/b c/",
        headers=(("x-many", "1"), ("x-many", "2"), ("cookie", "c=d")),
    ),
    "parameters-default": Talk(f"/parameters/5/{UUID}/?q=1", "no cookie"),
    "parameters-invalid": Talk("/parameters/x/y/z?q=a&w-o=b", "403"),
    "convertors": Talk("/number/007/1.50", "1.5"),
    "convertors-other": Talk("/number/x/1.50", "403"),
    "convertors-newline": Talk("/number/7/1.5%0A", "1.5"),
    "convertors-many-digits": Talk(f"/number/{'9' * 5000}/1", "50"),
    "model": Talk("/model?limit=5&tags=a&tags=b", '"tags":["a","b"]'),
    "model-forbids": Talk("/model?other=5", "403"),
    "websocket-exception": Talk("/fails/websocket", "closed 4003 no entry", until=(EXIT,)),
    "websocket-exception-before": Talk("/fails/websocket?accept=0", "403"),
    "http-exception-before": Talk("/fails/http?accept=0", "418", until=("exit session CONNECTING",)),
    "http-exception": Talk("/fails/http", "accepted", until=(EXIT,)),
    "handled": Talk("/fails/custom", "closed 4000 custom", until=("handler custom WebSocket CONNECTED",)),
    "handled-before": Talk("/fails/custom?accept=0", "403"),
    "fault": Talk("/fails/value", "session sees ValueError", until=(EXIT,)),
    "fault-before": Talk("/fails/value?accept=0", "500"),
    "group": Talk("/fails/group", "brief sees ExceptionGroup", until=(EXIT,)),
    "disconnect-raised": Talk("/fails/disconnect", "session sees WebSocketDisconnect", until=(EXIT,)),
    "closes": Talk("/fails/close", "closed 4005", until=("exit session DISCONNECTED",)),
    "returns": Talk("/fails/nothing", "accepted", until=(EXIT,)),
    "returns-before-answering": Talk("/fails/nothing?accept=0", "500"),
    "leaves": Talk("/fails/leaves", "session sees WebSocketDisconnect", leaves=True, until=(EXIT,)),
    "swallowed": Talk("/swallowed", "swallows ValueError", until=("swallows ValueError",)),
    "turned": Talk("/turned", "closed 4006 turned", until=("session sees ValueError",)),
    "late": Talk("/late", "closed 4000 late", until=("handler late WebSocket CONNECTED",)),
    "invalid": Talk("/validated?number=x", "403", until=("session sees WebSocketRequestValidationError",)),
    "guarded": Talk("/guarded", "x-token: t", (b"bytes",), (("authorization", "t"),)),
    "guarded-refused": Talk("/guarded", "403"),
    "guarded-wrong-kind": Talk("/guarded", "accepted", ("text",), (("authorization", "t"),)),
    "changed": Talk("/changed/name", "changed added"),
    "odd": Talk("/odd", "[5,null]"),
    "kinds": Talk("/kinds", "4999", ("a", b"b", b"c"), leaves=True, until=("gone",)),
    "own": Talk("/own", "received", ("a",), until=("has sent",)),
    "in-a-task": Talk("/ways/in_a_task", '["a"]', asked=("a",)),
    "as-a-coroutine": Talk("/ways/as_a_coroutine", '[true,true,true,"a"]', asked=("a",)),
    "wrapped": Talk("/ways/wrapped", '["a","b","c"]', asked=("a", "b", "c")),
    "cancelled": Talk("/ways/cancelled", '["timeout","timeout","timeout","timeout",true,"a"]', asked=("a",)),
    "cancelled-from-within": Talk("/ways/cancelled_from_within", '["by itself",1,0,"a"]', asked=("a",)),
    "cancelled-as-it-comes": Talk("/ways/cancelled_as_it_comes", '["a"]', asked=("a",)),
    "several": Talk("/ways/several", '["a","b","c"]', asked=("a", "b", "c")),
    "in-a-group": Talk("/ways/in_a_group", '["a","b"]', asked=("a", "b")),
    "with-its-context": Talk("/ways/with_its_context", '["b","task 1",true],"own"', asked=("a", "b")),
    "beside-others": Talk("/ways/beside_others", '["slept","a"]', asked=("a",)),
    "iterated": Talk("/ways/iterated", '["a","b","c"]', asked=("a", "b", b"c")),
    "as-json": Talk("/ways/as_json", "not JSON serializable", asked=("[1]", "{", b"2")),
    "changed-later": Talk("/ways/changed_later", '["a","received","c","received"]', asked=("a", "b", "c", "d")),
    "told-wrongly": Talk("/ways/told_wrongly", "once a disconnect message has been received"),
    "of-request": Talk("/of-request", "500"),
    "def": Talk("/def", "500", until=("def",)),
    "nowhere": Talk("/nowhere", "403"),
    "nowhere-with-a-slash": Talk("/echo/", "403"),
    "of-another-kind": Talk("/openapi.json", "403"),
    "shown": Talk("/shown/x?a=b", "APIWebSocketRoute"),
    "shown-included": Talk("/outer/inner/shown/x", "_IncludedRouter", until=("exit session DISCONNECTED",)),
    "shown-included-twice": Talk("/outer/inner/most/shown", "_IncludedRouter", until=("exit session DISCONNECTED",)),
    "included": Talk("/outer/inner/echo?q=4", "leaf 4 a", ("a",), leaves=True, until=(EXIT,)),
    "starlette": Talk("/starlette", "endpoint a", ("a",), leaves=True),
}


def listen(story: Story, talk: Talk) -> None:
    """Talks, and writes down what is heard."""
    heard = story.answers
    try:
        connection = connect(
            f"{story.served.ws_url}{talk.path}",
            additional_headers=talk.headers,
            subprotocols=["first", "second"],  # type: ignore[list-item]
            user_agent_header="tester",
            compression=None,
            open_timeout=20,
        )
    except InvalidStatus as refusal:
        response = refusal.response
        heard.append(f"refused {response.status_code} {response.headers.get('x-refused')} {response.body!r}")
    else:
        with connection:
            assert connection.response is not None
            token = connection.response.headers.get("x-token")
            heard.append(f"accepted {connection.subprotocol} x-token: {token}")
            for message in talk.sends:
                connection.send(message)
            try:
                if talk.leaves:
                    heard.extend(repr(connection.recv(20)) for _ in talk.sends)
                    connection.close(4999, "goodbye")
                asked = iter(talk.asked)
                while True:
                    message = connection.recv(20)
                    heard.append(repr(message))
                    if message == "next" and (answer := next(asked, None)) is not None:
                        connection.send(answer)
            except ConnectionClosed as closed:
                if not talk.leaves:
                    frame = closed.rcvd
                    ended = frame is None or frame.code in ENDED
                    heard.append("ended" if ended or frame is None else f"closed {frame.code} {frame.reason}")
    story.wait_for(*talk.until)


def same(pair: Pair, talk: Talk) -> None:
    told = pair.alike(lambda story: listen(story, talk))
    assert talk.shows in str(told), told


@pytest.fixture(params=["sockets", "sockets_layered"])
def sockets(request: pytest.FixtureRequest, pair_of: Callable[..., Pair]) -> Pair:
    """The application, and the same below middleware."""
    return pair_of(request.param)


@pytest.mark.parametrize("name", TALKS)
def test_a_websocket_is_served_as_by_fastapi(sockets: Pair, name: str) -> None:
    same(sockets, TALKS[name])


@pytest.fixture
def overridden(sockets: Pair) -> Iterator[Pair]:
    """While a dependency is overridden."""
    sockets.same(post("/overrides?on=1"))
    yield sockets
    sockets.same(post("/overrides?on=0"))


@pytest.mark.parametrize(
    "talk",
    [
        Talk("/tree?word=w", "other w", until=("exit other leaf",)),
        Talk("/outer/inner/echo?word=w", "other w a", ("a",), leaves=True, until=("exit other leaf", EXIT)),
    ],
    ids=["tree", "included"],
)
def test_overrides_count_for_websockets(overridden: Pair, talk: Talk) -> None:
    same(overridden, talk)


def test_a_handler_of_validation_errors_learns_where_they_are(sockets: Pair) -> None:
    sockets.same(post("/handler?on=1"))
    try:
        same(sockets, Talk("/validated?number=x", "WS /validated", until=("exit session CONNECTING",)))
    finally:
        sockets.same(post("/handler?on=0"))


def test_websockets_are_served_by_plans(sockets: Pair) -> None:
    assert "Compiled 22 of 24 routes" in sockets.overdrive.served.log
