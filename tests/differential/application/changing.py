"""An application that changes while it runs: overrides, routes, handlers, and the insides of its routes."""

from __future__ import annotations

import os
import re
from collections import UserDict
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Query, Request, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer, SecurityScopes
from starlette.routing import Route

from .journal import add_journal, note
from .layer import Layer

app = FastAPI()


# What is overridden.


async def leaf(n: int = 1):
    note(f"leaf {n}")
    return f"leaf {n}"


async def branch(leaf: Annotated[str, Depends(leaf)]):
    note("branch")
    return f"branch of {leaf}"


async def resource() -> AsyncIterator[str]:
    note("enter resource")
    yield "resource"
    note("exit resource")


async def user(scopes: SecurityScopes, token: Annotated[Any, Depends(HTTPBearer())]):
    note(f"user {scopes.scopes}")
    return token


class Settings:
    """A class that is a dependency."""

    def __init__(self, debug: bool = False) -> None:
        self.name = f"settings {debug}"


@app.get("/tree")
async def tree(branch: Annotated[str, Depends(branch)], leaf: Annotated[str, Depends(leaf)]):
    note("endpoint")
    return [branch, leaf]


@app.get("/tree-in-thread")
def tree_in_thread(branch: Annotated[str, Depends(branch)]):
    return branch


@app.get("/resource")
async def of_resource(value: Annotated[str, Depends(resource)]):
    return value


@app.get("/resource-in-function")
async def of_resource_in_function(value: Annotated[str, Depends(resource, scope="function")]):
    return value


@app.get("/user")
async def of_user(value: Annotated[Any, Security(user, scopes=["me"])]):
    return value


@app.get("/settings")
async def of_settings(settings: Annotated[Settings, Depends()]):
    return settings.name


@app.get("/none")
async def without_dependencies(q: int = 0):
    return q


included = APIRouter(prefix="/included", dependencies=[Depends(leaf)])


@included.get("/tree")
async def included_tree(branch: Annotated[str, Depends(branch)]):
    return branch


app.include_router(included)


# What they are overridden with.


def other_leaf():
    note("other leaf")
    return "other leaf"


async def leaf_with_parameters(q: Annotated[int, Query(gt=5)], settings: Annotated[Settings, Depends()]):
    note("leaf with parameters")
    return f"{q} {settings.name}"


async def leaf_of_leaf(leaf: Annotated[str, Depends(leaf)]):
    # It is overridden itself, without end.
    return leaf


async def leaf_with_body(extra: Annotated[int, Body(embed=True)] = 7):
    return f"body {extra}"


async def other_resource() -> AsyncIterator[str]:
    note("enter other")
    yield "other resource"
    note("exit other")


async def scoped_user(scopes: SecurityScopes):
    return {"overridden": scopes.scopes}


async def raising():
    raise HTTPException(418, "overridden")


OVERRIDES: dict[str, dict[Callable[..., Any], Callable[..., Any]]] = {
    "leaf": {leaf: other_leaf},
    "leaf-with-parameters": {leaf: leaf_with_parameters},
    "leaf-of-leaf": {leaf: leaf_of_leaf},
    "leaf-with-body": {leaf: leaf_with_body},
    "branch": {branch: lambda: "other branch"},
    "resource": {resource: other_resource},
    "resource-by-function": {resource: lambda: "plain resource"},
    "leaf-by-resource": {leaf: other_resource},
    "user": {user: scoped_user},
    "settings": {Settings: lambda: type("Other", (), {"name": "other settings"})()},
    "raising": {leaf: raising},
    "several": {leaf: other_leaf, branch: raising, resource: other_resource},
    "unused": {raising: other_leaf},
}


class Always(UserDict):  # type: ignore[type-arg]
    """A mapping that makes up what it has."""

    def get(self, key: Any, default: Any = None) -> Any:
        note(f"asked for {key.__name__}")
        return other_leaf if key is leaf else default


@app.post("/overrides/{name}")
async def override(name: str, how: str = "update"):
    if how == "update":
        app.dependency_overrides.update(OVERRIDES[name])
    elif how == "replace":
        app.dependency_overrides = dict(OVERRIDES[name])
    return sorted(key.__name__ for key in app.dependency_overrides)


@app.post("/overrides-made-up")
async def override_with_mapping():
    app.dependency_overrides = Always({leaf: leaf})  # type: ignore[assignment]


async def overriding(name: str):
    # From within a request: what follows in the same request is overridden already.
    app.dependency_overrides.update(OVERRIDES[name])
    note("overriding")


@app.get("/overridden-within", dependencies=[Depends(overriding)])
async def overridden_within(leaf: Annotated[str, Depends(leaf)]):
    return leaf


@app.delete("/overrides")
async def no_overrides(how: str = "clear"):
    if how == "clear":
        app.dependency_overrides.clear()
    else:
        app.dependency_overrides = {}


# Routes that come and go.


