"""Dependency overrides are compiled, too: a variant of the plan for each mapping that is in force."""

from __future__ import annotations

from collections import UserDict
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Cookie, Depends, FastAPI, Form, Header, HTTPException, Security
from fastapi.security import SecurityScopes
from pydantic import BaseModel

from overdrive import testing
from overdrive.testing import TestClient

Overrides = dict[Callable[..., Any], Callable[..., Any]]
journal: list[str] = []


def leaf(q: int = 0) -> str:
    return f"leaf {q}"


async def branch(leaf: Annotated[str, Depends(leaf)]) -> str:
    return f"branch of {leaf}"


async def resource() -> AsyncIterator[str]:
    journal.append("opened")
    yield "resource"
    journal.append("closed")


def scopes(security_scopes: SecurityScopes) -> list[str]:
    return security_scopes.scopes


class Provider:
    """An object with overrides that is no application."""

    def __init__(self) -> None:
        self.dependency_overrides: Overrides = {}


provider = Provider()


def application() -> FastAPI:
    """Routes with dependencies of all kinds."""
    app = FastAPI()

    @app.get("/tree", dependencies=[Depends(branch)])
    async def tree(
        branch: Annotated[str, Depends(branch)],
        leaf: Annotated[str, Depends(leaf)],
        again: Annotated[str, Depends(leaf, use_cache=False)],
        resource: Annotated[str, Depends(resource)],
        early: Annotated[str, Depends(resource, scope="function")],
        scopes: Annotated[list[str], Security(scopes, scopes=["a", "b"])],
    ) -> list[Any]:
        journal.append("endpoint")
        return [branch, leaf, again, resource, early, scopes]

    @app.post("/body")
    def body(leaf: Annotated[str, Depends(leaf)], item: Annotated[dict[str, int], Body()]) -> list[Any]:
        return [leaf, item]

    router = APIRouter(prefix="/own", dependency_overrides_provider=provider)

    @router.get("/leaf")
    async def own(leaf: Annotated[str, Depends(leaf)]) -> str:
        return leaf

    app.router.routes.extend(router.routes)
    return app


def in_thread() -> str:
    journal.append("in a thread")
    return "other"


async def with_parameters(
    q: Annotated[int, Header(alias="x-q")], c: Annotated[str, Cookie()] = "none", other: str = "o"
) -> str:
    return f"{q} {c} {other}"


async def with_resource(resource: Annotated[str, Depends(resource)]) -> str:
    return f"with {resource}"


def closing() -> Iterator[str]:
    journal.append("opened in a thread")
    yield "from a thread"
    journal.append("closed in a thread")


async def with_body(item: Annotated[dict[str, int], Body()]) -> str:
    return str(item)


async def raising() -> None:
    raise HTTPException(418, "no")


class Other(BaseModel):
    """A dependency that is a class."""

    q: str = "class"


async def with_scopes(security_scopes: SecurityScopes, leaf: Annotated[str, Security(leaf, scopes=["c"])]) -> Any:
    return [*security_scopes.scopes, leaf]


OVERRIDES: dict[str, Overrides] = {
    "in a thread": {leaf: in_thread},
    "with parameters": {leaf: with_parameters},
    "with a resource": {leaf: with_resource},
    "a resource by a function": {resource: in_thread},
    "a resource in a thread": {resource: closing},
    "with a body": {leaf: with_body},
    "raising": {branch: raising},
    "raising after a resource": {scopes: raising},
    "a class": {leaf: Other},
    "scopes": {scopes: with_scopes},
    "several": {leaf: in_thread, branch: with_parameters, resource: closing, scopes: with_scopes},
    "none of the route's": {raising: in_thread},
}


@pytest.fixture
def answered() -> Iterator[list[testing.Answered]]:
    """What a listener is told."""
    told: list[testing.Answered] = []
    testing.listeners.append(told.append)
    yield told
    testing.listeners.remove(told.append)
    provider.dependency_overrides = {}


