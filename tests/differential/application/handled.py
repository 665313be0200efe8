"""An application that handles every exception itself, and has settings and dependencies of its own throughout."""

from __future__ import annotations

import json
import os
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from . import bodies, errors, exits, params
from .journal import add_journal, note
from .layer import Layer


class Spaced(JSONResponse):
    """The default response class: JSON with blanks."""

    def render(self, content: Any) -> bytes:
        note("spaced")
        return json.dumps(content, ensure_ascii=False, indent=1).encode()


class Application(FastAPI):
    """An empty subclass, as many applications have one."""


class Router(APIRouter):
    """An empty subclass."""


class Route(APIRoute):
    """An empty subclass."""


async def for_all(request: Request, response: Response):
    """What every request passes first."""
    note(f"for all {request.method} {request.scope['root_path']!r}")
    response.headers["x-for-all"] = "yes"


app = Application(
    dependencies=[Depends(for_all)],
    default_response_class=Spaced,
    redirect_slashes=False,
    root_path="/proxied",
    strict_content_type=False,
    docs_url=None,
    redoc_url=None,
)
errors.handled(app)
errors.handles_everything(app)

own = Router(prefix="/own", route_class=Route)


@own.get("/item")
async def item(request: Request):
    return {"path": request.url.path, "url": str(request.url), "root": request.scope["root_path"], "_sa": 1}


@own.get("/item-with-slash/")
async def item_with_slash() -> dict[str, float]:
    return {"float": 1e-7}


@own.post("/item")
async def post_item(request: Request, item: bodies.Item) -> bodies.Item:
    return item


for theme in (errors, exits, bodies, params):
    app.include_router(theme.router)
app.include_router(own)
add_journal(app)

if os.environ.get("DIFFERENTIAL_LAYERED") == "1":
    app.add_middleware(Layer)
