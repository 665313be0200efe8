"""Responses: models and their options, response classes, status codes, headers and cookies, returned responses."""

from __future__ import annotations

import enum
import json
from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Response
from fastapi import Path as PathParam
from fastapi.encoders import jsonable_encoder
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from pydantic import BaseModel, ConfigDict, Field, SecretStr, computed_field, field_serializer, field_validator
from starlette.background import BackgroundTask

from .bodies import Cat, Dog, Item, Page, Pet
from .journal import note, where

router = APIRouter(prefix="/answers")

# What can be a response's; 205 is one that uvicorn itself ends with fewer bytes than it said.
Status = Annotated[int, PathParam(ge=200, le=599, json_schema_extra={"not": {"const": 205}})]


class Profile(BaseModel):
    """A model with defaults, aliases and things that are left out."""

    first_name: str = Field(alias="firstName")
    age: int | None = None
    score: float = 1.5
    tags: list[str] = []
    password: str = "secret"
    nested: Profile | None = None

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)


def profile() -> Profile:
    """A profile with some fields set."""
    return Profile(first_name="Ann", score=1.5, nested=Profile(firstName="Bob", age=3))


class Rich(BaseModel):
    """A model with all kinds of values."""

    at: datetime = datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    day: date = date(2024, 1, 2)
    clock: time = time(1, 2, 3)
    span: timedelta = timedelta(days=1, seconds=1.5)
    amount: Decimal = Decimal("1.10")
    key: UUID = UUID("123e4567-e89b-12d3-a456-426614174000")
    raw: bytes = b"bytes"
    secret: SecretStr = SecretStr("hidden")
    numbers: set[int] = {1}
    pair: tuple[int, str] = (1, "x")
    tiny: float = 1e-7
    nothing: None = None
    text: str = 'é "quoted" \u2028 </script> \x7f \U0001f600'

    @computed_field
    def double(self) -> float:
        return self.tiny * 2

    @field_serializer("day")
    def day_as_text(self, value: date) -> str:
        note(f"serializer {where()}")
        return value.strftime("%d.%m.%Y")


class Checked(BaseModel):
    """A response model whose validator leaves a trace."""

    value: int

    @field_validator("value")
    @classmethod
    def seen(cls, value: int) -> int:
        note(f"response validator {value} {where()}")
        return value


class Lazy:
    """An object that is read attribute by attribute, like a row of an ORM."""

    @property
    def value(self) -> int:
        note(f"attribute read {where()}")
        return 7


class Attributes(BaseModel):
    """A model that reads attributes."""

    model_config = ConfigDict(from_attributes=True)

    value: int


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: float = 0.5


class Size(enum.Enum):
    """An enumeration."""

    small = "s"


Named = namedtuple("Named", "a b")


class Stringly:
    """Something that only `dict()` and `vars()` understand."""

    def __init__(self) -> None:
        self.a = 1
        self._private = 2


# Without a model.


@router.get("/dict")
async def plain_dict():
    return {"b": 1, "a": [1, 2.5, None, True, "é"], 3: {"nested": ()}, None: 0, True: 1, 1.5: 2}


@router.get("/plain")
async def plain_values():
    return {
        "floats": [1.0, 1e-7, 1e16, 1.5e300, -0.0, 0.1 + 0.2, 5e-324],
        "ints": [0, -1, 2**63, 10**30],
        "text": 'é \u2028 " \\ / \x00 \x1f \x7f \U0001f600',
        "enum": Size.small,
        "uuid": UUID(int=5),
        "decimal": [Decimal("1"), Decimal("1.50"), Decimal("1E+2")],
        "dates": [datetime(2024, 1, 2, 3, 4), date(2024, 1, 2), time(3, 4), timedelta(hours=1, milliseconds=5)],
        "set": {7},
        "frozen": frozenset([8]),
        "tuple": (1, (2, 3)),
        "generator": (n for n in range(3)),
        "bytes": b"abc",
        "path": PurePosixPath("/a/b"),
        "dataclass": Point(1),
        "named": Named(1, 2),
        "model": Profile(firstName="Ann"),
        "secret": SecretStr("x"),
        "object": Stringly(),
        "exception": [str(ValueError("x"))],
    }


