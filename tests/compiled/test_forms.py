"""Forms of plans: read by the engine, and nothing left of their files."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import python_multipart
from fastapi import FastAPI, File, Form, HTTPException, Request, UploadFile
from pydantic import BaseModel
from starlette.formparsers import MultiPartParser

from overdrive.testing import TestClient


class Order(BaseModel):
    """A form."""

    name: str
    count: int = 1


class Layer:
    """Middleware that plans know nothing of."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes everything on."""
        await self.app(scope, receive, send)


def application(*, layered: bool) -> FastAPI:
    """Takes forms of every kind."""
    app = FastAPI()

    @app.post("/order")
    async def order(order: Annotated[Order, Form()]) -> Order:
        return order

    @app.post("/file")
    async def file(file: UploadFile, how: Annotated[str, Form()] = "return") -> int:
        if how == "refuse":
            raise HTTPException(418)
        if how == "raise":
            raise ValueError("the endpoint fails")
        return len(await file.read())

    @app.post("/bytes")
    def contents(file: Annotated[bytes, File()]) -> int:
        return len(file)

    @app.post("/request")
    async def request(request: Request, file: UploadFile, count: Annotated[int, Form()] = 0) -> bool:
        return (await request.form())["file"] is file

    if layered:
        app.add_middleware(Layer)
    return app


@pytest.fixture(params=[False, True], ids=["direct", "below-middleware"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """Asks the application, whose errors are answered."""
    with TestClient(application(layered=request.param), raise_server_exceptions=False) as client:
        yield client


def test_plain_forms_are_no_affair_of_python_multipart(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError("python-multipart is asked")

    # Not the functions that plans mirror: with others in their place, Starlette's parser would read all forms.
    monkeypatch.setattr(python_multipart, "MultipartParser", unwanted)
    monkeypatch.setattr(python_multipart, "QuerystringParser", unwanted)
    assert client.post("/order", data={"name": "n", "count": "2"}).json() == {"name": "n", "count": 2}
    assert client.post("/file", files={"file": b"x" * 5000}).json() == 5000
    assert client.post("/bytes", files={"file": b"x"}).json() == 1
    assert client.post("/request", files={"file": b"x"}).json() is True
    # What is unusual is.
    body = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nn\r\n--b--\r\n'
    for charset, status in (("utf-8", 200), ("latin-1", 400)):
        headers = {"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
        assert client.post("/order", content=body, headers=headers).status_code == status


def test_parsers_of_the_users_own_are_asked(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Own(MultiPartParser):
        async def parse(self) -> Any:
            asked.append(self.spool_max_size)
            return await super().parse()

    monkeypatch.setattr("starlette.requests.MultiPartParser", Own)
    assert client.post("/file", files={"file": b"x"}).json() == 1
    assert len(asked) == 1


@pytest.mark.parametrize("size", [10, 5000], ids=["in-memory", "on-disk"])
def test_nothing_is_left_of_files(client: TestClient, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 1000)

    def upload() -> None:
        for target, data, status in (
            ("/file", {}, 200),
            ("/file", {"how": "refuse"}, 418),
            ("/file", {"how": "raise"}, 500),
            ("/file", {"how": ["a", "b"]}, 200),
            ("/bytes", {}, 200),
            ("/request", {"count": "x"}, 422),
            ("/order", {"name": "n", "count": "x"}, 422),
        ):
            assert client.post(target, data=data, files={"file": b"x" * size}).status_code == status

    async def held() -> tuple[int, int]:
        await asyncio.sleep(0)
        gc.collect()
        files = sum(type(found) is tempfile.SpooledTemporaryFile for found in gc.get_objects())
        return files, len(os.listdir("/proc/self/fd"))

    def holdings() -> tuple[int, int]:
        assert client.portal is not None
        return client.portal.call(held)

    upload()
    before = holdings()
    for _ in range(10):
        upload()
    after = holdings()
    assert before[0] == after[0] == 0
    # What earlier tests have left may be closed meanwhile.
    assert after[1] <= before[1]
