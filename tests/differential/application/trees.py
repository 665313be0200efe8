"""Dependencies without exits: their order, their kinds, their cache, what they see of each other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
from fastapi import APIRouter, BackgroundTasks, Body, Cookie, Depends, Header, HTTPException, Path, Query, Request
from fastapi import Response as AnyResponse
from fastapi.requests import HTTPConnection
from pydantic import AfterValidator, BaseModel

from .journal import note, where

router = APIRouter(prefix="/trees")

seen: ContextVar[str] = ContextVar("seen", default="unset")
trail: ContextVar[tuple[str, ...]] = ContextVar("trail", default=())


# Order: post-order, each node's own parameters after its children.


def reading(name: str) -> Callable[[int], int]:
    """A validator that tells when its parameter is validated."""

    def validate(value: int) -> int:
        note(f"{name} validated {value}")
        return value

    return validate


async def leaf(a: Annotated[int, AfterValidator(reading("a"))] = 1):
    note(f"leaf a={a}")
    return a


async def middle(leaf: Annotated[int, Depends(leaf)], b: Annotated[int, AfterValidator(reading("b"))] = 2):
    note(f"middle leaf={leaf} b={b}")
    return leaf + b


def threaded(c: Annotated[int, AfterValidator(reading("c"))] = 3, middle: int = Depends(middle)):
    note(f"threaded middle={middle} c={c} {where()}")
    return middle * 10 + c


@router.get("/post-order")
async def post_order(
    d: Annotated[int, AfterValidator(reading("d"))],
    threaded: Annotated[int, Depends(threaded)],
    leaf: Annotated[int, Depends(leaf)],
):
    note(f"endpoint threaded={threaded} leaf={leaf} d={d}")
    return {"threaded": threaded, "leaf": leaf, "d": d}


@router.get("/post-order-in-thread")
def post_order_in_thread(threaded: Annotated[int, Depends(threaded)], d: int = 4):
    note(f"endpoint {where()}")
    return {"threaded": threaded, "d": d}


class Wanted(BaseModel):
    """A body that comes late."""

    name: Annotated[str, AfterValidator(lambda value: note(f"body validated {value}") or value)]
    size: int = 0


@router.post("/post-order-body/{p}")
async def post_order_body(
    p: Annotated[int, AfterValidator(reading("p"))],
    body: Wanted,
    middle: Annotated[int, Depends(middle)],
    h: Annotated[int, Header(), AfterValidator(reading("h"))] = 0,
    q: Annotated[int, AfterValidator(reading("q"))] = 0,
    c: Annotated[int, Cookie(), AfterValidator(reading("c"))] = 0,
):
    note("endpoint")
    return {"p": p, "h": h, "q": q, "c": c, "middle": middle, "body": body}


# Errors: a node with one in itself or below is not called; its siblings are.


async def first_sibling(x: int):
    note("first sibling")
    return x


async def second_sibling(y: int):
    note("second sibling")
    return y


async def parent(first: Annotated[int, Depends(first_sibling)], second: Annotated[int, Depends(second_sibling)]):
    note("parent")
    return first + second


async def uncle(z: int = 0):
    note("uncle")
    return z


@router.get("/siblings")
async def siblings(parent: Annotated[int, Depends(parent)], uncle: Annotated[int, Depends(uncle)], own: int = 0):
    note("endpoint")
    return parent + uncle + own


@router.get("/error-twice")
async def error_twice(
    first: Annotated[int, Depends(first_sibling)],
    again: Annotated[int, Depends(first_sibling)],
    own: int = 0,
):
    # A failed node is not cached: its error stands twice.
    return first + again + own


@router.get("/no-parameters", dependencies=[Depends(first_sibling), Depends(uncle)])
async def no_parameters():
    note("endpoint")
    return "none"


# Kinds of callables.


class Constructed:
    """A class is constructed in the pool."""

    def __init__(self, n: int = 1, name: str = "x") -> None:
        note(f"constructed {where()}")
        self.n = n
        self.name = name


class Callable_:
    """An instance that can be called."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __call__(self, n: int = 1) -> str:
        note(f"callable {where()}")
        return f"{self.prefix}{n}"