@router.get("/sqlalchemy-keys")
async def sqlalchemy_keys():
    # Keys that start with `_sa` are dropped, nested ones too.
    return {"_sa_state": 1, "a": {"_sa": 2, "_s": 3, "b": [{"_sax": 4, "c": 5}]}, "sa": 6}


@router.get("/sqlalchemy-keys-typed")
async def sqlalchemy_keys_typed() -> dict[str, Any]:
    return {"_sa_state": 1, "a": {"_sa": 2, "_s": 3}}


@router.get("/number")
async def number():
    return 5


@router.get("/text")
async def text():
    return "téxt"


@router.get("/nothing")
async def nothing():
    return None


@router.get("/bool-in-thread")
def boolean():
    return True


@router.get("/empty")
async def empty():
    return {}


@router.get("/list")
async def mixed_list():
    return [1, "a", None, [], {}]


@router.get("/deep/{depth}")
async def deep(depth: Annotated[int, PathParam(le=1500)]):
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@router.get("/recursive")
async def recursive():
    value: list[Any] = []
    value.append(value)
    return value


@router.get("/large")
async def large():
    return [{"id": i, "name": f"name {i}", "price": i / 7} for i in range(3000)]


@router.get("/nan")
async def nan():
    return {"value": float("nan")}


@router.get("/surrogate")
async def surrogate():
    return "\ud800"


@router.get("/surrogate-key")
async def surrogate_key():
    return {"\ud800": 1}


@router.get("/unserializable")
async def unserializable():
    return {"value": object}


@router.get("/bytes-not-utf8")
async def bytes_not_utf8():
    return b"\xff"


class IntSubclass(int):
    """A number with another text."""

    def __str__(self) -> str:
        return "other"

    __repr__ = __str__


class StrSubclass(str):
    """A text of another class."""


class DictSubclass(dict):  # type: ignore[type-arg]
    """A dict that has its items another way."""

    def items(self):  # type: ignore[no-untyped-def]
        note("items")
        return [("from", "items")]


@router.get("/subclasses")
async def subclasses():
    return {StrSubclass("key"): StrSubclass("value"), "int": IntSubclass(5), "dict": DictSubclass(a=1)}


class IntSize(enum.IntEnum):
    """An enumeration of numbers."""

    one = 1


class Words(enum.StrEnum):
    """An enumeration of texts."""

    word = "w"


@router.get("/enums")
async def enums():
    return {"int": IntSize.one, "str": Words.word, "plain": Size.small, "keys": {Words.word: 1, IntSize.one: 2}}


# With a model.


@router.get("/model")
async def model() -> Profile:
    return profile()


@router.get("/model-from-dict", response_model=Profile)
async def model_from_dict():
    return {"firstName": "Ann", "extra": 1, "password": "p"}


@router.get("/model-from-object", response_model=Attributes)
async def model_from_object():
    return Lazy()


@router.get("/model-from-object-in-thread", response_model=Attributes)
def model_from_object_in_thread():
    note(f"endpoint {where()}")
    return Lazy()


@router.get("/model-narrower", response_model=Attributes)
async def model_narrower() -> Any:
    return Checked(value=1)


@router.get("/model-checked")
async def model_checked() -> Checked:
    return {"value": "5"}  # type: ignore[return-value]


@router.get("/model-checked-in-thread")
def model_checked_in_thread() -> Checked:
    return {"value": "5"}  # type: ignore[return-value]


@router.get("/model-wrong", response_model=Checked)
async def model_wrong():
    return {"value": "x"}


@router.get("/model-wrong-in-thread", response_model=list[Checked])
def model_wrong_in_thread():
    return [{"value": 1}, {"value": "x"}]


@router.get("/model-none", response_model=Checked)
async def model_none():
    return None


@router.get("/model-optional")
async def model_optional() -> Checked | None:
    return None


@router.get("/rich")
async def rich() -> Rich:
    return Rich()


@router.get("/rich-explicit", response_class=JSONResponse)
async def rich_explicit() -> Rich:
    return Rich()


