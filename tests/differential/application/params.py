"""Query parameters: scalars and sequences, defaults, constraints, aliases, and models of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    WrapValidator,
    field_validator,
    model_validator,
)

from .journal import note
from .paths import Colour
from .release import HAS_OPTIONAL_MODELS

router = APIRouter(prefix="/params")

_made = 0


def count_up() -> int:
    """A default that differs from one request to the next."""
    global _made
    _made += 1
    note("default factory")
    return _made


def noted(value: Any) -> Any:
    """A validator that leaves a trace."""
    note(f"validator {value!r}")
    return value


def refuse_zero(value: int) -> int:
    """A validator that refuses in words of its own."""
    note(f"validator {value!r}")
    if value == 0:
        raise ValueError("zero is nothing")
    if value == 1:
        raise AssertionError("one is not enough")
    return value


def explode(value: int) -> int:
    """A validator with a fault."""
    if value == 0:
        raise RuntimeError("a fault in a validator")
    return value


@router.get("/required")
async def required(q: str) -> Any:
    note("endpoint")
    return {"q": q}


@router.get("/optional")
async def optional(q: str | None = None) -> Any:
    return {"q": q}


@router.get("/numbers")
async def numbers(i: int, f: float = 0.5, b: bool = False, d: Decimal | None = None):
    return {"i": i, "f": f, "b": b, "d": d}


@router.get("/times")
async def times(at: datetime, span: timedelta = timedelta(0)):
    return {"at": at, "span": span, "total": at + span}


@router.get("/choice")
async def choice(colour: Colour = Colour.red, size: Literal["s", "m"] = "m", n: Literal[1, 2] | None = None):
    return {"colour": colour, "size": size, "n": n}


@router.get("/list")
async def strings(q: Annotated[list[str], Query()]):
    return {"q": q}


@router.get("/list-or-none")
async def strings_or_none(q: Annotated[list[str] | None, Query()] = None) -> Any:
    return {"q": q}


@router.get("/list-default")
async def strings_default(q: Annotated[list[int], Query(min_length=1, max_length=3)] = [7]) -> Any:  # noqa: B006
    # A default that the endpoint changes: every request must have its own copy.
    q.append(0)
    return {"q": q}


@router.get("/set")
async def numbers_set(q: Annotated[set[int], Query()]) -> Any:
    return {"q": sorted(q)}


@router.get("/tuple")
async def pair(q: Annotated[tuple[int, str], Query()]):
    return {"q": q}


@router.get("/scalar-or-list")
async def scalar_or_list(q: Annotated[int | list[int], Query()]) -> Any:
    return {"q": q}


@router.get("/mutable")
async def mutable(nested: Annotated[list[str], Query()] = ["a", "b"]) -> Any:  # noqa: B006
    nested.append("c")
    return {"nested": nested}


@router.get("/json")
async def json(json: Annotated[Json[list[int]], Query()]) -> Any:
    return {"json": json}


@router.get("/factory")
async def factory(n: Annotated[int, Query(default_factory=count_up)], m: int = 0):
    note("endpoint")
    return {"n": n, "m": m}


@router.get("/factory-list")
async def factory_list(tags: Annotated[list[str], Query(default_factory=lambda: ["made"])]) -> Any:
    tags.append("more")
    return tags


@router.get("/validated-default")
async def validated_default(n: Annotated[int, Query(validate_default=True, gt=5)] = 3) -> Any:
    return n


@router.get("/unvalidated-default")
async def unvalidated_default(n: Annotated[int, Query(gt=5)] = 3) -> Any:
    return n


@router.get("/alias")
async def alias(q: Annotated[str, Query(alias="item-query")]) -> Any:
    return {"q": q}


@router.get("/validation-alias")
async def validation_alias(q: Annotated[int, Query(validation_alias="the q")], r: int = 0) -> Any:
    return {"q": q, "r": r}


@router.get("/alias-choices")
async def alias_choices(q: Annotated[int, Query(validation_alias=AliasChoices("one", "two"))]) -> Any:
    return {"q": q}


@router.get("/constrained")
async def constrained(
    i: Annotated[int, Query(gt=0, le=10, multiple_of=2)] = 2,
    f: Annotated[float, Query(lt=1.5, allow_inf_nan=False)] = 0.0,
    s: Annotated[str, Query(min_length=2, max_length=3, pattern=r"^\w+$")] = "ab",
    strict: Annotated[bool | None, Query(strict=True)] = None,
) -> Any:
    return {"i": i, "f": f, "s": s, "strict": strict}


@router.get("/deprecated-style")
async def old_style(q: str = Query("x", max_length=3), r: list[int] = Query([])) -> Any:  # noqa: B008
    return {"q": q, "r": r}


@router.get("/validators")
async def validators(
    a: Annotated[int, AfterValidator(refuse_zero)],
    b: Annotated[str, BeforeValidator(noted)] = "b",
    c: Annotated[int, WrapValidator(lambda value, handler: handler(noted(value)) * 2)] = 1,
) -> Any:
    note("endpoint")
    return {"a": a, "b": b, "c": c}


@router.get("/exploding")
async def exploding(a: Annotated[int, AfterValidator(explode)]) -> Any:
    return a


@router.get("/many")
async def many(a: int, b: float, c: bool, d: Colour, e: Annotated[list[int], Query()], f: str = "f"):
    return {"a": a, "b": b, "c": c, "d": d, "e": e, "f": f}


class Filter(BaseModel):
    """Parameters in one model."""

    limit: int = Field(10, gt=0, le=100)
    order: Literal["up", "down"] = "up"
    tags: list[str] = []
    since: int | None = None
    renamed: str = Field("r", alias="re-named")


class Strict(BaseModel):
    """Parameters in a model that takes no others."""

    model_config = ConfigDict(extra="forbid")

    limit: int = 10
    tags: list[int] = []
    q: str

    @field_validator("q")
    @classmethod
    def without_spaces(cls, value: str) -> str:
        note(f"validator {value!r}")
        if " " in value:
            raise ValueError("spaces")
        return value


class Open(BaseModel):
    """Parameters in a model that takes any other."""

    model_config = ConfigDict(extra="allow")

    n: int = 0

    @model_validator(mode="before")
    @classmethod
    def seen(cls, values: Any) -> Any:
        note(f"before {values!r}")
        return values


class ByName(BaseModel):
    """Parameters that have two names."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    first: int = Field(1, alias="First")
    second: int = Field(2, validation_alias=AliasChoices("Second", "deuxieme"))