class AsyncCallable:
    """An instance that can be awaited."""

    async def __call__(self, n: int = 1) -> str:
        note(f"async callable {where()}")
        return f"async{n}"

    def method(self, n: int = 2) -> str:
        note(f"method {where()}")
        return f"method{n}"

    async def async_method(self, n: int = 3) -> str:
        note(f"async method {where()}")
        return f"async method{n}"

    @classmethod
    def made(cls, n: int = 4) -> str:
        note(f"class method {where()}")
        return f"class method{n}"

    @staticmethod
    async def static(n: int = 5) -> str:
        note(f"static method {where()}")
        return f"static{n}"


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that keeps the signature, and runs in front."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        note("decorator")
        return await function(*args, **kwargs)

    return wrapper


@decorated
async def wrapped(n: int = 6):
    note("wrapped")
    return n


async def with_two(n: int = 7, *, m: int):
    note("partial")
    return n * m


instance = AsyncCallable()


@router.get("/kinds")
async def kinds(
    constructed: Annotated[Constructed, Depends()],
    called: Annotated[str, Depends(Callable_("p"))],
    awaited: Annotated[str, Depends(instance)],
    method: Annotated[str, Depends(instance.method)],
    async_method: Annotated[str, Depends(instance.async_method)],
    class_method: Annotated[str, Depends(AsyncCallable.made)],
    static: Annotated[str, Depends(AsyncCallable.static)],
    wrapped: Annotated[int, Depends(wrapped)],
    partial: Annotated[int, Depends(functools.partial(with_two, m=3))],
    nameless: Annotated[int, Depends(lambda n=8: n)],
):
    note("endpoint")
    made = [constructed.n, constructed.name, called, awaited, method, async_method, class_method, static]
    return [*made, wrapped, partial, nameless]


# Cache keys.


async def counted(tag: str = "t"):
    note("counted")
    return object()


async def child_uncached(number: Annotated[object, Depends(counted, use_cache=False)]):
    note("child uncached")
    return number


async def parameters_again(n: Annotated[int, AfterValidator(reading("n"))] = 1):
    note("parameters again")
    return n


@router.get("/cached")
async def cached(a: Annotated[object, Depends(counted)], b: Annotated[object, Depends(counted)]):
    return {"same": a is b}


@router.get("/uncached")
async def uncached(
    a: Annotated[object, Depends(counted)],
    b: Annotated[object, Depends(counted, use_cache=False)],
    c: Annotated[object, Depends(counted)],
):
    return {"ab": a is b, "ac": a is c}


@router.get("/uncached-first")
async def uncached_first(
    a: Annotated[object, Depends(counted, use_cache=False)],
    b: Annotated[object, Depends(counted)],
):
    # What is not read from the cache is still put there.
    return {"same": a is b}


@router.get("/cached-parent-uncached-child")
async def cached_parent(
    a: Annotated[object, Depends(child_uncached)],
    b: Annotated[object, Depends(child_uncached)],
):
    # The parent is cached; its uncached child runs again at each occurrence.
    return {"same": a is b}


@router.get("/cached-parameters-again")
async def cached_parameters(a: Annotated[int, Depends(parameters_again)], b: Annotated[int, Depends(parameters_again)]):
    # A cached dependency is called once; its parameters are validated at each occurrence.
    return a + b


@router.get("/cached-none")
async def cached_none(
    a: Annotated[None, Depends(uncle)],
    deep: Annotated[int, Depends(lambda uncle=Depends(uncle): uncle)],  # noqa: B008
):
    return [a, deep]


# Contextvars.


async def set_in_coroutine():
    seen.set("coroutine")
    trail.set((*trail.get(), "coroutine"))


def set_in_thread():
    note(f"thread sees {seen.get()}")
    seen.set("thread")
    trail.set((*trail.get(), "thread"))


