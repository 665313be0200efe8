"""Where a request goes: methods, nested routers, prefixes, slashes, mounted applications."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Host, Mount, Route
from starlette.types import Receive, Scope, Send

from .journal import note
from .layer import Layer

router = APIRouter(prefix="/places")


# Methods.


@router.api_route("/many", methods=["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
async def many_methods(request: Request):
    note(f"endpoint {request.method}")
    return {"method": request.method}


@router.api_route("/odd", methods=["PURGE", "get"])
async def odd_methods(request: Request):
    return request.method


@router.get("/split")
async def split_get():
    return "get"


@router.post("/split")
async def split_post():
    return "post"


@router.put("/split")
async def split_put():
    return "put"


@router.head("/split-head")
async def split_head():
    note("head")
    return "never sent"


@router.get("/split-head")
async def split_head_get():
    return "get"


@router.options("/only-options")
async def only_options():
    return "options"


@router.trace("/only-trace")
async def only_trace():
    return "trace"


@router.get("/one-of/{value}")
async def one_of(value: int):
    return value


@router.post("/one-of/fixed")
async def one_of_fixed():
    return "fixed"


@router.delete("/one-of/{name}")
async def one_of_named(name: str):
    return name


# Slashes.


@router.get("/bare")
async def bare():
    return "bare"


@router.get("/slashed/")
async def slashed():
    return "slashed"


@router.post("/slashed/")
async def slashed_post(body: dict[str, int]):
    return body


@router.get("/both")
async def both_bare():
    return "both"


@router.get("/both/")
async def both_slashed():
    return "both/"


@router.get("/slashed-parameter/{value}/")
async def slashed_parameter(value: str):
    return value


@router.get("")
async def prefix_itself():
    return "prefix"


# Nested routers.


async def outer_dependency(x_outer: Annotated[str, Header()] = "none"):
    note(f"outer {x_outer}")


async def included_dependency():
    note("included")


async def inner_dependency(q: int = 0):
    note(f"inner {q}")


async def route_dependency():
    note("route")


class Framed(JSONResponse):
    """The response class of a router."""

    def render(self, content: Any) -> bytes:
        return b"[" + super().render(content) + b"]"


innermost = APIRouter()


@innermost.get("/leaf", dependencies=[Depends(route_dependency)])
async def leaf(request: Request):
    note("endpoint")
    route = request.scope["route"]
    return {"path": request.url.path, "route": route.path, "name": route.name, "class": type(route).__name__}


@innermost.get("/leaf/{outer_id}")
async def leaf_with_outer(outer_id: int, tenant: str):
    return {"outer_id": outer_id, "tenant": tenant}


inner = APIRouter(prefix="/inner", dependencies=[Depends(inner_dependency)], default_response_class=Framed)
inner.include_router(innermost, prefix="/most/{tenant}")


@inner.get("/framed")
async def framed():
    return 1


@inner.get("/framed-model")
async def framed_model() -> int:
    return 1


@inner.get("/unframed", response_class=HTMLResponse)
async def unframed():
    return "<p>"


outer = APIRouter(prefix="/outer", dependencies=[Depends(outer_dependency)])
outer.include_router(inner, dependencies=[Depends(included_dependency)])
outer.include_router(innermost, prefix="/again/{tenant}", default_response_class=Framed)
router.include_router(outer)
router.include_router(innermost, prefix="/direct/{tenant}")


@innermost.get("/added-after-including")
async def added_after_including():
    return "added"


# The first match wins, across routers.

first = APIRouter(prefix="/across")
second = APIRouter(prefix="/across")


@first.get("/{name}/x")
async def first_any(name: str):
    return f"first {name}"


@second.get("/fixed/x")
async def second_fixed():
    return "second"


@second.get("/fixed/y")
async def second_y():
    return "second y"


@second.post("/{name}/x")
async def second_post(name: str):
    return f"post {name}"


router.include_router(first)
router.include_router(second)


# A route class with a subclass, and overrides that must be seen.


class Timed(APIRoute):
    """A route with a handler of its own around FastAPI's."""

    def get_route_handler(self):  # type: ignore[no-untyped-def]
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            note("before handler")
            response = await original(request)
            response.headers["x-timed"] = "yes"
            note("after handler")
            return response

        return handler