@router.get("/rich-in-thread")
def rich_in_thread() -> Rich:
    return Rich()


@router.get("/rich-plain")
async def rich_plain():
    return Rich()


@router.get("/floats")
async def floats() -> list[float]:
    return [1e-7, 1.0, float("nan"), float("inf"), 1e16, 1e22]


@router.get("/floats-explicit", response_class=JSONResponse)
async def floats_explicit() -> list[float]:
    return [1e-7, 1.0, 1e16, 1e22]


@router.get("/nan-explicit", response_class=JSONResponse)
async def nan_explicit() -> list[float]:
    return [float("nan")]


@router.get("/include", response_model=Profile, response_model_include={"first_name", "nested"})
async def include():
    return profile()


@router.get("/include-deep", response_model=Profile, response_model_include={"nested": {"age"}})
async def include_deep():
    return profile()


@router.get("/exclude", response_model=Profile, response_model_exclude={"password", "nested"})
async def exclude():
    return profile()


@router.get("/exclude-list", response_model=list[Profile], response_model_exclude={"__all__": {"password"}})
async def exclude_list():
    return [profile(), profile()]


@router.get("/exclude-unset", response_model=Profile, response_model_exclude_unset=True)
async def exclude_unset():
    return profile()


@router.get("/exclude-unset-from-dict", response_model=Profile, response_model_exclude_unset=True)
async def exclude_unset_from_dict():
    return {"firstName": "Ann", "age": None}


@router.get("/exclude-defaults", response_model=Profile, response_model_exclude_defaults=True)
async def exclude_defaults():
    return profile()


@router.get("/exclude-none", response_model=Profile, response_model_exclude_none=True)
async def exclude_none():
    return profile()


@router.get("/not-by-alias", response_model=Profile, response_model_by_alias=False)
async def not_by_alias():
    return profile()


@router.get(
    "/all-options",
    response_model=Profile,
    response_model_exclude={"password"},
    response_model_exclude_none=True,
    response_model_exclude_unset=True,
    response_model_by_alias=False,
)
def all_options():
    return profile()


@router.get(
    "/all-options-explicit", response_model=Profile, response_model_exclude_none=True, response_class=JSONResponse
)
async def all_options_explicit():
    return profile()


@router.get("/options-without-model", response_model_exclude_none=True, response_model_include={"a"})
async def options_without_model():
    return {"a": None, "b": 1, "model": Profile(firstName="x")}


@router.get("/model-switched-off", response_model=None)
async def model_switched_off() -> Profile:
    return profile()


@router.get("/union")
async def union(dog: bool = False) -> Pet:
    return Dog(kind="dog") if dog else Cat(kind="cat")


@router.get("/subclass")
async def subclass() -> BaseModel:
    return Cat(kind="cat")


@router.get("/generic")
async def generic() -> Page[Item]:
    return Page(entries=[Item(name="n")], total=1)


@router.get("/scalar-model")
async def scalar_model() -> int:
    return "5"  # type: ignore[return-value]


@router.get("/dict-model")
async def dict_model() -> dict[str, Decimal]:
    return {"a": Decimal("1.10")}


@router.get("/dataclass-model")
async def dataclass_model() -> Point:
    return Point(1)


@router.get("/annotated-model")
async def annotated_model() -> Annotated[list[int], Field(max_length=2)]:
    return [1, 2, 3]


@router.get("/any-model")
async def any_model() -> Any:
    return {"_sa": 1, "at": datetime(2024, 1, 1, tzinfo=UTC), "float": 1e-7}


# Response classes.


class Upper(JSONResponse):
    """A response class that renders in its own way."""

    media_type = "application/vnd.upper+json"

    def render(self, content: Any) -> bytes:
        note(f"render {where()}")
        return json.dumps(content, indent=1, default=str).upper().encode()


class Latin(PlainTextResponse):
    """A response in another charset."""

    charset = "latin-1"


@router.get("/html", response_class=HTMLResponse)
async def html():
    return "<p>é</p>"


