"""Responses, exceptions and what an application does after its answer."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gzip
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

from tests.testing.conftest import CLIENTS


def asgi(*messages: dict[str, Any], error: BaseException | None = None) -> Any:
    """An application that sends these messages, and raises."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        if error is not None:
            raise error

    return app


START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}

RESPONSES: dict[str, Any] = {
    "plain": PlainTextResponse("text"),
    "empty": Response(),
    "no content": Response(status_code=204),
    "not modified": Response(status_code=304, headers={"etag": "a"}),
    "status that nobody knows": PlainTextResponse("odd", status_code=599),
    "cookies": Response(headers={"set-cookie": "a=b"}),
    "header twice": asgi(
        {**START, "headers": [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]}, {"type": "http.response.body"}
    ),
    "without a length": asgi(START, {"type": "http.response.body", "body": b"whole"}),
    "in pieces": asgi(
        START,
        {"type": "http.response.body", "body": b"one", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": True},
        {"type": "http.response.body", "body": b"two"},
    ),
    "in pieces with a length": asgi(
        {**START, "headers": [(b"content-length", b"6")]},
        {"type": "http.response.body", "body": b"one", "more_body": True},
        {"type": "http.response.body", "body": b"two"},
    ),
    "compressed": Response(gzip.compress(b"zipped" * 100), headers={"content-encoding": "gzip"}),
    "large": Response(b"x" * 3_000_000),
    "connection: close": PlainTextResponse("bye", headers={"connection": "close"}),
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("name", RESPONSES)
def test_response_is_that_of_starlettes_client(name: str, method: str) -> None:
    seen = []
    for client_class in CLIENTS.values():
        response = client_class(RESPONSES[name]).request(method, "/")
        headers = sorted(response.headers.raw)
        seen.append((response.status_code, response.reason_phrase, headers, response.content))
    stock, ours = seen
    assert ours == stock


def test_a_file_is_sent(Client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.bin").write_bytes(b"x" * 200_000)
    for path in ("file.bin", tmp_path / "file.bin"):
        response = Client(FileResponse(path)).get("/")
        assert (len(response.content), response.headers["content-length"]) == (200_000, "200000")
        assert Client(FileResponse(path)).head("/").headers["content-length"] == "200000"


def test_a_stream_is_read_as_it_comes(Client: Any) -> None:
    released = threading.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield b"one"
        await anyio.to_thread.run_sync(released.wait, 10)
        yield b"two"

    with Client(StreamingResponse(stream())).stream("GET", "/") as response:
        received = response.iter_raw()
        assert next(received) == b"one"
        released.set()
        assert list(received) == [b"two"]


def test_a_stream_that_is_left_is_cancelled(Client: Any) -> None:
    cancelled = threading.Event()

    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await anyio.sleep(0.01)
        finally:
            cancelled.set()

    client = Client(StreamingResponse(stream()))
    with client.stream("GET", "/") as response:
        assert next(response.iter_raw()) == b"more"
    assert cancelled.is_set()


def test_leaving_the_block_cancels_what_was_not_read(Client: Any) -> None:
    ended = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        await send(START)
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with Client(app) as client:
        response = client.send(client.build_request("GET", "/"), stream=True)
        assert next(response.iter_raw()) == b"one"
    assert ended.is_set()


def test_a_request_ends_with_its_background_tasks(Client: Any) -> None:
    app = FastAPI()
    done: list[str] = []

    async def work(name: str) -> None:
        await anyio.sleep(0.05)
        done.append(name)

    @app.get("/")
    async def home(background: BackgroundTasks) -> str:
        background.add_task(work, "injected")
        return "home"

    client = Client(app)
    client.get("/")
    assert done == ["injected"]
    Client(PlainTextResponse("text", background=BackgroundTask(work, "given"))).get("/")
    assert done == ["injected", "given"]


class Custom(Exception):
    """Raised by applications."""


@pytest.mark.parametrize("framework", [True, False])
def test_the_very_exception_of_the_application_is_raised(Client: Any, framework: bool) -> None:
    error = Custom("it")
    app: Any = asgi(error=error)
    if framework:
        app = FastAPI()

        @app.get("/")
        def home() -> None:
            raise error

    client = Client(app)
    for _ in range(2):
        with pytest.raises(Custom) as raised:
            client.get("/")
        assert raised.value is error
        assert raised.traceback[-1].path == Path(__file__)


def test_an_exception_is_a_500_if_it_is_not_to_be_raised(Client: Any) -> None:
    app = FastAPI()

    @app.get("/")
    async def home() -> None:
        raise Custom

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    client = Client(app, raise_server_exceptions=False)
    response = client.get("/")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert client.get("/teapot").json() == {"detail": "short and stout"}
    bare = Client(asgi(error=Custom()), raise_server_exceptions=False).get("/")
    assert (bare.status_code, bare.content, bare.headers.raw) == (500, b"", [])


def test_an_exception_of_a_background_task_is_raised(Client: Any) -> None:
    async def fail() -> None:
        raise Custom

    app = PlainTextResponse("text", background=BackgroundTask(fail))
    with pytest.raises(Custom):
        Client(app).get("/")
    assert Client(app, raise_server_exceptions=False).get("/").text == "text"


def test_an_exception_in_the_middle_of_a_stream_is_raised_after_what_was_sent(Client: Any) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"one"
        await anyio.lowlevel.checkpoint()
        raise Custom

    received = []
    with pytest.raises(Custom), Client(StreamingResponse(stream())).stream("GET", "/") as response:
        for piece in response.iter_raw():
            received.append(piece)
    assert received == [b"one"]
    assert Client(StreamingResponse(stream()), raise_server_exceptions=False).get("/").content == b"one"


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")]])
def test_the_head_of_a_response_that_comes_to_nothing_is_handed_over(Client: Any, headers: list[Any]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": [*headers, (b"x-said", b"so")]})
        raise Custom

    response = Client(app, raise_server_exceptions=False).get("/")
    assert (response.status_code, response.headers["x-said"], response.content) == (202, "so", b"")


def test_an_application_without_a_response_is_told_of(Client: Any) -> None:
    with pytest.raises(AssertionError, match="did not receive any response"):
        Client(asgi()).get("/")
    assert Client(asgi(), raise_server_exceptions=False).get("/").status_code == 500


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_exceptions_that_end_programs_reach_the_caller(error: BaseException) -> None:
    client = CLIENTS["overdrive"](asgi(error=error))
    with pytest.raises(type(error)):
        client.get("/")


def test_the_end_of_the_loop_is_the_end_of_the_request() -> None:
    async def fail() -> None:
        raise SystemExit(3)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.create_task(fail())
        task.add_done_callback(lambda task: task.exception())
        await asyncio.Event().wait()

    with pytest.raises(BaseException) as raised:  # noqa: PT011
        CLIENTS["overdrive"](app).get("/")
    assert isinstance(raised.value, SystemExit | asyncio.CancelledError | concurrent.futures.CancelledError)


def test_nothing_is_logged_of_an_exception_that_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    client = CLIENTS["overdrive"](asgi(error=Custom()))
    with pytest.raises(Custom):
        client.get("/")
    assert not caplog.records


def test_debug_information_of_templates_is_handed_over(Client: Any) -> None:
    info = {"template": "a template", "context": {"a": 1}}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "http.response.debug" in scope["extensions"]
        await send({"type": "http.response.debug", "info": info})
        await PlainTextResponse("text")(scope, receive, send)

    response = Client(app).get("/")
    assert (response.template, response.context) == ("a template", {"a": 1})
    assert response.extensions["http.response.debug"] is info


def test_trailers_are_handed_over(Client: Any) -> None:
    app = asgi(
        {**START, "trailers": True},
        {"type": "http.response.body", "body": b"body"},
        {"type": "http.response.trailers", "headers": [(b"x-a", b"1")], "more_trailers": True},
        {"type": "http.response.trailers", "headers": [(b"x-b", b"2")]},
    )
    response = Client(app).get("/")
    assert response.extensions["http.response.trailers"] == [(b"x-a", b"1"), (b"x-b", b"2")]
    assert response.content == b"body"


def test_disconnect_is_received_after_the_response_only(Client: Any) -> None:
    received: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append(await receive())
        waiting = asyncio.ensure_future(receive())
        for _ in range(20):
            await asyncio.sleep(0)
        received.append(waiting.done())
        await PlainTextResponse("text")(scope, receive, send)
        received.append(await waiting)

    Client(app).get("/")
    assert received[1:] == [False, {"type": "http.disconnect"}]