def made(name: str) -> Callable[..., Any]:
    """An endpoint for a route that is added."""

    async def endpoint(request: Request, leaf: Annotated[str, Depends(leaf)], q: int = 0):
        note(f"endpoint {name}")
        return {"name": name, "leaf": leaf, "q": q, "path": request.url.path}

    return endpoint


def made_in_thread(q: int = 0):
    note("endpoint in thread")
    return {"thread": q}


late = APIRouter(prefix="/late")


@late.get("/item")
async def late_item(leaf: Annotated[str, Depends(leaf)]):
    return f"late {leaf}"


async def plain(request: Request) -> PlainTextResponse:
    note("plain")
    return PlainTextResponse(f"plain {request.url.path}")


@app.post("/routes/{name}")
async def add_route(name: str, how: str = "get"):
    path = f"/added/{name}"
    before = len(app.router.routes)
    match how:
        case "get":
            app.get(path)(made(name))
        case "post":
            app.post(path)(made(name))
        case "thread":
            app.add_api_route(path, made_in_thread)
        case "first":
            app.get(path)(made(name))
            app.router.routes.insert(0, app.router.routes.pop())
        case "included":
            included.get(path)(made(name))
        case "router":
            app.include_router(late)
        case "append":
            app.router.routes.append(Route(path, plain))
        case "mount":
            sub = FastAPI(openapi_url=None)
            sub.get("/item")(made(name))
            app.mount(path, sub)
        case "host":
            app.host(f"{name}.test", late)
        case "websocket":
            app.add_api_websocket_route(path, made(name))
        case "shadow":
            # A route for a path that another has, in front of it.
            app.get("/none")(made("shadow"))
            app.router.routes.insert(0, app.router.routes.pop())
    return len(app.router.routes) - before


@app.delete("/routes")
async def remove_routes():
    # Everything that was added.
    app.router.routes[:] = ORIGINAL_ROUTES
    included.routes[:] = ORIGINAL_INCLUDED
    included._mark_routes_changed()


# The insides of routes.


@app.get("/inside")
async def inside():
    return "inside"


@app.post("/inside/{how}")
async def change_inside(how: str):
    route = _inside
    match how:
        case "endpoint":
            route.endpoint = made("changed")
        case "status":
            route.status_code = 299
        case "response_class":
            route.response_class = PlainTextResponse
        case "call":
            route.dependant.call = another
        case "methods":
            route.methods = {"DELETE"}
        case "app":
            route.app = raw
        case "undo":
            for name, value in INSIDE.items():
                setattr(route, name, value)
            route.dependant.call = inside


async def another():
    return "another"


@app.get("/before/endpoint")
async def before_endpoint():
    return "as constructed"


@app.get("/before/status")
async def before_status():
    return "as constructed"


@app.get("/before/response-model")
async def before_response_model() -> dict[str, int]:
    return {"as": 1}


@app.get("/before/call")
async def before_call():
    return "as constructed"


@app.get("/before/methods")
async def before_methods():
    return "as constructed"


@app.get("/before/app")
async def before_app():
    return "as constructed"


@app.get("/before/handle")
async def before_handle():
    return "as constructed"


@app.get("/before/path/{value}")
async def before_path(value: str):
    return value


@app.get("/before/literal")
async def before_literal():
    return "as constructed"


@app.get("/before/dependencies")
async def before_dependencies():
    return "as constructed"


async def raw(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("raw")(scope, receive, send)


# Handlers and middleware.


class Late(Exception):
    """An exception whose handler is added while the server runs."""


@app.get("/late-error")
async def late_error():
    raise Late


@app.post("/handlers")
async def add_handler():
    # Too late: the stack is built.
    app.add_exception_handler(Late, lambda request, error: PlainTextResponse("handled", 409))


@app.post("/middleware")
async def add_middleware():
    app.add_middleware(Layer)


def change_before(app: FastAPI) -> None:
    """Changes routes after they were made, and before the server starts."""
    routes = {getattr(route, "path", ""): route for route in app.router.routes}
    routes["/before/endpoint"].endpoint = another
    routes["/before/status"].status_code = 299
    routes["/before/response-model"].response_model = None
    routes["/before/response-model"].response_field = None
    routes["/before/call"].dependant.call = another
    routes["/before/methods"].methods = {"DELETE", "PUT"}
    routes["/before/app"].app = raw
    routes["/before/handle"].handle = raw
    # A well-known way to have paths in any case.
    for path in ("/before/path/{value}", "/before/literal"):
        routes[path].path_regex = re.compile(routes[path].path_regex.pattern, re.IGNORECASE)
    routes["/before/dependencies"].dependencies.append(Depends(raising))


change_before(app)
add_journal(app)

ORIGINAL_ROUTES = list(app.router.routes)
ORIGINAL_INCLUDED = list(included.routes)
_inside = next(route for route in ORIGINAL_ROUTES if getattr(route, "path", None) == "/inside")
INSIDE = {name: getattr(_inside, name) for name in ("endpoint", "status_code", "response_class", "methods", "app")}

if os.environ.get("DIFFERENTIAL_LAYERED") == "1":
    app.add_middleware(Layer)