async def read_variable(label: str = "-"):
    note(f"reads {seen.get()} {trail.get()}")
    return seen.get()


@router.get("/contextvar-coroutine", dependencies=[Depends(set_in_coroutine)])
async def contextvar_coroutine(value: Annotated[str, Depends(read_variable)]):
    return [value, seen.get(), trail.get()]


@router.get("/contextvar-thread", dependencies=[Depends(set_in_thread)])
async def contextvar_thread(value: Annotated[str, Depends(read_variable)]):
    # What a `def` dependency sets stays in the copy of the context that it ran in.
    return [value, seen.get(), trail.get()]


@router.get("/contextvar-both", dependencies=[Depends(set_in_coroutine), Depends(set_in_thread)])
def contextvar_both(value: Annotated[str, Depends(read_variable)]):
    note(f"endpoint {where()} sees {seen.get()}")
    seen.set("endpoint")
    return [value, seen.get(), trail.get()]


def validated_with_variable(value: int) -> int:
    note(f"validator sees {seen.get()} {where()}")
    return value


@router.get("/contextvar-validator", dependencies=[Depends(set_in_coroutine)])
async def contextvar_validator(n: Annotated[int, AfterValidator(validated_with_variable)]):
    return n


@router.get("/contextvar-clean")
async def contextvar_clean():
    return [seen.get(), trail.get()]


# A dependency that changes what the next node reads.


async def change_path(request: Request):
    request.scope["path_params"]["item"] = "41"
    note("path changed")


async def change_query(request: Request):
    request.scope["query_string"] = b"q=changed"
    note("query changed")


async def change_query_read(request: Request):
    # Once read, the query is kept by the request.
    note(f"read {request.query_params.get('q')}")
    request.scope["query_string"] = b"q=changed"


async def change_headers(request: Request):
    request.scope["headers"].append((b"x-added", b"added"))
    note("headers changed")


async def change_everything(request: Request):
    request.scope["path_params"] = {"item": "7"}
    request.scope["headers"] = [(b"x-added", b"replaced"), (b"cookie", b"c=replaced")]


@router.get("/meddled-path/{item}", dependencies=[Depends(change_path)])
async def meddled_path(item: int):
    return item


@router.get("/meddled-query", dependencies=[Depends(change_query)])
async def meddled_query(q: str = "default"):
    return q


@router.get("/meddled-query-read", dependencies=[Depends(change_query_read)])
async def meddled_query_read(q: str = "default"):
    return q


@router.get("/meddled-headers", dependencies=[Depends(change_headers)])
async def meddled_headers(x_added: Annotated[str, Header()] = "default"):
    return x_added


@router.get("/meddled-everything/{item}", dependencies=[Depends(change_everything)])
async def meddled_everything(
    item: int, x_added: Annotated[str, Header()] = "default", c: Annotated[str, Cookie()] = "default"
):
    return [item, x_added, c]


async def state_writer(request: Request):
    note(f"state before {getattr(request.state, 'count', None)}")
    request.state.user = "ann"
    request.state.count = getattr(request.state, "count", 0) + 1


@router.get("/request-state", dependencies=[Depends(state_writer), Depends(state_writer, use_cache=False)])
async def request_state(request: Request):
    return [request.state.user, request.state.count, hasattr(request.state, "other")]


# Special parameters in several nodes.


async def special(
    request: Request,
    connection: HTTPConnection,
    response: AnyResponse,
    background: BackgroundTasks,
):
    response.headers["x-from"] = "dependency"
    background.add_task(note, "background of dependency")
    note(f"same object {request is connection}")
    return request


@router.get("/special")
async def specials(
    request: Request,
    response: AnyResponse,
    background: BackgroundTasks,
    given: Annotated[Request, Depends(special)],
):
    response.headers.append("x-from", "endpoint")
    response.status_code = 203
    background.add_task(note, "background of endpoint")
    return {"same": request is given}


