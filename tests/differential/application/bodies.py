"""JSON bodies: one, several, embedded, unions, and everything that a body may be instead."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Body, Depends, HTTPException, Request
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    StrictInt,
    Tag,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

from .journal import note

router = APIRouter(prefix="/bodies")

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Part(BaseModel):
    """A part of an item."""

    name: str
    count: int = Field(1, ge=0)


class Item(BaseModel):
    """An ordinary model."""

    name: str = Field(min_length=1, max_length=20)
    price: float | None = None
    tags: list[str] = []
    part: Part | None = None
    parts: dict[str, Part] = {}

    @field_validator("name")
    @classmethod
    def named(cls, value: str) -> str:
        note(f"validator name={value!r} tenant={tenant.get()}")
        if value == "bad":
            raise ValueError("a bad name")
        if value == "forbidden":
            raise HTTPException(403, "an exception that pydantic lets through")
        if value == "broken":
            raise KeyError("a fault in a validator")
        return value


class StrictItem(BaseModel):
    """A model that converts nothing and takes nothing else."""

    model_config = ConfigDict(strict=True, extra="forbid")

    number: int
    at: datetime | None = None
    pair: tuple[int, int] | None = None
    key: UUID | None = None


class Aliased(BaseModel):
    """A model with other names outside."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    first_name: str = Field(alias="firstName")
    nested: Part | None = Field(None, validation_alias="in-side")


class Cat(BaseModel):
    """One of two pets."""

    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    """The other."""

    kind: Literal["dog"]
    barks: bool = True


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


def kind_of(value: Any) -> str:
    """Tells pets apart by a function."""
    note(f"discriminator {value!r}")
    return "number" if isinstance(value, int) else "text"


