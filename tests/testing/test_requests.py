"""What an application sees of a request is what Starlette's client would show it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Form, Request, UploadFile
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, RedirectResponse, Response

COMPARED = ["method", "scheme", "path", "raw_path", "query_string", "root_path", "headers", "client", "server", "state"]


class Mirror:
    """Keeps the scope and the body of each request."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append({key: scope[key] for key in COMPARED})
        self.bodies.append(await StarletteRequest(scope, receive).body())
        await Response("seen")(scope, receive, send)


def pieces() -> Iterator[bytes]:
    yield b"one "
    yield b""
    yield b"two"


REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "method in lower case": {"method": "patch"},
    "method that nobody knows": {"method": "FROBNICATE"},
    "method that is none": {"method": "A B"},
    "connect": {"method": "CONNECT"},
    "head": {"method": "HEAD"},
    "options": {"method": "OPTIONS"},
    "query": {"url": "/a?b=c&b=d&e=%20+f"},
    "query of parameters": {"params": {"a": ["1", "2"], "ü": "ß"}},
    "empty query": {"url": "/a?"},
    "escaped path": {"url": "/a%20b/%C3%A9/c%2Fd"},
    "path in Unicode": {"url": "/é/日本"},
    "path that is no UTF-8": {"url": "/%ff%fe"},
    "path of odd characters": {"url": "/!$&'()*+,;=:@-._~\"<>[]^`{|}\\"},
    "long path": {"url": "/" + "a" * 20000},
    "two slashes": {"url": "http://testserver//a//b"},
    "another host": {"url": "https://example.org:8443/a"},
    "address of IPv6": {"url": "http://[::1]:0/"},
    "header twice": {"headers": [("x-a", "1"), ("x-b", "2"), ("X-A", "3")]},
    "header with blanks at its ends": {"headers": {"x-token": "  a b \t"}},
    "empty header": {"headers": {"x-empty": ""}},
    "header beyond ASCII": {"headers": [(b"x-latin", b"caf\xe9"), (b"x-utf8", "日本".encode())]},
    "header with a control character": {"headers": [(b"x-bell", b"a\x07b")]},
    "header of a name that is none": {"headers": [(b"x y", b"a")]},
    "host that is none": {"headers": {"host": "a b/c"}},
    "host given": {"headers": {"host": "example.org"}},
    "connection: close": {"headers": {"connection": "close"}},
    "upgrade": {"headers": {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}},
    "expect": {"method": "POST", "headers": {"expect": "100-continue"}, "content": b"body"},
    "te": {"headers": {"te": "trailers"}},
    "forwarded": {"headers": {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"}},
    "many headers": {"headers": {f"x-{n}": str(n) for n in range(500)}},
    "long header": {"headers": {"x-long": "a" * 200_000}},
    "content": {"method": "POST", "content": b"\0\xffbody"},
    "content of GET": {"content": b"body"},
    "empty content": {"method": "POST"},
    "content in pieces": {"method": "POST", "content": pieces},
    "large content": {"method": "POST", "content": b"x" * 3_000_000},
    "JSON": {"method": "POST", "json": {"a": [1, None, "ü"]}},
    "form": {"method": "POST", "data": {"a": "1", "b": ["2", "3"]}},
    "length of another body": {"method": "POST", "content": b"body", "headers": {"content-length": "1000"}},
    "length that is none": {"method": "POST", "content": b"body", "headers": {"content-length": "many"}},
    "transfer-encoding of its own": {"method": "POST", "content": b"a", "headers": {"transfer-encoding": "gzip"}},
    "name of the side channel": {"headers": {"overdrive-side-channel": "forged"}},
    "cookies": {"headers": {"cookie": "a=b; c=d"}},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_scope_and_body_are_those_of_starlettes_client(name: str) -> None:
    from tests.testing.conftest import CLIENTS

    mirrors = []
    for client_class in CLIENTS.values():
        options = {"method": "GET", "url": "/", **REQUESTS[name]}
        if callable(options.get("content")):
            options["content"] = options["content"]()
        mirror = Mirror()
        client = client_class(mirror, root_path="/root", client=("9.8.7.6", 1))
        assert client.request(**options).status_code == 200
        mirrors.append(mirror)
    stock, ours = mirrors
    assert ours.scopes == stock.scopes
    assert ours.bodies == stock.bodies


def test_base_url_headers_and_cookies_of_the_client_are_sent(Client: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = StarletteRequest(scope)
        seen = {"url": str(request.url), "x": request.headers["x"], "cookies": request.cookies}
        response = JSONResponse(seen)
        response.set_cookie("kept", "yes")
        await response(scope, receive, send)

    headers = {"x": "y"}
    client = Client(app, base_url="https://example.org/api/", headers=headers, cookies={"a": "b"})
    assert client.get("items").json() == {"url": "https://example.org/api/items", "x": "y", "cookies": {"a": "b"}}
    assert client.get("items").json()["cookies"] == {"a": "b", "kept": "yes"}


def test_redirects_are_followed_unless_told_otherwise(Client: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/from":
            await RedirectResponse("/to", 307)(scope, receive, send)
        else:
            await Response(await StarletteRequest(scope, receive).body())(scope, receive, send)

    client = Client(app)
    assert client.post("/from", content=b"again").content == b"again"
    assert client.post("/from", content=pieces()).content == b"one two"
    assert client.post("/from", follow_redirects=False).status_code == 307
    assert Client(app, follow_redirects=False).post("/from").status_code == 307


def test_uploads_arrive_as_files(Client: Any) -> None:
    app = FastAPI()

    @app.post("/")
    async def upload(file: UploadFile, name: Annotated[str, Form()]) -> Any:
        return {"name": name, "file": file.filename, "size": len(await file.read())}

    response = Client(app).post("/", files={"file": ("a.bin", b"x" * 100_000)}, data={"name": "n"})
    assert response.json() == {"name": "n", "file": "a.bin", "size": 100_000}


def test_a_generator_that_fails_fails_the_request(Client: Any) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        Client(Mirror()).post("/", content=broken())


def test_a_body_that_nobody_reads_is_no_obstacle(Client: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Response("x" * 5_000_000)(scope, receive, send)

    response = Client(app).post("/", content=b"y" * 5_000_000)
    assert len(response.content) == 5_000_000


def test_the_request_sees_the_callers_context_variables(Client: Any) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    app = FastAPI()

    @app.get("/")
    async def read() -> str:
        seen = variable.get()
        variable.set("changed")
        return seen

    client = Client(app)
    variable.set("by the test")
    assert client.get("/").json() == "by the test"
    with client:
        variable.set("within the block")
        assert client.get("/").json() == "within the block"
    assert variable.get() == "within the block"


def test_requests_of_several_threads_run_side_by_side(Client: Any) -> None:
    together = threading.Barrier(2, timeout=10)
    app = FastAPI()

    @app.get("/")
    def meet() -> int:
        return together.wait()

    with Client(app) as client:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(client.get("/").json())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert sorted(answers) == [0, 1]


def test_the_state_of_a_request_is_its_own(Client: Any) -> None:
    app = FastAPI()

    @app.get("/")
    async def count(request: Request) -> int:
        request.state.count = getattr(request.state, "count", 0) + 1
        return request.state.count

    with Client(app) as client:
        assert [client.get("/").json() for _ in range(2)] == [1, 1]
        client.app_state["count"] = 41
        assert client.get("/").json() == 42


def test_a_timeout_is_warned_of(Client: Any) -> None:
    with pytest.warns(Warning, match="timeout"):
        Client(Mirror()).get("/", timeout=1)


def test_a_request_built_by_hand_can_be_sent(Client: Any) -> None:
    mirror = Mirror()
    client = Client(mirror)
    request = client.build_request("PUT", "/built", content=b"body")
    assert isinstance(request, httpx.Request)
    assert client.send(request).text == "seen"
    assert (mirror.scopes[0]["method"], mirror.bodies) == ("PUT", [b"body"])
