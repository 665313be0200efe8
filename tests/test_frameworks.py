"""One small application in six frameworks, served and used with httpx, `websockets` and curl."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.conftest import Serve, Served

FRAMEWORKS = ["bare", "starlette", "fastapi", "django", "litestar", "quart"]


@pytest.fixture(scope="module", params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(serve_once: Serve, framework: str) -> Served:
    return serve_once(f"framework_{framework}:app", "--max-header-size", "65536")


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def curl(server: Served, path: str, *options: str) -> str:
    """curl's output with status and HTTP version behind it. Fails when curl does."""
    assert shutil.which("curl"), "curl is needed: install it with the system's package manager"
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--write-out", "|%{http_code}|%{http_version}"]
    done = subprocess.run([*command, *options, f"{server.url}{path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_many_requests_on_one_connection(client: httpx.Client) -> None:
    for name in ("ann", "bob", "zoë"):
        response = client.get("/hello", params={"name": name})
        assert (response.status_code, response.text) == (200, f"hello {name}")


def test_head_has_no_body(client: httpx.Client) -> None:
    response = client.head("/hello")
    assert (response.status_code, response.content) == (200, b"")
    assert client.get("/hello").status_code == 200


def test_a_body_comes_back(client: httpx.Client) -> None:
    for size in (0, 1, 100_000, 3_000_000):
        response = client.post("/echo", content=b"x" * size)
        assert (response.status_code, len(response.content)) == (200, size)


def test_an_upload_is_streamed(client: httpx.Client) -> None:
    response = client.post("/count", content=(b"x" * 10_000 for _ in range(100)))
    assert (response.status_code, response.text) == (200, "1000000")


def test_a_download_is_streamed(client: httpx.Client) -> None:
    with client.stream("GET", "/stream") as response:
        assert response.headers["transfer-encoding"] == "chunked"
        assert list(response.iter_lines()) == ["line 0", "line 1", "line 2"]


def test_errors_are_answered_and_the_next_request_is_served(client: httpx.Client) -> None:
    assert client.get("/missing").status_code == 404
    assert client.get("/fail").status_code == 500
    assert client.get("/hello").status_code == 200


def test_curl_with_http_1_0(server: Served) -> None:
    assert curl(server, "/hello", "--http1.0").startswith("hello world|200|1")


def test_curl_uploads_in_chunks(server: Served, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("upload") / "data"
    file.write_bytes(b"y" * 2_000_000)
    chunked = ("--header", "Transfer-Encoding: chunked", "--header", "Content-Type: application/octet-stream")
    assert curl(server, "/count", "--data-binary", f"@{file}", *chunked) == "2000000|200|1.1"


def test_curl_asks_before_it_sends(server: Served, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("upload") / "data"
    file.write_bytes(b"y" * 2_000_000)
    options = ("--header", "Expect: 100-continue", "--header", "Content-Type: application/octet-stream")
    assert curl(server, "/count", "--data-binary", f"@{file}", *options) == "2000000|200|1.1"


def test_a_websocket_echoes_and_closes_with_its_code(server: Served, framework: str) -> None:
    if framework == "django":
        with pytest.raises(InvalidStatus):
            connect(f"{server.ws_url}/ws")
        server.wait_for("Exception in ASGI application")
        return
    with connect(f"{server.ws_url}/ws") as ws:
        for text in ("hello", "ü" * 1000, "x" * 100_000):
            ws.send(text)
            assert ws.recv() == text
        ws.send("bye")
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4000


def test_a_websocket_that_is_not_there_is_refused(server: Served) -> None:
    with pytest.raises(InvalidStatus):
        connect(f"{server.ws_url}/nowhere")