class Picky(APIRoute):
    """A route that matches in its own way."""

    def matches(self, scope: Scope):  # type: ignore[no-untyped-def]
        match, child = super().matches(scope)
        if dict(scope["headers"]).get(b"x-picky") != b"yes":
            return type(match).NONE, {}
        return match, child


timed = APIRouter(prefix="/timed", route_class=Timed)


@timed.get("/item/{number}")
async def timed_item(number: int):
    note("endpoint")
    return number


picky = APIRouter(route_class=Picky)


@picky.get("/picky")
async def picky_item():
    return "picky"


router.include_router(timed)
router.include_router(picky)


@router.get("/picky")
async def not_picky():
    return "not picky"


# Things that are not FastAPI's.


async def plain_route(request: Request) -> Response:
    """An endpoint of Starlette's."""
    note(f"starlette {request.path_params}")
    return PlainTextResponse("starlette")


async def raw_app(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application."""
    note(f"raw {scope['path']} {scope['root_path']}")
    await PlainTextResponse(f"{scope['path']} {scope['root_path']}")(scope, receive, send)


router.routes.append(Route("/places/starlette/{value}", plain_route, methods=["GET", "POST"]))

sub = FastAPI(openapi_url=None)


@sub.get("/item/{number}")
async def sub_item(number: int, request: Request):
    note("sub endpoint")
    return {"number": number, "root_path": request.scope["root_path"], "path": request.scope["path"]}


@sub.get("/fails")
async def sub_fails():
    raise ValueError("a fault in a mounted application")


@sub.get("/http")
async def sub_http():
    raise HTTPException(418)


@sub.get("/slashed/")
async def sub_slashed():
    return "slashed"


async def overridden():
    return "original"


@sub.get("/overridden")
async def sub_overridden(value: Annotated[str, Depends(overridden)]):
    return value


sub.dependency_overrides[overridden] = lambda: "override of the mounted application"

hosted = FastAPI(openapi_url=None)


@hosted.get("/where")
async def hosted_where(request: Request):
    return {"host": request.url.hostname, "params": request.path_params}


# Visible to user code.


@router.get("/seen/{number}", name="a name")
async def seen(request: Request, number: int):
    scope = request.scope
    route = scope["route"]
    return {
        # What a server can do beyond the specification is its own affair.
        "keys": sorted(scope.keys() - {"extensions"}),
        "route": [route.path, route.name, sorted(route.methods), type(route).__name__],
        "endpoint": scope["endpoint"].__name__,
        "fastapi": sorted(scope["fastapi"]),
        "app": type(scope["app"]).__name__,
        "router": type(scope["router"]).__name__,
        "stacks": [type(scope[key]).__name__ for key in sorted(scope) if key.endswith("astack")],
        "type": [scope["type"], scope["http_version"], scope["scheme"], scope["asgi"]],
        "url_for": str(request.url_for("a name", number=7)),
        "base_url": str(request.base_url),
        "url_path_for": request.app.url_path_for("leaf", tenant="t"),
        "path_params": request.path_params,
        "client": request.client.host if request.client else None,
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in request.headers.raw],
        "query": request.query_params.multi_items(),
        "cookies": request.cookies,
        "receive": callable(request.receive),
    }


@router.get("/seen-in-thread/{number}")
def seen_in_thread(request: Request, number: int):
    return [request.scope["route"].path, request.scope["endpoint"].__name__, request.url.path]


@router.get("/disconnected")
async def disconnected(request: Request):
    return await request.is_disconnected()


def place(app: FastAPI) -> None:
    """Adds what stands beside the routers."""
    app.mount("/sub", sub)
    app.mount("/raw", raw_app)
    app.mount("/mounted", Mount("", routes=[Route("/{value}", plain_route)]), name="mounted")
    app.router.routes.append(Host("{name}.hosted.test", hosted))
    app.router.routes.append(
        Mount("/layered", routes=[Route("/{value}", plain_route)], middleware=[Middleware(Layer)]),
    )
    included = APIRouter(routes=[Mount("/mounted", routes=[Route("/{value}", plain_route)])])
    app.include_router(included, prefix="/included")
    app.add_route("/starlette", plain_route)
    app.add_api_route("/added", lambda q=1: {"q": q}, methods=["GET", "POST"], name="added")

    @app.get("/sub/never")
    async def never():
        return "hidden by the mount"
