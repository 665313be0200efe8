"""One small application in each of six frameworks, served and used by httpx, `websockets` and curl.

The applications (`apps/framework_*.py`) answer the same paths, each in its framework's own way; `Framework` says where
they differ. What a framework does not have is not asked of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.conftest import APPS, Serve, Served

TIMEOUT = 20.0
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Framework:
    """What one framework answers where frameworks differ."""

    name: str
    lifespan: bool = True
    threads: bool = True
    bad_json: int = 400
    websockets: bool = True
    tells_close_code: bool = True
    empty_bytes: bool = True
    denial: tuple[int, str] = (401, "who are you?")

    def __str__(self) -> str:
        return self.name


BARE = Framework("bare", threads=False)
FASTAPI = Framework("fastapi", bad_json=422)
STARLETTE = Framework("starlette")
# Django has neither lifespan nor WebSockets of its own.
DJANGO = Framework("django", lifespan=False, websockets=False)
# An exception before accept is a close in Litestar, and a close before accept is a plain 403 (ASGI, websocket.close).
LITESTAR = Framework("litestar", denial=(403, ""))
# Quart takes an empty binary message for a text message without text.
QUART = Framework("quart", tells_close_code=False, empty_bytes=False)
ALL = [BARE, FASTAPI, STARLETTE, DJANGO, LITESTAR, QUART]


def those(having: str) -> pytest.MarkDecorator:
    """Runs a test for the frameworks with a capability alone."""
    return pytest.mark.parametrize("framework", [f for f in ALL if getattr(f, having)], ids=str, scope="module")


@pytest.fixture(scope="module", params=ALL, ids=str)
def framework(request: pytest.FixtureRequest) -> Framework:
    chosen: Framework = request.param
    return chosen


@pytest.fixture(scope="module")
def running(serve_once: Serve) -> dict[Framework, Served]:
    """The servers started so far, so that a framework's tests share one."""
    return {}


@pytest.fixture
def served(framework: Framework, running: dict[Framework, Served], serve_once: Serve) -> Served:
    if framework not in running:
        running[framework] = serve_once(f"framework_{framework}:app")
    return running[framework]


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=TIMEOUT, trust_env=False) as opened:
        yield opened


def test_json_comes_with_its_length(client: httpx.Client, framework: Framework) -> None:
    response = client.get("/who")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.json() == {"framework": framework.name}


def test_path_and_query_arrive_decoded(client: httpx.Client) -> None:
    assert client.get("/greet/Zoë Müller", params={"mark": "‽ & more"}).text == "Hello, Zoë Müller‽ & more"


def test_json_body_is_read(client: httpx.Client) -> None:
    response = client.post("/total", json=[1, 2, 39])
    assert (response.status_code, response.json()) == (200, {"total": 42})


def test_bad_json_gets_the_frameworks_own_answer(client: httpx.Client, framework: Framework) -> None:
    response = client.post("/total", content="[1, 2", headers={"content-type": "application/json"})
    assert response.status_code == framework.bad_json


def test_unknown_path_gets_404(client: httpx.Client) -> None:
    assert client.get("/no/such/path").status_code == 404


def test_one_connection_serves_many_requests(served: Served) -> None:
    opened: list[str] = []

    def note(event: str, _: object) -> None:
        if event == "connection.connect_tcp.started":
            opened.append(event)

    with httpx.Client(base_url=served.url, timeout=TIMEOUT, trust_env=False) as client:
        for number in range(20):
            answer = client.post("/total", json=[number], extensions={"trace": note})
            assert answer.json() == {"total": number}
    assert len(opened) == 1


def test_requests_of_many_connections_do_not_mix(served: Served) -> None:
    async def ask() -> list[str]:
        limits = httpx.Limits(max_connections=32)
        async with httpx.AsyncClient(base_url=served.url, timeout=TIMEOUT, trust_env=False, limits=limits) as client:
            return [answer.text for answer in await asyncio.gather(*(client.get(f"/greet/{n}") for n in range(200)))]

    assert asyncio.run(ask()) == [f"Hello, {number}." for number in range(200)]