@router.get("/html-bytes", response_class=HTMLResponse)
async def html_bytes():
    return b"<p>bytes</p>"


@router.get("/html-number", response_class=HTMLResponse)
async def html_number():
    return 5


@router.get("/plain-text", response_class=PlainTextResponse)
def plain_text():
    return "plain"


@router.get("/plain-none", response_class=PlainTextResponse)
async def plain_none():
    return None


@router.get("/latin", response_class=Latin)
async def latin():
    return "é"


@router.get("/redirect", response_class=RedirectResponse)
async def redirect():
    return "/answers/ü?x=é&y=%20"


@router.get("/redirect-301", response_class=RedirectResponse, status_code=301)
async def redirect_301():
    return "https://example.com/"


@router.get("/custom", response_class=Upper)
async def custom():
    return {"a": "b"}


@router.get("/custom-model", response_class=Upper, status_code=201)
async def custom_model() -> Rich:
    return Rich()


@router.get("/response-class", response_class=Response)
async def response_class():
    return b"raw"


@router.get("/json-explicit", response_class=JSONResponse)
async def json_explicit():
    return {"float": 1e-7, "_sa": 1, "é": "é"}


# Status codes.


@router.get("/created", status_code=201)
async def created():
    return {"created": True}


@router.delete("/no-content", status_code=204)
async def no_content():
    note("endpoint")


@router.get("/no-content-with-value", status_code=204)
async def no_content_with_value():
    return {"dropped": True}


@router.get("/reset-content", status_code=205)
async def reset_content():
    return None


@router.get("/not-modified", status_code=304)
async def not_modified():
    return {"dropped": True}


@router.get("/teapot", status_code=418)
async def teapot() -> str:
    return "short"


@router.get("/odd-status", status_code=299)
async def odd_status():
    return "odd"


# Injected responses.


@router.get("/injected")
async def injected(response: Response):
    response.headers["X-Given"] = "yes"
    response.headers.append("x-given", "twice")
    response.headers["content-type"] = "application/other"
    response.set_cookie("a", "b", max_age=5, httponly=True)
    response.set_cookie("c", 'd "quoted" é'.encode("latin-1").decode("latin-1"))
    response.delete_cookie("e")
    response.status_code = 202
    return {"a": 1}


@router.get("/injected-model")
async def injected_model(response: Response) -> Checked:
    response.headers["x-given"] = "é".encode("latin-1").decode("latin-1")
    return Checked(value=1)


@router.get("/injected-status/{status}", status_code=201)
async def injected_status(status: Status, response: Response):
    response.status_code = status
    return {"status": status}


@router.get("/injected-then-fails")
async def injected_then_fails(response: Response):
    response.headers["x-given"] = "lost"
    response.set_cookie("a", "lost")
    raise HTTPException(409, headers={"x-error": "kept"})


@router.get("/injected-content-length")
async def injected_content_length(response: Response):
    # Two lengths; only the first is true.
    response.headers["x-length"] = "1"
    response.raw_headers.append((b"x-raw", b"\xe9"))
    return "x"


@router.get("/injected-html", response_class=HTMLResponse)
def injected_html(response: Response):
    response.headers["x-given"] = "yes"
    response.status_code = 203
    return "<p>"


async def from_dependency(response: Response):
    response.headers["x-dependency"] = "yes"
    response.status_code = 210


@router.get("/injected-by-dependency", dependencies=[Depends(from_dependency)])
async def injected_by_dependency():
    return {}


@router.get("/injected-by-dependency-twice", dependencies=[Depends(from_dependency)], status_code=201)
async def injected_by_dependency_twice(response: Response):
    note(f"status {response.status_code}")
    response.headers["x-dependency"] = "no"
    return {}


@router.get("/injected-by-dependency-returned", dependencies=[Depends(from_dependency)], status_code=201)
async def injected_by_dependency_returned():
    return PlainTextResponse("returned", headers={"x-own": "yes"})


# Returned responses.


@router.get("/returned-json")
async def returned_json():
    return JSONResponse({"a": 1e-7, "_sa": 1}, 202, {"X-Own": "Yes"}, "application/special")


