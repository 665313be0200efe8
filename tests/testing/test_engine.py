"""That requests go through the engine, and what is known of them there."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, WebSocket
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse

from overdrive import testing
from overdrive.testing import TestClient
from tests.conftest import Serve

DESCRIPTORS = Path("/proc/self/fd")


def answer() -> str:
    """A dependency."""
    return "from the dependency"


def fastapi_application() -> FastAPI:
    """One that can be compiled."""
    app = FastAPI()

    @app.get("/")
    async def home(name: str = "world") -> dict[str, str]:
        return {"hello": name}

    @app.get("/depends")
    async def depends(value: str = Depends(answer)) -> str:
        return value

    @app.websocket("/ws")
    async def websocket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    return app


@pytest.fixture
def answered() -> Iterator[list[testing.Answered]]:
    """What a listener is told."""
    told: list[testing.Answered] = []
    testing.listeners.append(told.append)
    yield told
    testing.listeners.remove(told.append)


def test_listeners_are_told_who_answers(answered: list[testing.Answered]) -> None:
    app = fastapi_application()
    client = TestClient(app)
    client.get("/")
    client.get("/", params={"name": "you"})
    client.get("/openapi.json")
    client.get("/nowhere")
    with client.websocket_connect("/ws"):
        pass
    who = [(one.kind, one.method, one.path, one.answered_by) for one in answered]
    assert who == [
        ("http", "GET", "/", "plan"),
        ("http", "GET", "/", "plan"),
        ("http", "GET", "/openapi.json", "asgi: a plain Starlette route"),
        ("http", "GET", "/nowhere", "plan"),
        ("websocket", "GET", "/ws", "plan"),
    ]
    assert answered[0].app is app
    assert list(testing.answers)[-5:] == answered


@pytest.mark.parametrize("within", [True, False])
def test_plans_of_mounted_applications_answer(answered: list[testing.Answered], within: bool) -> None:
    app, mounted = fastapi_application(), fastapi_application()
    app.mount("/v1", mounted)
    client = TestClient(app)

    def run() -> None:
        assert client.get("/v1/depends").json() == "from the dependency"
        mounted.dependency_overrides[answer] = lambda: "overridden"
        assert client.get("/v1/depends").json() == "overridden"
        mounted.get("/added")(lambda: "added")
        # Finds out, and is answered without a plan.
        assert client.get("/v1/added").json() == "added"
        assert client.get("/v1/added").json() == "added"
        with client.websocket_connect("/v1/ws"):
            pass

    if within:
        with client:
            run()
    else:
        run()
    assert [one.answered_by for one in answered] == ["plan", "plan", "asgi: the routes have changed", "plan", "plan"]


def test_redirects_lead_to_where_the_client_believes_the_application_to_be(answered: list[testing.Answered]) -> None:
    client = TestClient(fastapi_application(), base_url="https://example.test:8443")
    response = client.get("/depends/", params={"a": "b"}, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (307, "https://example.test:8443/depends?a=b")
    assert [one.answered_by for one in answered] == ["plan"]


def test_applications_that_are_not_compiled_answer_themselves(answered: list[testing.Answered]) -> None:
    assert TestClient(fastapi_application(), compile="off").get("/").json() == {"hello": "world"}
    assert TestClient(PlainTextResponse("text")).get("/").text == "text"
    assert [one.answered_by for one in answered] == ["asgi", "asgi"]


def test_why_nothing_is_compiled_is_told_of(answered: list[testing.Answered]) -> None:
    class Router(APIRouter):
        async def handle(self, scope: Any, receive: Any, send: Any) -> None:
            await super().handle(scope, receive, send)

    app = fastapi_application()
    app.router.__class__ = Router
    assert TestClient(app).get("/").json() == {"hello": "world"}
    assert [one.answered_by for one in answered] == ["asgi: the router's own handle"]


def test_plans_below_middleware_are_told_of(answered: list[testing.Answered]) -> None:
    app = fastapi_application()

    async def dispatch(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-middleware"] = "yes"
        return response

    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    client = TestClient(app)
    assert client.get("/").headers["x-middleware"] == "yes"
    assert client.get("/openapi.json").headers["x-middleware"] == "yes"
    assert [one.answered_by for one in answered] == ["plan", "asgi: FastAPI's own router"]


@pytest.mark.parametrize("within", [True, False])
def test_what_changes_between_requests_is_seen(answered: list[testing.Answered], within: bool) -> None:
    app = fastapi_application()
    client = TestClient(app)

    def run() -> None:
        assert client.get("/depends").json() == "from the dependency"
        app.dependency_overrides[answer] = lambda: "overridden"
        assert client.get("/depends").json() == "overridden"
        app.dependency_overrides.clear()
        assert client.get("/depends").json() == "from the dependency"
        app.get("/added")(lambda: "added")
        # Finds out, and is answered without a plan.
        assert client.get("/added").json() == "added"
        assert client.get("/added").json() == "added"

    if within:
        with client:
            run()
    else:
        run()
    assert [one.answered_by for one in answered] == [
        "plan",
        "plan",
        "plan",
        "asgi: the routes have changed",
        "plan",
    ]


def test_middleware_that_cannot_be_made_fails_the_request() -> None:
    class Broken:
        def __init__(self, app: Any) -> None:
            raise ZeroDivisionError

    app = fastapi_application()
    app.add_middleware(Broken)
    client = TestClient(app)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            client.get("/")


def test_an_unhandled_error_of_a_plan_is_raised(answered: list[testing.Answered]) -> None:
    app = FastAPI()
    error = KeyError("in the endpoint")

    @app.get("/")
    def home() -> None:
        raise error

    with pytest.raises(KeyError) as raised:
        TestClient(app).get("/")
    assert raised.value is error
    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
    assert [one.answered_by for one in answered] == ["plan", "plan"]


def test_a_plans_background_tasks_are_waited_for() -> None:
    app = FastAPI()
    done = threading.Event()

    @app.get("/")
    def home(background: BackgroundTasks) -> str:
        background.add_task(lambda: (time.sleep(0.05), done.set()))
        return "home"

    assert TestClient(app).get("/").json() == "home"
    assert done.is_set()


def test_root_path_client_and_state_reach_a_plan() -> None:
    app = FastAPI()

    @app.get("/items/{number}")
    async def item(request: Request, number: int) -> Any:
        return [str(request.url), str(request.url_for("item", number=2)), request.client, request.state.kept]

    client = TestClient(app, "https://example.org", root_path="/api", client=("1.2.3.4", 5))
    client.app_state["kept"] = "state"
    expected = ["https://example.org/items/1", "https://example.org/api/items/2", ["1.2.3.4", 5], "state"]
    assert client.get("/items/1").json() == expected
    assert client.get("/api/items/1").json() == ["https://example.org/api/items/1", *expected[1:]]


def test_a_server_takes_no_notice_of_the_side_channel(serve: Serve) -> None:
    served = serve("asgi_mirror:app")
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\noverdrive-side-channel: 1\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"(b'overdrive-side-channel', b'1')" in answer


def test_failed_requests_leave_no_descriptors_behind() -> None:
    app = FastAPI()

    @app.get("/")
    async def home() -> None:
        raise ValueError

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    def descriptors() -> int:
        gc.collect()
        return len(os.listdir(DESCRIPTORS)) if DESCRIPTORS.exists() else 0

    kept = []
    for application in (app, bare):
        client = TestClient(application)
        with pytest.raises(ValueError):  # noqa: PT011
            client.get("/")
        before, threads = descriptors(), threading.active_count()
        for _ in range(30):
            with pytest.raises(ValueError) as raised:  # noqa: PT011
                client.get("/")
            # With its frames, and what they hold of the request.
            kept.append(raised.value)
        del raised
        kept.clear()
        assert descriptors() == before
        assert threading.active_count() == threads


def test_applications_do_not_outlive_their_clients() -> None:
    app: Any = fastapi_application()
    with TestClient(app) as client:
        client.get("/")
    TestClient(app).get("/")
    alive = weakref.ref(app)
    testing.answers.clear()
    del app, client
    gc.collect()
    assert alive() is None


def test_a_client_works_within_a_running_loop() -> None:
    async def use() -> Any:
        return TestClient(fastapi_application()).get("/").json()

    assert asyncio.run(use()) == {"hello": "world"}


def test_uvloop_can_be_asked_for() -> None:
    app = FastAPI()

    @app.get("/")
    async def loop() -> str:
        return type(asyncio.get_running_loop()).__module__

    client = TestClient(app, backend_options={"use_uvloop": True})
    assert client.get("/").json() == "uvloop"
    with client:
        assert client.get("/").json() == "uvloop"


def test_trio_is_served_in_process_and_says_so(answered: list[testing.Answered]) -> None:
    app = fastapi_application()

    @app.get("/backend")
    async def backend() -> str:
        import sniffio

        return sniffio.current_async_library()

    with pytest.warns(testing.InProcessWarning, match="in-process"):
        client = TestClient(app, backend="trio")
    assert client.get("/backend").json() == "trio"
    with client:
        assert client.portal is not None
        assert client.get("/backend").json() == "trio"
        with client.websocket_connect("/ws") as websocket:
            assert websocket.receive()["type"] == "websocket.close"
    assert client.portal is None
    assert not answered


def test_no_warning_comes_of_importing_and_using_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert TestClient(fastapi_application()).get("/").status_code == 200
        gc.collect()
