"""Applications below others: FastAPI's in all the places where they can be mounted, and what is none of FastAPI's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Depends,
    FastAPI,
    File,
    Form,
    HTTPException,
    Path,
    Request,
    Response,
    UploadFile,
    WebSocket,
    WebSocketException,
)
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.routing import Host, Mount, Route
from starlette.types import Receive, Scope, Send

from .journal import add_journal, note, where
from .layer import Layer


class Ours(Exception):
    """Handled by the application that is mounted."""


class Theirs(Exception):
    """Handled by the application around alone."""


class Item(BaseModel):
    """A body."""

    name: str
    price: float = 1


app = FastAPI(openapi_url=None)


@app.exception_handler(Theirs)
async def outer_theirs(request: Request, error: Theirs) -> JSONResponse:
    note(f"outer handler of Theirs {request.scope['root_path']} {request.app is app}")
    return JSONResponse({"outer": "theirs"}, 409)


@app.exception_handler(Exception)
async def outer_any(request: Request, error: Exception) -> JSONResponse:
    note(f"outer handler of {type(error).__name__}")
    return JSONResponse({"outer": "any"}, 500)


@app.exception_handler(HTTPException)
async def outer_http(request: Request, error: HTTPException) -> JSONResponse:
    note("outer handler of HTTPException")
    return JSONResponse({"outer": error.detail}, error.status_code)


async def journal_of(request: HTTPConnection) -> AsyncIterator[str]:
    note("enter")
    try:
        yield request.scope["root_path"]
    except BaseException as error:
        note(f"sees {type(error).__name__}")
        raise
    finally:
        note("exit")


def leaf(q: int = 0) -> str:
    note(f"leaf {where()}")
    return f"leaf {q}"


Journal = Annotated[str, Depends(journal_of)]


@asynccontextmanager
async def never_run(app: FastAPI) -> AsyncIterator[None]:
    note("a lifespan nobody should run")
    app.state.started = True
    yield


def seen(request: Request | WebSocket) -> dict[str, Any]:
    """Everything that a request can tell of the mounts that it has passed."""
    scope = request.scope
    fastapi = scope.get("fastapi", {})
    effective = fastapi.get("effective_route_context")
    return {
        "keys": sorted(scope.keys() - {"extensions"}),
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode("latin-1"),
        "root_path": scope["root_path"],
        "app_root_path": scope.get("app_root_path"),
        "path_params": request.path_params,
        "app": getattr(scope["app"], "title", None),
        "router": scope["router"] is app.router,
        "route": getattr(scope["route"], "path", None),
        "endpoint": getattr(scope["endpoint"], "__name__", None),
        "fastapi": sorted(fastapi),
        "context": getattr(getattr(effective, "original_route", None), "path", None),
        # Of WebSockets, whose host is a port of the server's, the path alone.
        "url": str(request.url) if scope["type"] == "http" else request.url.path,
        "base_url": str(request.base_url) if scope["type"] == "http" else request.base_url.path,
        "state": getattr(request.app.state, "name", None),
        "started": getattr(request.app.state, "started", None),
    }


def made(title: str, **options: Any) -> FastAPI:
    """An application with a route of every kind."""
    sub = FastAPI(title=title, lifespan=never_run, **options)
    sub.state.name = title

    @sub.exception_handler(Ours)
    async def ours(request: Request, error: Ours) -> JSONResponse:
        note(f"handler of Ours {request.scope['root_path']}")
        return JSONResponse({"ours": str(error)}, 418)

    @sub.get("/item/{number}", name="item")
    async def item(number: int, journal: Journal, leaf: Annotated[str, Depends(leaf)]) -> dict[str, Any]:
        note("endpoint")
        return {"number": number, "journal": journal, "leaf": leaf}

    @sub.get("/in-thread")
    def in_thread(leaf: Annotated[str, Depends(leaf)]) -> str:
        note(f"endpoint {where()}")
        return leaf

    @sub.post("/item", status_code=201)
    async def post_item(item: Item, journal: Journal) -> Item:
        return item

    @sub.post("/any")
    async def post_any(value: Annotated[Any, Body()]) -> Any:
        return value

    @sub.post("/form")
    async def form(
        request: Request, a: Annotated[str, Form()], file: Annotated[UploadFile | None, File()] = None
    ) -> list[Any]:
        return [a, file.filename if file else None, (await file.read()).decode() if file else None]

    @sub.get("/seen/{number}", name="seen")
    async def see(request: Request, number: int) -> dict[str, Any]:
        return seen(request)

    @sub.get("/seen-in-thread")
    def see_in_thread(request: Request) -> dict[str, Any]:
        return seen(request)

    @sub.get("/tenant")
    async def of_tenant(tenant: Annotated[str, Path()] = "none", number: Annotated[str, Path()] = "none") -> list[str]:
        return [tenant, number]

    @sub.get("/hides/{tenant}")
    async def hides(tenant: str, request: Request) -> list[Any]:
        return [tenant, request.path_params]

    @sub.get("/urls")
    async def urls(request: Request, name: str) -> str:
        return str(request.url_for(name, number=7))

    @sub.get("/fails/{how}")
    async def fails(how: str, journal: Journal) -> Any:
        match how:
            case "ours":
                raise Ours("ours")
            case "theirs":
                raise Theirs
            case "value":
                raise ValueError("a fault")
            case "group":
                raise ExceptionGroup("several", [ValueError("a fault")])
            case "http":
                raise HTTPException(418, "teapot", {"x-refused": "yes"})
            case "invalid":
                raise RequestValidationError([{"type": "own"}])
            case "exit":
                raise SystemError
            case "answer":
                return object()

    @sub.get("/streams/{how}")
    async def streams(how: str, journal: Journal) -> StreamingResponse:
        async def pieces() -> AsyncIterator[str]:
            yield "first"
            match how:
                case "ours":
                    raise Ours("late")
                case "theirs":
                    raise Theirs
                case "value":
                    raise ValueError("late")
            yield "second"

        return StreamingResponse(pieces(), media_type="text/plain")

    @sub.get("/background")
    async def background(tasks: BackgroundTasks, response: Response) -> str:
        tasks.add_task(note, "background")
        response.headers["x-injected"] = "yes"
        return "soon"

    @sub.get("/slashed/")
    async def slashed() -> str:
        return "slashed"

    @sub.websocket("/socket/{number}")
    async def socket(websocket: WebSocket, number: int, journal: Journal, leaf: Annotated[str, Depends(leaf)]) -> None:
        await websocket.accept()
        await websocket.send_json([number, journal, leaf, await websocket.receive_text()])
        await websocket.close(4001, "done")

    @sub.websocket("/socket-seen")
    async def socket_seen(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(seen(websocket))
        await websocket.close()

    @sub.websocket("/socket-fails/{how}")
    async def socket_fails(websocket: WebSocket, how: str, journal: Journal, accept: bool = True) -> None:
        if accept:
            await websocket.accept()
        match how:
            case "websocket":
                raise WebSocketException(4003, "no entry")
            case "ours":
                raise Ours("socket")
            case "theirs":
                raise Theirs
            case "value":
                raise ValueError("a fault")
            case "http":
                raise HTTPException(418)

    router = APIRouter(prefix="/included", dependencies=[Depends(leaf)])

    @router.get("/seen")
    async def see_included(request: Request) -> dict[str, Any]:
        return seen(request)

    sub.include_router(router)
    return sub


# One that is mounted in several places.
sub = made("sub")
deep = made("deep", openapi_url=None)
sub.mount("/deep", deep, name="deep")
app.mount("/sub", sub, name="sub")
app.mount("/tenants/{tenant}/api", sub, name="tenant")
app.mount("/number/{number:int}", sub)
app.mount("/paths/{rest:path}/end", made("paths", openapi_url=None))

# In included routers.
outer, inner = APIRouter(), APIRouter()


@outer.get("/outer-route")
async def outer_route() -> str:
    return "outer"


outer.mount("/mounted", made("included", openapi_url=None), name="included")
inner.include_router(outer, prefix="/outer")
app.include_router(inner, prefix="/inner")

# With a way of its own to do things.
handling = made("handling")


@handling.exception_handler(404)
async def own_404(request: Request, error: HTTPException) -> PlainTextResponse:
    note("own 404")
    return PlainTextResponse("nothing here", 404)


@handling.exception_handler(RequestValidationError)
async def own_422(request: Request, error: RequestValidationError) -> JSONResponse:
    note(f"own 422 {error.errors()[0]['loc']} {getattr(error, 'endpoint_path', None)}")
    return JSONResponse({"context": str(error).splitlines()[-1].strip()}, 422)


@handling.exception_handler(Exception)
async def own_500(request: Request, error: Exception) -> PlainTextResponse:
    note(f"own 500 {type(error).__name__}")
    return PlainTextResponse("own fault", 500)


app.mount("/handling", handling)

layered = made("layered")
layered.add_middleware(Layer)


@layered.middleware("http")
async def dispatching(request: Request, call_next: Callable[[Request], Any]) -> Response:
    note("before")
    response: Response = await call_next(request)
    response.headers["x-dispatched"] = "yes"
    note("after")
    return response


layered.mount("/deep", deep)
app.mount("/layered", layered)

rooted = made("rooted", root_path="/own", openapi_url=None)
app.mount("/rooted", rooted)
app.mount("/no-redirects", made("no redirects", redirect_slashes=False))
app.mount("/served", made("served", servers=[{"url": "/elsewhere"}], root_path_in_servers=True))

app.mount("/small", made("small", max_body_size=20, openapi_url=None))

overriding = made("overriding")
overriding.dependency_overrides[leaf] = lambda: "overridden leaf"
app.mount("/overriding", overriding)


class Derived(FastAPI):
    """A subclass that changes nothing."""


class Own(FastAPI):
    """A subclass with a way of its own."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        note("own call")
        await super().__call__(scope, receive, send)


