"""The HTTP half of ASGI 3, to the letter: scope, messages, tasks and contexts (asgiref's `www.rst`)."""

from __future__ import annotations

import ast
import json
import threading
from typing import Any

import pytest

from tests.conftest import Serve, Served
from tests.http.test_messages import eventually
from tests.http.wire import Wire


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(serve_once: Serve, request: pytest.FixtureRequest) -> Served:
    return serve_once("asgi_probe:app", "--loop", request.param)


def get(server: Served, target: str) -> Any:
    with Wire(server) as wire:
        response = wire.get(target)
        assert response.status == 200, response
        return json.loads(response.body)


def text(server: Served, target: str) -> str:
    with Wire(server) as wire:
        return wire.get(target).body.decode()


def event(server: Served, beginning: str) -> str:
    """Waits for an event that the application has noted."""
    eventually(lambda: any(e.startswith(beginning) for e in get(server, "/events")))
    return str(next(e for e in reversed(get(server, "/events")) if e.startswith(beginning)))


def test_the_scope_has_every_key_with_its_value(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(
            b"GET /scope?a=%20b&c=%ff HTTP/1.1\r\nHost: example.com\r\nX-Two: 1\r\nAccept: */*\r\nx-two: 2\r\n\r\n"
        )
        scope = ast.literal_eval(wire.response().body.decode())
        port = wire.sock.getsockname()[1]
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/scope",
        "raw_path": b"/scope",
        "query_string": b"a=%20b&c=%ff",
        "root_path": "",
        "headers": scope["headers"],
        "client": ("127.0.0.1", port),
        "server": ("127.0.0.1", server.port),
        "state": ["plain", "shared"],
        "extensions": {
            "http.response.pathsend": {},
            "http.response.trailers": {},
            "http.response.early_hint": {},
        },
    }
    assert scope["headers"][0] == (b"host", b"example.com")
    assert [value for name, value in scope["headers"] if name == b"x-two"] == [b"1", b"2"]
    assert all(name == name.lower() for name, _ in scope["headers"])


def test_the_scope_has_the_right_types(server: Served) -> None:
    assert get(server, "/types") == {
        "type": "str",
        "asgi": "dict",
        "http_version": "str",
        "method": "str",
        "scheme": "str",
        "path": "str",
        "raw_path": "bytes",
        "query_string": "bytes",
        "root_path": "str",
        "headers": "list",
        "client": "tuple",
        "server": "tuple",
        "state": "dict",
        "extensions": "dict",
        "header": ["list", "tuple", "bytes", "bytes"],
    }


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/%73cope", "/scope"),
        ("/scope/../scope", None),
        ("/scope%3Fa", None),
        ("/sc%6Fpe?x", "/scope"),
    ],
)
def test_the_path_is_decoded_and_the_raw_path_is_not(server: Served, target: str, path: str | None) -> None:
    with Wire(server) as wire:
        response = wire.get(target)
        if path is None:
            assert response.status == 500, "no other path is made of it"
        else:
            scope = ast.literal_eval(response.body.decode())
            assert (scope["path"], scope["raw_path"]) == (path, target.partition("?")[0].encode())


def test_http_1_0_and_methods_are_told(server: Served) -> None:
    with Wire(server) as wire:
        wire.send(b"BREW /scope HTTP/1.0\r\n\r\n")
        scope = ast.literal_eval(wire.response().body.decode())
    assert (scope["http_version"], scope["method"], scope["headers"]) == ("1.0", "BREW", [])


def test_the_state_of_the_lifespan_is_copied_for_each_request(server: Served) -> None:
    first, second = get(server, "/state"), get(server, "/state")
    assert (first["plain"], second["plain"]) == (2, 2), "a request's own copy"
    assert second["shared"] == first["shared"] + 1, "of the same values"


def test_context_variables_do_not_leak_between_requests(server: Served) -> None:
    with Wire(server) as wire, Wire(server) as other:
        for number in range(20):
            wire.request(f"/context?{number}")
            other.request(f"/context?other{number}")
            assert json.loads(wire.response().body) == {"before": "unset", "after": str(number), "lifespan": "unset"}
            assert json.loads(other.response().body)["before"] == "unset"


def test_a_request_is_a_task_of_its_own(server: Served) -> None:
    found = get(server, "/task")
    assert found.pop("repr").startswith("<Task")
    assert found == {"is_task": True, "same": True, "held": True, "inner": "inner", "timed_out": True}


def test_anyio_scopes_groups_and_threads_work(server: Served) -> None:
    assert get(server, "/anyio") == {"at_once": True, "later": True, "threaded": 42}


def test_receive_and_send_can_be_tasks(server: Served) -> None:
    assert get(server, "/create-task") == {"first": "http.request", "waited": True}


def test_a_cancelled_receive_loses_nothing(server: Served) -> None:
    with Wire(server, timeout=60) as wire:
        wire.send(b"POST /lost HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n")
        for _ in range(300):
            wire.send(b"x" * 1000)
        assert json.loads(wire.response().body) == {"size": 300_000}


def test_after_the_response_receive_gives_disconnect_and_send_raises(server: Served) -> None:
    assert text(server, "/after") == "done"
    assert event(server, "http.disconnect") == (
        "http.disconnect / RuntimeError: Unexpected ASGI message 'http.response.body' sent, "
        "after response already completed."
    )


