"""What code of the user's finds in the request object, and what it may leave behind there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """State for the scopes."""
    yield {"shared": "state"}


app = FastAPI(lifespan=lifespan, root_path="/api")


# FastAPI looks at the rest of them before an endpoint does, which plans need not.
CACHED = {"_query_params", "_headers", "_cookies"}


@app.get("/attributes")
async def attributes(request: Request) -> Any:
    """The object's own attributes, in order."""
    own = {name: value for name, value in vars(request).items() if name not in CACHED}
    return [type(request).__qualname__, list(own), [value for value in own.values() if value in (None, False)]]


def described(request: Request) -> dict[str, str]:
    """Of the scope whatever can be told in words."""
    scope = request.scope
    return {
        key: repr(scope[key]) for key in sorted(scope) if isinstance(scope[key], (str, bytes, dict, list, type(None)))
    }


async def opened(request: Request) -> AsyncIterator[list[str]]:
    """Has the scope made while a generator is being entered."""
    yield [type(request.scope[key]).__name__ for key in sorted(request.scope) if key.endswith("_astack")]


@app.get("/scope/{name}")
async def scope(request: Request, name: str, stacks: Annotated[list[str], Depends(opened)]) -> Any:
    """The scope, the kinds of the stacks, and what is read from them."""
    told = described(request)
    told.pop("extensions", None)
    # What shields exits is not there where plans leave generators themselves.
    told["fastapi_async_cleanup_scopes"] = ""
    told.pop("headers")
    return [told, request.headers["x-number"], stacks, str(request.url)]


@app.get("/meddle/{name}")
async def meddle(request: Request, name: str) -> Any:
    """Leaves something in every dict and list of the scope, and in the stacks; says whether somebody else has."""
    scope = request.scope
    rooms = [scope, *(value for value in scope.values() if type(value) is dict)]
    found = [key for room in rooms for key in room if key == "left"]
    for room in rooms:
        room["left"] = "behind"
    scope["headers"].append((b"x-left", b"behind"))
    for key in [key for key in scope if key.endswith("_astack")]:
        found += ["callback"] * len(scope[key]._exit_callbacks)
        scope[key].callback(list)
    return [found, len(scope["headers"]), name, sorted(scope["path_params"])]