def outcomes(client: TestClient) -> list[Any]:
    """What some requests come to."""
    found = []
    for ask in (
        lambda: client.get("/tree"),
        lambda: client.get("/tree?q=x", headers={"x-q": "1", "cookie": "c=d"}),
        lambda: client.get("/tree?q=3", headers={"x-q": "1", "cookie": "c=d"}),
        lambda: client.post("/body?q=2", json={"a": 1}),
        lambda: client.post("/body", json={"item": {"a": 1}}, headers={"x-q": "y"}),
    ):
        journal.clear()
        response = ask()
        found.append((response.status_code, response.headers, response.content, list(journal)))
    return found


@pytest.mark.parametrize("name", OVERRIDES)
def test_plans_answer_as_fastapi_does(answered: list[testing.Answered], name: str) -> None:
    app = application()
    stock, compiled = TestClient(app, compile="off"), TestClient(app)
    before = outcomes(stock)
    app.dependency_overrides = OVERRIDES[name]
    expected = outcomes(stock)
    answered.clear()
    assert outcomes(compiled) == expected
    assert outcomes(compiled) == expected
    app.dependency_overrides = {}
    assert outcomes(compiled) == before
    assert {one.answered_by for one in answered} == {"plan"}


def test_a_mapping_counts_as_soon_as_it_changes(answered: list[testing.Answered]) -> None:
    app = application()
    client = TestClient(app)
    overrides = app.dependency_overrides

    def shown() -> Any:
        return client.get("/tree").json()[1]

    assert shown() == "leaf 0"
    for number in range(12):
        overrides[leaf] = lambda number=number: str(number)  # type: ignore[misc]
        assert shown() == str(number)
    overrides[leaf] = in_thread
    assert shown() == "other"
    # Of the same length, and with the same values.
    del overrides[leaf]
    overrides[raising] = in_thread
    assert shown() == "leaf 0"
    app.dependency_overrides = {leaf: in_thread}
    assert shown() == "other"
    app.dependency_overrides = {}
    assert shown() == "leaf 0"
    assert {one.answered_by for one in answered} == {"plan"}


def test_a_route_asks_its_own_provider(answered: list[testing.Answered]) -> None:
    app = application()
    client = TestClient(app)
    app.dependency_overrides = {leaf: raising}
    assert client.get("/own/leaf").json() == "leaf 0"
    provider.dependency_overrides = {leaf: in_thread}
    assert client.get("/own/leaf").json() == "other"
    app.dependency_overrides = {}
    assert client.get("/own/leaf").json() == "other"
    assert client.get("/tree").json()[1] == "leaf 0"
    assert [one.answered_by for one in answered] == ["plan"] * 4


class Asked(UserDict[Any, Any]):
    """A mapping that makes up what it has."""

    def get(self, key: Any, default: Any = None) -> Any:
        return in_thread if key is leaf else default


def test_mappings_of_their_own_kind_are_fastapis(answered: list[testing.Answered]) -> None:
    app = application()
    client = TestClient(app)
    app.dependency_overrides = Asked()  # type: ignore[assignment]
    assert client.get("/tree").json()[1] == "leaf 0"
    app.dependency_overrides = Asked({1: 2})  # type: ignore[assignment]
    assert client.get("/tree").json()[1] == "other"
    assert [one.answered_by for one in answered] == ["plan", "asgi: dependency_overrides that are no plain dict"]


def test_what_no_variant_is_made_of_is_fastapis(answered: list[testing.Answered]) -> None:
    async def form(field: Annotated[str, Form()] = "default") -> str:
        return field

    async def refused(other: TestClient) -> str:
        return str(other)

    app = application()
    client = TestClient(app, raise_server_exceptions=False)
    stock = TestClient(app, compile="off", raise_server_exceptions=False)
    for overrides in ({leaf: form}, {leaf: refused}):
        app.dependency_overrides = overrides
        asked = client.get("/tree"), stock.get("/tree")
        assert asked[0].content == asked[1].content
    assert [one.answered_by for one in answered if one.answered_by != "asgi"] == [
        "asgi: dependency_overrides: a form that the route does not declare",
        "asgi: an override that FastAPI refuses",
    ]