derived, own = Derived(openapi_url=None), Own(openapi_url=None)
for application in (derived, own):
    application.add_api_route("/item", lambda q=1: {"q": q})
app.mount("/derived", derived)
app.mount("/own", own)

# Not FastAPI's, or not alone.


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application."""
    note(f"raw {scope['path']} {scope['root_path']} {scope['path_params']}")
    await PlainTextResponse(f"{scope['path']} {scope['root_path']}")(scope, receive, send)


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"plain {request.path_params} {request.scope['root_path']}")


app.mount("/raw", raw)
files = FilePath(tempfile.mkdtemp(prefix="differential"))
(files / "file.txt").write_text("a file")
os.utime(files / "file.txt", (1, 1))
app.mount("/static", StaticFiles(directory=files), name="static")
app.mount("/starlette", Mount("", routes=[Route("/{value}", plain)]))
app.router.routes.append(Mount("/within", app=sub, middleware=[Middleware(Layer)]))
app.router.routes.append(Mount("/limited", app=sub, max_body_size=20))
app.router.routes.append(Host("{name}.hosted.test", sub))


# The order of routes counts, too.


@app.get("/sub/item/5")
async def hidden() -> str:
    return "hidden by the mount"


@app.get("/before/item")
async def before() -> str:
    return "before the mount"


app.mount("/before", made("before"))


@app.get("/substance")
async def substance() -> str:
    return "no mount"


@app.get("/urls")
async def all_urls(request: Request) -> list[str]:
    return [
        str(request.url_for("sub:item", number=7)),
        str(request.url_for("sub:deep:item", number=7)),
        str(request.url_for("tenant:item", tenant="t", number=7)),
        str(request.url_for("included:item", number=7)),
        str(request.url_for("static", path="/file.txt")),
    ]


# What changes while it runs.

growing = FastAPI(openapi_url=None)
growing_deep = FastAPI(openapi_url=None)
growing.mount("/deep", growing_deep)
app.mount("/growing", growing)
GROWING = next(route for route in app.router.routes if getattr(route, "app", None) is growing)


@growing.get("/fixed")
async def fixed(leaf: Annotated[str, Depends(leaf)]) -> str:
    return leaf


@app.post("/grow")
async def grow(name: str, how: str = "route") -> int:
    async def endpoint(request: Request) -> str:
        note(f"endpoint {name}")
        return f"{name} {request.scope['root_path']}"

    match how:
        case "route":
            growing.get(f"/{name}")(endpoint)
        case "deep":
            growing_deep.get(f"/{name}")(endpoint)
        case "override":
            growing.dependency_overrides[leaf] = lambda: name
        case "override-around":
            app.dependency_overrides[leaf] = lambda: name
        case "undo":
            growing.dependency_overrides.clear()
            app.dependency_overrides.clear()
        case "swap":
            GROWING.app = deep
        case "swap-back":
            GROWING.app = growing
        case "unmount":
            app.router.routes.remove(GROWING)
        case "mount":
            app.router.routes.append(GROWING)
        case "stack":
            # As one does who has come too late for `add_middleware`.
            growing.middleware_stack = None
            growing.add_middleware(Layer)
    return len(growing.router.routes)


add_journal(app)