@router.get("/model")
async def model(filters: Annotated[Filter, Query()]) -> Any:
    return {"filters": filters, "set": sorted(filters.model_fields_set)}


@router.get("/model-strict")
async def model_strict(filters: Annotated[Strict, Query()]) -> Any:
    note("endpoint")
    return filters


@router.get("/model-open")
async def model_open(filters: Annotated[Open, Query()]) -> Any:
    return {"n": filters.n, "extra": filters.model_extra}


@router.get("/model-names")
async def model_names(filters: Annotated[ByName, Query()]) -> Any:
    return filters


if HAS_OPTIONAL_MODELS:

    @router.get("/model-optional")
    async def model_optional(filters: Annotated[Filter | None, Query()] = None) -> Any:
        return {"filters": filters}


@router.get("/model-in-dependency")
async def model_in_dependency(filters: Annotated[Filter, Query()], other: Annotated[Any, Depends(optional)]) -> Any:
    return {"filters": filters, "other": other}


@router.get("/model-as-dependency")
async def model_as_dependency(filters: Annotated[Filter, Depends()]) -> Any:
    return filters


@router.get("/in-thread")
def in_thread(n: int, tags: Annotated[list[str], Query()] = []):  # noqa: B006
    note("endpoint")
    tags.append("x")
    return {"n": n, "tags": tags}