@router.get("/returned-html")
def returned_html():
    return HTMLResponse("<p>", 203)


@router.get("/returned-plain")
async def returned_plain() -> PlainTextResponse:
    return PlainTextResponse("plain")


@router.get("/returned-redirect")
async def returned_redirect():
    return RedirectResponse("/ü ?q=ü#f", 303, {"x-own": "yes"})


@router.get("/returned-empty")
async def returned_empty():
    return Response()


@router.get("/returned-bytes")
async def returned_bytes():
    return Response(b"\x00\xff", media_type="application/octet-stream")


@router.get("/injected-status-zero", status_code=201)
async def injected_status_zero(response: Response):
    response.status_code = 0
    return {}


@router.get("/returned-status/{status}")
async def returned_status(status: Status):
    return Response(status_code=status)


@router.get("/returned-no-content-with-body")
async def returned_no_content_with_body():
    return Response(b"body", 204)


@router.get("/returned-no-type")
async def returned_no_type():
    return Response("x")


@router.get("/returned-own-length")
async def returned_own_length():
    return Response(b"abc", headers={"content-length": "3", "x-own": "yes"})


@router.get("/returned-many-headers")
async def returned_many_headers():
    response = Response(b"abc", media_type="text/csv")
    for i in range(60):
        response.headers.append("x-many", str(i))
        response.headers[f"x-{i}"] = "v" * i
    return response


@router.get("/returned-cookies")
async def returned_cookies():
    response = JSONResponse({})
    response.set_cookie("a", "1", path="/x", domain="example.com", secure=True, samesite="strict")
    response.set_cookie("b", "2", expires=datetime(2030, 1, 1, tzinfo=UTC))
    response.delete_cookie("c", path="/y")
    return response


@router.get("/returned-stream")
async def returned_stream():
    async def pieces():
        yield "one "
        yield b"two"

    return StreamingResponse(pieces(), 206, {"x-own": "yes"}, "text/plain")


@router.get("/returned-stream-of-one")
async def returned_stream_of_one():
    return StreamingResponse(iter(["one"]), media_type="text/plain")


@router.get("/returned-stream-that-fails")
async def returned_stream_that_fails():
    async def pieces():
        yield "one "
        note("stream fails")
        raise ValueError("a fault in a stream")

    return StreamingResponse(pieces())


@router.get("/returned-file")
async def returned_file():
    return FileResponse(Path(__file__).parent / "__init__.py", headers={"last-modified": "-", "etag": "-"})


@router.get("/returned-encoded")
async def returned_encoded():
    return JSONResponse(jsonable_encoder(Rich()))


@router.get("/returned-with-injected")
async def returned_with_injected(response: Response, tasks: BackgroundTasks):
    # Neither headers nor status of the injected response count; its background tasks do.
    response.headers["x-injected"] = "lost"
    response.status_code = 201
    tasks.add_task(note, "background injected")
    return JSONResponse({})


@router.get("/returned-with-own-background")
async def returned_with_own_background(tasks: BackgroundTasks):
    tasks.add_task(note, "background injected")
    return JSONResponse({}, background=BackgroundTask(note, "background own"))


@router.get("/returned-injected-itself")
async def returned_injected_itself(response: Response):
    response.headers["x-own"] = "yes"
    response.body = b"itself"
    response.status_code = 200
    return response


class OwnCall(Response):
    """A response that sends itself."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        note("own call")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Own", b"1"), (b"x-own", b"2")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})


@router.get("/returned-own-call")
async def returned_own_call():
    return OwnCall()


class FailingCall(Response):
    """A response that fails while it is sent."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        note("failing call")
        raise HTTPException(418, "from a response")


@router.get("/returned-failing-call")
async def returned_failing_call():
    return FailingCall()


@router.get("/returned-as-model")
async def returned_as_model() -> Checked:
    return JSONResponse({"value": "unchecked"})  # type: ignore[return-value]


@router.get("/response-or-model", response_model=None)
async def response_or_model(plain: bool = False) -> Response | dict[str, int]:
    return PlainTextResponse("plain") if plain else {"a": 1}