Told = Annotated[
    Annotated[int, Tag("number")] | Annotated[str, Tag("text")],
    Discriminator(kind_of),
]

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A generic model."""

    entries: list[T]
    total: int = 0


class Numbers(RootModel[list[int]]):
    """A model that is a list."""


class Tree(BaseModel):
    """A model that contains itself."""

    value: int
    children: list[Tree] = []


class Before(BaseModel):
    """A model that reads what it was made from."""

    values: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def seen(cls, given: Any) -> Any:
        note(f"before {type(given).__name__} {given!r}")
        return {"values": given} if isinstance(given, dict) else given


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: int = 0


class Options(TypedDict, total=False):
    """A typed dict."""

    depth: int
    name: str


@router.post("/item")
async def item(item: Item):
    note("endpoint")
    return {"item": item, "set": sorted(item.model_fields_set)}


@router.post("/item-in-thread")
def item_in_thread(item: Item) -> Item:
    note("endpoint")
    return item


@router.put("/item/{item_id}")
async def put_item(item_id: int, item: Item, q: str | None = None) -> dict[str, Any]:
    return {"item_id": item_id, "q": q, **item.model_dump()}


@router.patch("/item")
async def patch_item(item: Item):
    return item.model_dump(exclude_unset=True)


@router.delete("/item")
async def delete_item(item: Item):
    return item


@router.get("/item")
async def get_item(item: Annotated[Item | None, Body()] = None):
    return item


@router.post("/optional")
async def optional(item: Item | None = None):
    return {"item": item}


@router.post("/default")
async def default(item: Item = Item(name="default")):  # noqa: B008
    item.tags.append("changed")
    return item


@router.post("/strict")
async def strict(item: StrictItem):
    return item


@router.post("/aliased")
async def aliased(item: Aliased):
    return item


@router.post("/two")
async def two(item: Item, part: Part):
    return {"item": item, "part": part}


@router.post("/several/{item_id}")
async def several(
    item_id: int,
    item: Item,
    part: Part | None = None,
    importance: Annotated[int, Body(gt=0)] = 1,
    note_: Annotated[str | None, Body(alias="note", max_length=5)] = None,
    q: str | None = None,
):
    return {"item_id": item_id, "item": item, "part": part, "importance": importance, "note": note_, "q": q}


@router.post("/embedded")
async def embedded(item: Annotated[Item, Body(embed=True)]):
    return item


@router.post("/embedded-optional")
async def embedded_optional(item: Annotated[Item | None, Body(embed=True)] = None):
    return {"item": item}


@router.post("/embedded-mutable")
async def embedded_mutable(tags: Annotated[list[str], Body(embed=True)] = ["a"]):  # noqa: B006
    tags.append("b")
    return tags


@router.post("/scalar")
async def scalar(value: Annotated[int, Body(gt=0)]):
    return {"value": value}


@router.post("/strict-scalar")
async def strict_scalar(value: Annotated[StrictInt, Body()]):
    return value


@router.post("/text")
async def text(value: Annotated[str, Body()]):
    return {"value": value}


@router.post("/bytes")
async def raw_bytes(value: Annotated[bytes, Body()]):
    return {"value": list(value)}


@router.post("/any")
async def anything(value: Annotated[Any, Body()]):
    note(f"{type(value).__name__} {value!r}"[:200])
    return {"type": type(value).__name__, "repr": repr(value)[:200]}


@router.post("/any-is-json")
async def any_is_json(request: Request, value: Annotated[Any, Body()]):
    # The object that the parameter received is the one that the request has parsed.
    return {"same": value is await request.json(), "again": await request.json() is await request.json()}


@router.post("/any-default")
async def any_default(value: Annotated[Any, Body()] = "nothing"):
    return {"value": value}


@router.post("/union")
async def union(value: Item | Part | list[int] | int):
    return {"type": type(value).__name__, "value": value}


@router.post("/pet")
async def pet(value: Annotated[Pet, Body()]):
    return value


@router.post("/told")
async def told(value: Annotated[Told, Body()]):
    return value


@router.post("/left-to-right")
async def left_to_right(value: Annotated[int | str, Body(union_mode="left_to_right")]):
    return {"type": type(value).__name__}


@router.post("/page")
async def page(value: Page[Item]):
    return value


@router.post("/numbers")
async def numbers(value: Numbers):
    return value


@router.post("/tree")
async def tree(value: Tree):
    return value


@router.post("/before")
async def before(value: Before):
    return value


@router.post("/point")
async def point(value: Point):
    return value


@router.post("/options")
async def options(value: Options):
    return value


@router.post("/list")
async def listed(value: list[Item]):
    return value


@router.post("/dict")
async def mapped(value: dict[int, float]):
    return value


@router.post("/mapping")
async def any_mapping(value: Mapping[str, Any]):
    return value


@router.post("/set")
async def distinct(value: set[int]):
    return sorted(value)


@router.post("/decimal")
async def decimal(value: Annotated[Decimal, Body()]):
    return value


@router.post("/not-body-media-type")
async def other_media_type(value: Annotated[dict[str, Any], Body(media_type="application/vnd.x")]):
    return value


@router.post("/validated")
async def validated(value: Annotated[int, BeforeValidator(lambda given: note(f"before {given!r}") or given), Body()]):
    return value


async def a_part(part: Part):
    """A body parameter of a dependency."""
    note("dependency")
    return part


@router.post("/in-dependency")
async def in_dependency(part: Annotated[Part, Depends(a_part)]):
    return part


@router.post("/in-both")
async def in_both(item: Item, part: Annotated[Part, Depends(a_part)]):
    return {"item": item, "part": part}


async def set_tenant(request: Request):
    """A contextvar that a validator reads."""
    note("tenant set")
    tenant.set(request.headers.get("x-tenant", "default"))


@router.post("/with-tenant", dependencies=[Depends(set_tenant)])
async def with_tenant(item: Item):
    return item


async def enrich(value: Annotated[Any, Body()]):
    """A dependency that changes the body which the endpoint reads after it."""
    if isinstance(value, dict):
        value["seen"] = True
    note("enriched")


@router.post("/enriched", dependencies=[Depends(enrich)])
async def enriched(value: dict[str, Any]):
    return value


@router.post("/request-only")
async def request_only(request: Request):
    body = await request.body()
    note(f"read {len(body)}")
    return {"length": len(body), "again": len(await request.body())}


@router.post("/streamed")
async def streamed(request: Request):
    length = 0
    async for piece in request.stream():
        length += len(piece)
    return {"length": length}


@router.post("/unread")
async def unread():
    note("endpoint")
    return "unread"


@router.post("/after-body")
async def after_body(request: Request, item: Item):
    return {"body": (await request.body()).decode("latin-1"), "json": await request.json(), "item": item}
