"""Each request has a request object and a scope of its own, like those that FastAPI on uvicorn makes."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.requests import Request as StarletteRequest

from overdrive.compiler import runtime
from overdrive.testing import TestClient
from tests.compiled.exchange import Request, send
from tests.conftest import Serve

APPS = Path(__file__).parent / "apps"
UVICORN = [sys.executable, "-m", "uvicorn"]

# The later ones are made from what the first has left for them.
REQUESTS = [
    Request("/attributes"),
    Request("/attributes"),
    Request("/scope/a%20b?q=1", headers=(("x-number", "1"), ("x-forwarded-proto", "https"))),
    Request("/scope/b", headers=(("x-number", "2"), ("x-more", "2"))),
    Request("/scope/c?q=2", headers=(("x-number", "3"),)),
    Request("/meddle/a"),
    Request("/meddle/b"),
    Request("/meddle/c"),
    Request("/scope/d", headers=(("x-number", "4"),)),
]


def test_request_objects_are_like_stock_ones_for_every_request(serve: Serve) -> None:
    stock, ours = (serve("request_objects:app", app_dir=APPS, command=command) for command in (UVICORN, None))
    for request in REQUESTS:
        expected, answer = send(stock, request), send(ours, request)
        port = (str(stock.port).encode(), str(ours.port).encode())
        assert (answer.status, answer.body.replace(port[1], port[0])) == (expected.status, expected.body), request


def test_applications_that_share_no_engine_share_no_scopes() -> None:
    app = FastAPI()

    @app.get("/seen")
    async def seen(request: StarletteRequest) -> list[object]:
        return [request.scope["root_path"], request.scope["state"].get("n")]

    for number in range(2):
        with TestClient(app, root_path=f"/{number}") as client:
            assert [client.get("/seen").json()[0] for _ in range(2)] == [f"/{number}"] * 2


def test_a_constructor_that_somebody_has_replaced_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime._request_attributes() is not None
    assert runtime._exit_callbacks() is not None
    made = StarletteRequest.__init__

    def counted(self, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        made(self, *args, **kwargs)

    monkeypatch.setattr(StarletteRequest, "__init__", counted)
    monkeypatch.setattr(contextlib.AsyncExitStack, "__init__", lambda self: contextlib.ExitStack.__init__(self))
    assert runtime._request_attributes() is None
    assert runtime._exit_callbacks() is None