# An authentication whose 401 wins over a bad body.


async def authenticated(authorization: Annotated[str | None, Header()] = None):
    note("authenticated")
    if authorization is None:
        raise HTTPException(401, "who are you?", {"www-authenticate": "Bearer"})


@router.post("/guarded", dependencies=[Depends(authenticated)])
async def guarded(body: Wanted):
    note("endpoint")
    return body


async def both_bad(body: Wanted, user: Annotated[None, Depends(authenticated)]):
    return body


@router.post("/guarded-deep")
async def guarded_deep(body: Annotated[Wanted, Depends(both_bad)], n: int):
    return [body, n]


# Threads.


def from_thread(n: int = 1):
    note(f"in {where()}")
    seen.set("in thread")
    result = anyio.from_thread.run(in_loop, n)
    anyio.from_thread.run_sync(note, "run_sync")
    return result


async def in_loop(n: int) -> str:
    note(f"back in {where()} sees {seen.get()}")
    await anyio.lowlevel.checkpoint()
    return f"loop {n}"


@router.get("/from-thread")
def from_thread_everywhere(value: Annotated[str, Depends(from_thread)], n: int = 2):
    return [value, anyio.from_thread.run(in_loop, n)]


async def to_thread():
    return await anyio.to_thread.run_sync(where)


@router.get("/to-thread")
async def to_thread_and_back(value: Annotated[str, Depends(to_thread)]):
    return value


async def waits():
    await anyio.lowlevel.checkpoint()
    note("waited")
    with anyio.fail_after(5):
        await anyio.lowlevel.checkpoint()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_loop, 1)
    return "waited"


@router.get("/waits")
async def waiting(value: Annotated[str, Depends(waits)]):
    return value


# Exceptions of plain dependencies.


async def raising(how: str):
    note(f"raising {how}")
    if how == "http":
        raise HTTPException(418, {"short": "stout"}, headers={"x-pot": "tea"})
    if how == "value":
        raise ValueError("a fault")
    if how == "base":
        raise BaseException("beyond Exception")
    return how


def raising_in_thread(how: str):
    note(f"raising {how} {where()}")
    if how == "http":
        raise HTTPException(418)
    if how == "value":
        raise ValueError("a fault")
    if how == "stop":
        raise StopIteration("stopped")
    return how


@router.get("/raising")
async def raised(how: Annotated[str, Depends(raising)], uncle: Annotated[int, Depends(uncle)]):
    return [how, uncle]


@router.get("/raising-in-thread")
async def raised_in_thread(how: Annotated[str, Depends(raising_in_thread)], uncle: Annotated[int, Depends(uncle)]):
    return [how, uncle]


# Odd shapes.


async def deepest(path: Annotated[str, Path()], values: Annotated[list[int] | None, Query()] = None):
    return [path, values]


@router.get("/deep/{path}")
async def deep(
    value: Annotated[
        Any,
        Depends(lambda one=Depends(lambda two=Depends(lambda three=Depends(deepest): three): two): one),  # noqa: B008
    ],
):
    return value


async def body_of_dependency(extra: Annotated[int, Body()] = 0):
    note(f"extra {extra}")
    return extra


@router.post("/bodies-of-both")
async def bodies_of_both(extra: Annotated[int, Depends(body_of_dependency)], own: Annotated[int, Body()]):
    return [extra, own]


@router.post("/same-body-in-both")
async def same_body(
    extra: Annotated[int, Depends(body_of_dependency)],
    again: Annotated[Any, Body(alias="extra")] = None,
):
    return [extra, again]


@router.get("/many")
async def many(
    a: Annotated[int, Depends(lambda: 1)],
    b: Annotated[int, Depends(lambda: 2)],
    c: Annotated[int, Depends(lambda: 3)],
    d: Annotated[int, Depends(lambda: 4)],
    e: Annotated[int, Depends(lambda: 5)],
    f: Annotated[int, Depends(lambda: 6)],
):
    return [a, b, c, d, e, f]