OUT_OF_ORDER = {
    "body first": "RuntimeError: Expected ASGI message 'http.response.start', but got 'http.response.body'.",
    "no type": "KeyError: 'type'",
    "no dict": "TypeError: an ASGI message is a dict, not str",
    "type no str": "TypeError: 'type' of an ASGI message must be str, not int",
    "unknown": "RuntimeError: Expected ASGI message 'http.response.start', but got 'http.response.other'.",
    "websocket": "RuntimeError: Expected ASGI message 'http.response.start', but got 'websocket.send'.",
    "no status": "KeyError: 'status'",
    "status no int": "TypeError: 'status' of 'http.response.start' must be an int",
    "status 99": "ValueError: 99 is not the status of a final response",
    "status 101": "ValueError: 101 is not the status of a final response",
    "header no bytes": "TypeError: 'headers' of an ASGI message must be pairs of bytes, not str",
    "header no pair": "TypeError: 'headers' of an ASGI message must be pairs of bytes, not tuple",
    "header with newline": "ValueError: invalid value of header x",
    "header name with space": 'ValueError: invalid header name "a b"',
    "headers no list": "TypeError: 'int' object is not iterable",
    "content-length no number": "ValueError: invalid content-length",
    "second start": "RuntimeError: Expected ASGI message 'http.response.body', but got 'http.response.start'.",
    "body no bytes": "TypeError: 'body' of an ASGI message must be bytes, not str",
}


def test_messages_out_of_order_or_of_the_wrong_type_raise_in_the_application(server: Served) -> None:
    outcomes = get(server, "/out-of-order")
    assert outcomes.keys() == OUT_OF_ORDER.keys()
    for name, beginning in OUT_OF_ORDER.items():
        assert str(outcomes[name]).startswith(beginning), name
    assert event(server, "out of order") == "out of order: None", "the mistakes have done no harm"
    assert "already completed" in event(server, "after the end")


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ("longer", "None / RuntimeError: Response content longer than Content-Length"),
        ("shorter", "None / RuntimeError: Response content shorter than Content-Length"),
    ],
)
def test_a_body_that_has_not_its_announced_length_raises_and_closes(server: Served, query: str, outcome: str) -> None:
    with Wire(server) as wire:
        wire.request(f"/lengths?{query}")
        head, _, body = wire.rest().partition(b"\r\n\r\n")
        assert b"content-length: 5" in head
        assert body == b"123"
    assert event(server, outcome) == outcome


def test_a_head_does_not_wait_for_a_body_that_is_long_in_coming(server: Served) -> None:
    with Wire(server) as wire:
        wire.request("/head-first")
        assert b"x-first: yes" in wire.until(b"\r\n\r\n")
        assert get(server, "/go-on") >= 1
        assert wire.rest_of_chunks() == b"at last"


def test_sending_to_a_client_that_has_left_is_no_error(server: Served) -> None:
    wire = Wire(server)
    wire.request("/gone")
    wire.reset()
    assert event(server, "gone") == "gone: http.disconnect [None, None, None]"


def test_several_tasks_may_receive_and_send(server: Served) -> None:
    assert text(server, "/concurrent") == "http.request"
    assert event(server, "concurrent") == "concurrent: http.disconnect http.disconnect"


def test_a_task_factory_of_the_application_is_used(server: Served) -> None:
    before = get(server, "/events").count("factory")
    assert text(server, "/factory") == "set"
    assert text(server, "/chain") == "chained"
    assert text(server, "/factory") == "set"
    assert get(server, "/events").count("factory") == before + 2
    assert text(server, "/chain") == "chained"


def test_a_callable_that_returns_an_awaitable_is_an_application(serve: Serve) -> None:
    server = serve("asgi_probe:awaitable_app")
    assert text(server, "/chain") == "chained"
    with Wire(server) as wire:
        assert wire.get("/missing").status == 500


def test_a_handler_may_run_the_loop_itself(serve: Serve) -> None:
    """nest_asyncio: needs a loop in Python."""
    server = serve("asgi_probe:app", "--loop", "asyncio", env={"NEST_ASYNCIO": "1"})
    with Wire(server) as outer:
        outer.request("/nested")
        with Wire(server) as other:
            assert other.get("/nested-other").body == b"other"
        assert outer.response().body == b"nested"
        assert outer.get("/chain").body == b"chained"


@pytest.mark.parametrize("when", ["at-once", "late"])
def test_system_exit_in_a_handler_answers_500_and_ends_the_server(serve: Serve, when: str) -> None:
    server = serve("asgi_probe:app")
    with Wire(server) as wire:
        wire.request(f"/exit?{when}")
        assert server.wait() == 7
    assert "SystemExit" in server.log


def test_many_clients_at_once_each_get_their_own_answer(server: Served) -> None:
    failures: list[str] = []

    def client(number: int) -> None:
        with Wire(server, timeout=60) as wire:
            for round_ in range(30):
                found = json.loads(wire.get(f"/context?{number}-{round_}").body)
                if found["after"] != f"{number}-{round_}" or found["before"] != "unset":
                    failures.append(str(found))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
