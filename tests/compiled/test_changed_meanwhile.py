"""Routes that change while they are compiled, as happens in a server that compiles them again between requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi import APIRouter, FastAPI

from overdrive.compiler import Compilation, compile_in_steps


def application() -> tuple[FastAPI, APIRouter]:
    app, included = FastAPI(openapi_url=None), APIRouter()
    for number in range(5):
        app.get(f"/own/{number}")(lambda: None)
        included.get(f"/included/{number}")(lambda: None)
    app.include_router(included)
    return app, included


def add_first(app: FastAPI, included: APIRouter) -> None:
    app.get("/new")(lambda: None)
    app.router.routes.insert(0, app.router.routes.pop())


def add_last(app: FastAPI, included: APIRouter) -> None:
    app.get("/new")(lambda: None)


def add_to_included(app: FastAPI, included: APIRouter) -> None:
    included.routes.insert(0, included.routes[-1])


def remove(app: FastAPI, included: APIRouter) -> None:
    app.router.routes.pop(0)


async def receive() -> object:
    raise AssertionError("nothing is received")


async def send(message: object) -> None:
    raise AssertionError("nothing is sent")


@pytest.mark.parametrize("steps", [1, 3, 8])
@pytest.mark.parametrize("change", [add_first, add_last, add_to_included, remove])
def test_the_next_request_finds_a_change_between_two_steps(
    change: Callable[[FastAPI, APIRouter], None], steps: int
) -> None:
    app, included = application()
    changes: list[str] = []
    compilation = compiled(app, lambda: changes.append("found"), steps, lambda: change(app, included))
    assert compilation.plans is not None
    scope = {"type": "http", "method": "GET", "path": "/new", "headers": [], "query_string": b"", "root_path": ""}
    assert compilation.plans.call(scope, receive, send, False) is None
    assert changes == ["found"]
    # Compiled once more, with nothing between the steps, it holds.
    compilation = compiled(app, lambda: changes.append("again"), 0, lambda: None)
    assert compilation.plans is not None
    compilation.plans.call({**scope, "path": "/nowhere"}, receive, send, False)
    assert changes == ["found"]


def compiled(app: FastAPI, on_change: Callable[[], object], steps: int, meanwhile: Callable[[], None]) -> Compilation:
    """What compiling in steps comes to if something happens after so many of them."""
    compiling = compile_in_steps(app, on_change)
    for _ in range(steps):
        next(compiling)
    meanwhile()
    while True:
        try:
            next(compiling)
        except StopIteration as end:
            result: Compilation = end.value
            return result