def test_head_has_the_headers_of_get_and_no_body(client: httpx.Client) -> None:
    got, head = client.get("/who"), client.head("/who")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"]
    # A body after a HEAD would be taken for the start of this answer.
    assert client.get("/who").content == got.content


def test_204_has_no_body(client: httpx.Client) -> None:
    response = client.delete("/nothing")
    assert response.status_code == 204
    assert response.content == b""
    assert "transfer-encoding" not in response.headers
    assert client.get("/who").status_code == 200


def test_two_cookies_are_two_headers(client: httpx.Client) -> None:
    cookies = client.get("/cookies").headers.get_list("set-cookie")
    assert [cookie.split(";")[0] for cookie in cookies] == ["first=1", "second=2"]


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_body_of_known_length_is_read_to_its_end(client: httpx.Client, size: int) -> None:
    body = b"x" * size
    answer = client.post("/digest", content=body, headers={"content-type": "application/x-bytes"}).json()
    assert answer == {"size": size, "sha256": hashlib.sha256(body).hexdigest()}


def test_upload_is_streamed(client: httpx.Client) -> None:
    piece = bytes(range(256)) * 256

    def pieces() -> Iterator[bytes]:
        for _ in range(256):
            yield piece

    response = client.post("/digest", content=pieces())
    assert response.json() == {"size": 16 * MEBIBYTE, "sha256": hashlib.sha256(piece * 256).hexdigest()}


def test_download_is_streamed(client: httpx.Client) -> None:
    with client.stream("GET", "/count", params={"lines": 5000}) as response:
        assert response.headers["transfer-encoding"] == "chunked"
        lines = list(response.iter_lines())
    assert lines == [f"line {number}" for number in range(5000)]


def test_stream_ends_when_its_client_leaves(client: httpx.Client, served: Served) -> None:
    with client.stream("GET", "/endless") as response:
        lines = response.iter_lines()  # Kept: the connection would be closed with its iterator.
        assert next(lines) == "still here"
        assert "the endless stream ended" not in served.log
    served.wait_for("the endless stream ended")


def test_file_is_sent_whole(client: httpx.Client, framework: Framework) -> None:
    response = client.get("/file")
    assert response.status_code == 200
    assert response.content == (APPS / f"framework_{framework}.py").read_bytes()


def test_error_before_the_answer_is_a_500(client: httpx.Client, served: Served) -> None:
    response = client.get("/fail")
    assert response.status_code == 500
    assert "failed on purpose" not in response.text
    served.wait_for(r"RuntimeError: failed on purpose")
    # On a new connection: a server may close the one on which an application has failed.
    assert httpx.get(f"{served.url}/who", trust_env=False).status_code == 200


def test_error_within_the_answer_breaks_the_connection(client: httpx.Client, served: Served) -> None:
    with client.stream("GET", "/fail-late") as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()
    served.wait_for(r"RuntimeError: failed late, on purpose")
    assert httpx.get(f"{served.url}/who", trust_env=False).status_code == 200


@those("threads")
def test_sync_handler_runs_on_a_thread(client: httpx.Client) -> None:
    assert client.get("/thread").json() == {"main_thread": False}


@those("lifespan")
def test_lifespan_opens_and_closes(serve: Serve, framework: Framework) -> None:
    served = serve(f"framework_{framework}:app")
    assert httpx.get(f"{served.url}/state", trust_env=False).json() == {"opened": "at startup"}
    served.stop()
    assert served.log.count("the application was shut down") == 1


def test_framework_without_lifespan_is_served_all_the_same(serve: Serve) -> None:
    served = serve(f"framework_{DJANGO}:app")
    assert httpx.get(f"{served.url}/who", trust_env=False).status_code == 200
    served.stop()
    assert "Traceback" not in served.log


# WebSockets.


def dial(served: Served, path: str, **options: Any) -> ClientConnection:
    """A WebSocket connection; a context manager that closes it."""
    connection: ClientConnection = connect(served.ws_url + path, proxy=None, open_timeout=TIMEOUT, **options)
    return connection


