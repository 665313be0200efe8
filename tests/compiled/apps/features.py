"""A FastAPI application with a route for each thing that is compiled. It notes what runs, in order, in a journal."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import date
from typing import Annotated, Any, Literal
from weakref import WeakSet

import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
    UploadFile,
)
from fastapi.exceptions import RequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.security import (
    APIKeyCookie,
    APIKeyHeader,
    APIKeyQuery,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
    HTTPDigest,
    OAuth2PasswordBearer,
    SecurityScopes,
)
from pydantic import BaseModel, Field, field_validator

# The server's own tasks.
not_waited_for: WeakSet[asyncio.Task[Any]] = WeakSet()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    not_waited_for.update(asyncio.all_tasks())
    yield


app = FastAPI(lifespan=lifespan)
events: list[str] = []


@app.get("/journal")
async def journal() -> list[str]:
    """What was noted, once every other request is over."""
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine and task not in not_waited_for]
    if others:
        await asyncio.wait(others)
    taken = list(events)
    events.clear()
    return taken


def note(text: str) -> None:
    events.append(text)


# ---- parameters ----


class Filter(BaseModel):
    model_config = {"extra": "forbid"}
    limit: int = Field(10, gt=0, le=100)
    tags: list[str] = []
    order: Literal["a", "b"] = "a"


class CommonHeaders(BaseModel):
    x_token: str
    x_many: list[str] = []


@app.get("/path/{text}/{number:int}/{real:float}/{key:uuid}/{rest:path}")
async def path_convertors(text: str, number: int, real: float, key: str, rest: str, request: Request) -> Any:
    return [text, number, real, str(key), rest, str(request.url), request.scope["route"].path]


@app.get("/number/{value}")
async def number(value: Annotated[int, Path(ge=1, le=1000)], q: float | None = None) -> Any:
    return {"value": value, "q": q}


@app.get("/query")
async def query(
    q: str,
    many: Annotated[list[int], Query()] = [],  # noqa: B006
    flag: bool = False,
    short: Annotated[str | None, Query(max_length=3, alias="s-h")] = None,
    choice: Literal["x", "y"] = "x",
    made: Annotated[dict[str, int], Depends(lambda: {"a": 1})] = {},  # noqa: B006
) -> Any:
    return {"q": q, "many": many, "flag": flag, "short": short, "choice": choice, "made": made}


@app.get("/mutable")
async def mutable(
    stamped: Annotated[str, Query(default_factory=lambda: "made")],
    many: Annotated[list[str], Query()] = ["a"],  # noqa: B006
) -> Any:
    many.append("b")
    return {"many": many, "stamped": stamped}


@app.get("/filter")
async def filter_model(given: Annotated[Filter, Query()]) -> Filter:
    return given


@app.get("/headers")
async def headers(
    user_agent: Annotated[str, Header()],
    x_values: Annotated[list[str] | None, Header()] = None,
    strange: Annotated[str | None, Header(convert_underscores=False)] = None,
    one: Annotated[int | None, Cookie()] = None,
    two: Annotated[str | None, Cookie()] = None,
) -> Any:
    return {"agent": user_agent, "values": x_values, "strange": strange, "one": one, "two": two}


@app.get("/header-model")
async def header_model(given: Annotated[CommonHeaders, Header()]) -> Any:
    return given


# ---- bodies ----


class Item(BaseModel):
    name: str
    price: float = 1.5
    tags: set[str] = set()
    nested: "Item | None" = None

    @field_validator("name")
    @classmethod
    def no_bad_names(cls, value: str) -> str:
        note(f"validated {value}")
        if value == "bad":
            raise ValueError("a bad name")
        return value


@app.post("/item")
async def one_body(item: Item) -> Item:
    return item


@app.post("/optional")
async def optional_body(item: Item | None = None) -> Any:
    return {"item": item}


@app.post("/several/{key}")
async def several_bodies(key: int, item: Item, amount: Annotated[int, Body()], q: str = "none") -> Any:
    return {"key": key, "item": item, "amount": amount, "q": q}


@app.post("/embedded")
async def embedded_body(item: Annotated[Item, Body(embed=True)]) -> Any:
    return item


@app.post("/any")
async def any_body(content: Annotated[Any, Body()], request: Request) -> Any:
    return {"content": content, "same": content is await request.json(), "bytes": len(await request.body())}


@app.post("/union")
async def union_body(content: int | list[int] | dict[str, int]) -> Any:
    return {"type": type(content).__name__, "content": content}


@app.post("/raw")
async def raw_body(request: Request) -> Any:
    return {"length": len(await request.body())}


class Signup(BaseModel):
    model_config = {"extra": "forbid"}
    name: str = Field(min_length=2)
    ages: list[int] = []


@app.post("/form/{key}")
async def form(key: int, name: Annotated[str, Form()], ages: Annotated[list[int], Form()] = [], q: int = 1) -> Any:  # noqa: B006
    return {"key": key, "name": name, "ages": ages, "q": q}


@app.post("/form-model")
async def form_model(given: Annotated[Signup, Form()]) -> Any:
    return given


@app.post("/files")
async def files(
    one: UploadFile,
    raw: Annotated[bytes, File()],
    many: list[UploadFile] | None = None,
    note_: Annotated[str, Form()] = "",
) -> Any:
    return [
        one.filename,
        one.size,
        (await one.read()).decode(),
        raw.decode(),
        [file.filename for file in many or []],
        note_,
    ]


# ---- dependencies ----

state: ContextVar[str] = ContextVar("state", default="unset")


async def first() -> str:
    note("first")
    state.set("set by first")
    return "1"


def second(one: Annotated[str, Depends(first)]) -> str:
    note("second")
    state.set("set in a thread")
    return one + "2"


class Third:
    def __init__(self, two: Annotated[str, Depends(second)], q: int = 0) -> None:
        note(f"third {q}")
        self.value = f"{two}3{q}"


class Fourth:
    async def __call__(self, one: Annotated[str, Depends(first)]) -> str:
        note("fourth")
        return one + "4"


fourth = Fourth()


@app.get("/tree")
async def tree(
    three: Annotated[Third, Depends()],
    four: Annotated[str, Depends(fourth)],
    again: Annotated[str, Depends(first, use_cache=False)],
) -> Any:
    note("endpoint")
    return [three.value, four, again, state.get()]


async def needs(x: int) -> int:
    note("needs")
    return x


async def sibling() -> int:
    note("sibling")
    return 1


@app.get("/failing")
async def failing(
    a: Annotated[int, Depends(needs)],
    b: Annotated[int, Depends(sibling)],
    c: Annotated[int, Depends(needs, use_cache=False)],
    y: int,
) -> Any:
    return [a, b, c, y]


async def opened() -> AsyncIterator[str]:
    note("open")
    try:
        yield "resource"
    except BaseException as error:
        note(f"saw {type(error).__name__}")
        raise
    finally:
        note("close")


def opened_in_thread() -> Iterator[str]:
    note(f"open in {threading.current_thread().name}")
    try:
        yield "thread resource"
    finally:
        note("close in a thread")


async def swallowing() -> AsyncIterator[int]:
    try:
        yield 1
    except ValueError:
        note("swallowed")


async def turning() -> AsyncIterator[int]:
    try:
        yield 1
    except RequestValidationError as error:
        raise HTTPException(409, "turned") from error


async def late() -> AsyncIterator[int]:
    yield 1
    raise HTTPException(418, "late")


def task(text: str) -> None:
    note(f"task {text}")


async def async_task(text: str) -> None:
    note(f"async task {text}")


@app.get("/opened")
async def use_opened(resource: Annotated[str, Depends(opened)], tasks: BackgroundTasks, fail: str | None = None) -> Any:
    tasks.add_task(task, "a")
    tasks.add_task(async_task, text="b")
    note("endpoint")
    if fail == "http":
        raise HTTPException(400, {"why": "asked"}, headers={"X-Why": "asked"})
    if fail == "boom":
        raise ValueError("boom")
    return resource


@app.get("/opened-for-function")
async def use_opened_for_function(
    inner: Annotated[str, Depends(opened, scope="function")],
    outer: Annotated[str, Depends(opened, scope="request")],
    tasks: BackgroundTasks,
) -> Any:
    tasks.add_task(task, "after")
    return [inner, outer]


@app.get("/opened-in-thread")
def use_opened_in_thread(
    resource: Annotated[str, Depends(opened_in_thread)], other: Annotated[str, Depends(opened)], fail: bool = False
) -> Any:
    if fail:
        raise ValueError("boom")
    return [resource, other]


@app.get("/opened-and-seen")
async def use_opened_and_seen(request: Request, resource: Annotated[str, Depends(opened)]) -> Any:
    return sorted(key for key in request.scope if key != "extensions")


@app.get("/swallow")
async def swallow(a: Annotated[int, Depends(swallowing)]) -> Any:
    raise ValueError("lost")


@app.get("/swallow-for-function")
async def swallow_for_function(a: Annotated[int, Depends(swallowing, scope="function")]) -> Any:
    raise ValueError("lost")


@app.get("/turn")
async def turn(a: Annotated[int, Depends(turning)], x: int) -> Any:
    return x


@app.get("/late")
async def late_for_request(a: Annotated[int, Depends(late)]) -> Any:
    return 1


@app.get("/late-for-function")
async def late_for_function(a: Annotated[int, Depends(late, scope="function")]) -> Any:
    return 1


async def meddle(request: Request) -> None:
    request.scope["path_params"]["value"] = "77"
    request.scope["query_string"] = b"q=meddled"


@app.get("/meddled/{value}", dependencies=[Depends(meddle)])
async def meddled(value: int, q: str) -> Any:
    return [value, q]


async def enrich(content: Annotated[Any, Body()]) -> None:
    content["added"] = True


@app.post("/enriched", dependencies=[Depends(enrich)])
async def enriched(content: Annotated[Any, Body()]) -> Any:
    return content


async def guard(authorization: Annotated[str | None, Header()] = None) -> None:
    if authorization is None:
        raise HTTPException(401, "who?", {"WWW-Authenticate": "Basic"})


@app.post("/guarded", dependencies=[Depends(guard)])
async def guarded(item: Item) -> Any:
    return item


# ---- security ----

oauth2 = OAuth2PasswordBearer("token", scopes={"read": "read", "write": "write"})
optional_oauth2 = OAuth2PasswordBearer("token", auto_error=False)


async def user(scopes: SecurityScopes, token: Annotated[str, Depends(oauth2)]) -> Any:
    return {"token": token, "scopes": scopes.scopes, "text": scopes.scope_str}


@app.get("/me")
async def me(given: Annotated[Any, Security(user, scopes=["read"])], opened: Annotated[str, Depends(opened)]) -> Any:
    return given


@app.get("/both")
async def both(
    a: Annotated[Any, Security(user, scopes=["write"])], b: Annotated[Any, Security(user, scopes=["read"])]
) -> Any:
    return [a, b]


@app.get("/maybe")
async def maybe(token: Annotated[str | None, Depends(optional_oauth2)]) -> Any:
    return token


@app.get("/basic")
async def basic(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic(realm="r"))]) -> Any:
    return given


@app.get("/bearer")
async def bearer(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> Any:
    return given


@app.get("/digest")
async def digest(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPDigest())]) -> Any:
    return given


@app.get("/keys")
async def keys(
    header: Annotated[str | None, Security(APIKeyHeader(name="X-Key", auto_error=False))],
    query: Annotated[str | None, Security(APIKeyQuery(name="key", auto_error=False))],
    cookie: Annotated[str, Security(APIKeyCookie(name="session"))],
) -> Any:
    return [header, query, cookie]


# ---- responses ----


class Public(BaseModel):
    name: str
    secret: str | None = None
    shown_as: int = Field(3, alias="shownAs")


@app.get("/model", response_model=Public, response_model_exclude_none=True)
async def model() -> Any:
    return {"name": "n", "other": 1, "shownAs": "5"}


@app.get("/model-wrong", response_model=Public)
async def model_wrong() -> Any:
    return {"nome": "n"}


@app.get("/model-unset", response_model=Public, response_model_exclude_unset=True, response_model_by_alias=False)
async def model_unset() -> Any:
    return Public(name="x")


@app.get("/models")
def models() -> list[Public]:
    return [Public(name="a"), Public(name="b", secret="s")]


@app.get("/model-explicit", response_model=dict[str, float], response_class=JSONResponse)
async def model_explicit() -> Any:
    return {"small": 1e-07, "big": 1e20}


@app.get("/model-floats", response_model=dict[str, float])
async def model_floats() -> Any:
    return {"small": 1e-07, "nan": float("nan")}


@app.get("/plain-values")
async def plain_values() -> Any:
    return {
        "_sa_state": 1,
        "nested": {"_sa": 1, "kept": [1, {"_sa1": 2}]},
        1: 2,
        None: 3,
        1.5: True,
        "text": 'é"\\\n\x01\u2028\U0001f600',
        "floats": [0.1, 1e16, 1e-7, -0.0, 123456789.123456789],
        "ints": [0, -1, 2**70],
        "tuple": (1, None, False),
        "date": date(2020, 1, 2),
        "model": Item(name="m"),
    }


@app.get("/not-a-number")
async def not_a_number() -> Any:
    return {"a": float("inf")}


@app.get("/surrogate")
async def surrogate() -> Any:
    return {"a": "\ud800"}


@app.get("/html", response_class=HTMLResponse)
async def html() -> Any:
    return "<p>é</p>"


@app.get("/text", response_class=PlainTextResponse, status_code=203)
def text() -> Any:
    return "text"


@app.get("/redirected", response_class=RedirectResponse)
async def redirected() -> Any:
    return "/text"


@app.get("/nothing", status_code=204)
async def nothing() -> None:
    return None


@app.get("/injected", status_code=201)
async def injected(response: Response, fail: bool = False) -> Any:
    response.headers["X-One"] = "1"
    response.headers["Content-Type"] = "text/weird"
    response.set_cookie("a", "b")
    response.set_cookie("c", "d", httponly=True)
    response.status_code = 202
    if fail:
        raise HTTPException(400)
    return {"a": 1}


@app.get("/returned")
async def returned(response: Response, tasks: BackgroundTasks) -> Any:
    response.headers["X-Lost"] = "1"
    tasks.add_task(task, "kept")
    return Response(b"own", 207, {"X-Own": "1"}, "text/own")


@app.get("/streamed")
async def streamed() -> Any:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"a", b"b", b"c"):
            yield piece

    return StreamingResponse(pieces(), media_type="text/plain")


# ---- errors ----


class Oops(Exception):
    pass


class SyncOops(Exception):
    pass


@app.exception_handler(Oops)
async def handle_oops(request: Request, error: Exception) -> Response:
    body = (await request.body()).decode()
    return JSONResponse({"oops": str(error), "body": body, "endpoint": request.scope["endpoint"].__name__}, 499)


@app.exception_handler(SyncOops)
def handle_sync_oops(request: Request, error: Exception) -> Response:
    note(f"handled in {threading.current_thread().name}")
    return PlainTextResponse("sync", 498)


@app.post("/oops")
async def oops(content: Annotated[Any, Body()]) -> Any:
    raise Oops("raised")


@app.get("/sync-oops")
def sync_oops() -> Any:
    raise SyncOops


@app.get("/boom")
async def boom() -> Any:
    raise RuntimeError("boom")


@app.get("/stop")
def stop() -> Any:
    raise StopIteration("no")


@app.get("/http/{status}")
async def http_error(status: int, detail: str | None = None) -> Any:
    raise HTTPException(status, detail, {"X-A": "b", "Content-Type": "text/x"} if detail else None)


# ---- threads, connections, routing ----


@app.get("/in-thread")
def in_thread(wait: float = 0) -> Any:
    time.sleep(wait)
    name = threading.current_thread().name
    return [name, state.get(), anyio.from_thread.run(asyncio.sleep, 0, "from the loop")]


@app.get("/connection")
async def connection(given: HTTPConnection) -> Any:
    return [given.url.path, dict(given.query_params), given.scope["method"]]


@app.get("/waits")
async def waits() -> Any:
    await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
    with anyio.move_on_after(5):
        await anyio.lowlevel.checkpoint()
    return "waited"


@app.get("/scoped-thread")
async def scoped_thread(result: Annotated[str, Depends(first)]) -> Any:
    with anyio.CancelScope():
        return await anyio.to_thread.run_sync(lambda: threading.current_thread().name)


@app.api_route("/many-methods", methods=["PUT", "PATCH", "HEAD"])
async def many_methods(request: Request) -> Any:
    return request.method


@app.get("/first/{name}")
async def first_match(name: str) -> Any:
    return f"parameter {name}"


@app.get("/first/literal")
async def never_reached() -> Any:
    return "literal"


@app.post("/first/literal")
async def reached_by_post() -> Any:
    return "posted"


async def of_router(q: str = "router") -> None:
    note(f"router {q}")


inner = APIRouter(prefix="/inner", dependencies=[Depends(of_router)])
outer = APIRouter(prefix="/outer")


@inner.get("/{name}", name="inner-route")
async def included(name: str, request: Request) -> Any:
    return [name, request.scope["route"].path, str(request.url_for("inner-route", name="x"))]


@inner.get("/limited/body")
async def limited() -> Any:
    return "limited"


outer.include_router(inner, prefix="/more")
app.include_router(outer)
app.include_router(inner)

sub = FastAPI()


@sub.get("/here")
async def mounted(request: Request) -> Any:
    return [request.scope["root_path"], request.url.path]


app.mount("/sub", sub)


@app.post("/limited", response_model=None)
async def body_limit(request: Request) -> Any:
    return len(await request.body())


@app.post("/add-route")
async def add_route() -> Any:
    async def added() -> Any:
        return "added"

    app.add_api_route("/added", added)
    return "done"


async def replacement() -> str:
    return "overridden"


@app.post("/override")
async def override(on: bool) -> Any:
    app.dependency_overrides = {first: replacement} if on else {}
    return on


@app.get("/overridden")
async def overridden(value: Annotated[str, Depends(first)]) -> Any:
    return value