@those("websockets")
@pytest.mark.parametrize("compression", ["deflate", None])
def test_websocket_echoes_text_and_binary(served: Served, framework: Framework, compression: str | None) -> None:
    messages: list[str | bytes] = ["hello", "Zoë ‽ 🦀", "", b"\x00\xff", "x" * 200_000, bytes(100_000)]
    if framework.empty_bytes:
        messages.append(b"")
    with dial(served, "/ws/echo", compression=compression) as websocket:
        for message in messages:
            websocket.send(message)
            assert websocket.recv(TIMEOUT) == message


@those("websockets")
def test_websocket_joins_fragments(served: Served) -> None:
    with dial(served, "/ws/echo") as websocket:
        websocket.send(["one ", "message ", "of ", "four frames"])
        assert websocket.recv(TIMEOUT) == "one message of four frames"


@those("websockets")
def test_websocket_answers_a_ping(served: Served) -> None:
    with dial(served, "/ws/echo") as websocket:
        assert websocket.ping("are you there?").wait(TIMEOUT)


@those("websockets")
@pytest.mark.parametrize(
    ("offered", "chosen"), [(["soap", "chat"], "chat"), (["soap"], None), (None, None)], ids=["known", "other", "none"]
)
def test_websocket_subprotocol_is_the_applications_choice(
    served: Served, offered: list[Any] | None, chosen: str | None
) -> None:
    with dial(served, "/ws/echo", subprotocols=offered) as websocket:
        assert websocket.subprotocol == chosen


@those("websockets")
def test_websocket_close_code_reaches_the_client(served: Served) -> None:
    with dial(served, "/ws/echo") as websocket:
        websocket.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(TIMEOUT)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")


@those("websockets")
def test_websocket_close_code_reaches_the_application(served: Served, framework: Framework) -> None:
    before = len(re.findall("the client closed", served.log))
    with dial(served, "/ws/echo") as websocket:
        websocket.close(4002, "bye")
    told = served.wait_for(r"the client closed.*", count=before + 1)[0]
    assert told == ("the client closed with 4002" if framework.tells_close_code else "the client closed")


@those("websockets")
def test_websocket_denial_is_an_http_response(served: Served, framework: Framework) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(served, "/ws/deny"):
        pass
    status, body = framework.denial
    response = refused.value.response
    assert response.status_code == status
    assert response.body.decode() == body
    assert response.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


@those("websockets")
def test_websocket_to_an_unknown_path_is_refused(served: Served) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(served, "/no/such/path"):
        pass
    assert 400 <= refused.value.response.status_code < 500


def test_websocket_to_a_framework_without_them_is_an_error(serve: Serve) -> None:
    served = serve(f"framework_{DJANGO}:app")
    with pytest.raises(InvalidStatus) as refused, dial(served, "/ws/echo"):
        pass
    assert refused.value.response.status_code == 500
    assert httpx.get(f"{served.url}/who", trust_env=False).status_code == 200


# curl.


def curl(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Runs curl, apart from the user's own settings; fails with what it said."""
    assert shutil.which("curl"), "curl is needed: install it with the system's package manager"
    command = ["curl", "--disable", "--noproxy", "*", "--silent", "--show-error", "--max-time", "60", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done


def test_curl_uploads_chunks_of_unknown_length(served: Served) -> None:
    body = bytes(range(256)) * 8192
    done = curl(
        "--upload-file", "-", "--header", "content-type: application/x-bytes", f"{served.url}/digest", stdin=body
    )
    assert json.loads(done.stdout) == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_curl_is_told_to_continue(served: Served, tmp_path: Path) -> None:
    body = b"0123456789abcdef" * (3 * MEBIBYTE // 16)
    file = tmp_path / "body"
    file.write_bytes(body)
    # It waits for the 100 alone: without one, the request would run into --max-time.
    done = curl(
        *("--verbose", "--expect100-timeout", "90", "--header", "expect: 100-continue"),
        *("--header", "content-type: application/x-bytes", "--data-binary", f"@{file}", f"{served.url}/digest"),
    )
    assert re.findall(rb"< HTTP/1\.1 (\d+)", done.stderr) == [b"100", b"200"]
    assert json.loads(done.stdout) == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_curl_of_http_1_0_gets_the_length_or_the_end(served: Served, framework: Framework) -> None:
    known = curl("--http1.0", "--include", f"{served.url}/who").stdout
    assert json.loads(known.partition(b"\r\n\r\n")[2]) == {"framework": framework.name}
    # RFC 9112, section 6.1: no Transfer-Encoding to a client of HTTP/1.0; the end of the connection ends the body.
    streamed = curl("--http1.0", "--raw", "--include", f"{served.url}/count?lines=100").stdout
    head, _, body = streamed.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body.splitlines() == [b"line %d" % number for number in range(100)]


def test_curl_reuses_its_connection(served: Served) -> None:
    requests = ["--output", os.devnull, f"{served.url}/who"] * 3
    assert curl("--write-out", "%{num_connects}\n", *requests).stdout.split() == [b"1", b"0", b"0"]


# What only FastAPI has.


@pytest.fixture(scope="module")
def featured(serve_once: Serve) -> Served:
    return serve_once("framework_fastapi_features:app")


@pytest.fixture
def fastapi(featured: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=featured.url, timeout=TIMEOUT, trust_env=False) as opened:
        yield opened


def test_fastapi_validates_a_body(fastapi: httpx.Client) -> None:
    good = fastapi.post("/items", json={"name": "cake", "price": 3.5})
    assert (good.status_code, good.json()) == (201, {"name": "cake", "price": 3.5})
    bad = fastapi.post("/items", json={"name": "cake", "price": 0})
    assert bad.status_code == 422
    assert [error["loc"] for error in bad.json()["detail"]] == [["body", "price"]]


def test_fastapi_exceptions_become_answers(fastapi: httpx.Client) -> None:
    conflict = fastapi.post("/items", json={"name": "tea", "price": 1})
    assert (conflict.status_code, conflict.headers["retry-after"]) == (409, "7")
    own = fastapi.post("/items", json={"name": "coffee", "price": 1})
    assert (own.status_code, own.json()) == (418, {"refused": "this is a teapot"})


def test_fastapi_contextvars_reach_handlers_dependencies_and_tasks(fastapi: httpx.Client, featured: Served) -> None:
    assert fastapi.get("/caller", headers={"x-caller": "Ada"}).json() == {"caller": "Ada"}
    assert fastapi.get("/caller/thread", headers={"x-caller": "Grace"}).json() == {"caller": "Grace"}
    # Nothing of one request is left for the next on the same connection.
    assert fastapi.get("/caller/thread").json() == {"caller": "nobody"}
    featured.wait_for("Ada was written down")
    featured.wait_for("Ada was let go")


def test_fastapi_middleware_sees_each_answer(fastapi: httpx.Client) -> None:
    assert fastapi.get("/caller").headers["x-seen-by"] == "middleware"
    assert fastapi.get("/no/such/path").headers["x-seen-by"] == "middleware"


def test_fastapi_compresses_large_answers(fastapi: httpx.Client) -> None:
    response = fastapi.get("/large")
    assert response.headers["content-encoding"] == "gzip"
    assert response.text == "compressible " * 10_000


def test_fastapi_takes_form_and_file(fastapi: httpx.Client) -> None:
    content = bytes(3 * MEBIBYTE)
    response = fastapi.post("/upload", data={"title": "zeros"}, files={"file": ("zero.bin", content)})
    assert response.json() == {"title": "zeros", "name": "zero.bin", "size": len(content)}


def test_fastapi_sends_the_part_of_a_file_that_is_asked_for(fastapi: httpx.Client) -> None:
    whole = (APPS / "framework_fastapi_features.py").read_bytes()
    part = fastapi.get("/file", headers={"range": "bytes=10-109"})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes 10-109/{len(whole)}"
    assert part.content == whole[10:110]


def test_fastapi_describes_itself(fastapi: httpx.Client) -> None:
    assert "/items" in fastapi.get("/openapi.json").json()["paths"]
    assert "swagger" in fastapi.get("/docs").text
