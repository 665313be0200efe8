"""Paths: convertors, odd characters, and which of two routes is meant."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request

from .journal import note

router = APIRouter(prefix="/paths")


class Colour(StrEnum):
    red = "red"
    blue = "blue"


def told(value: object) -> dict[str, str]:
    """A value, and what it is."""
    note(f"endpoint {value!r}")
    return {"value": str(value), "type": type(value).__name__}


@router.get("/plain/{value}")
async def plain(value: str) -> Any:
    return told(value)


@router.get("/untyped/{value}")
async def untyped(value) -> Any:  # type: ignore[no-untyped-def]
    return told(value)


@router.get("/str/{value:str}")
async def str_convertor(value: str) -> Any:
    return told(value)


@router.get("/int/{value:int}")
async def int_convertor(value: int) -> Any:
    return told(value)


@router.get("/float/{value:float}")
async def float_convertor(value: float) -> Any:
    return told(value)


@router.get("/uuid/{value:uuid}")
async def uuid_convertor(value: UUID) -> Any:
    return told(value)


@router.get("/path/{value:path}")
async def path_convertor(value: str) -> Any:
    return told(value)


@router.get("/path-then/{value:path}/end")
async def path_then_literal(value: str) -> Any:
    return told(value)


@router.get("/int-as-str/{value:int}")
async def int_convertor_str_annotation(value: str) -> Any:
    # The convertor makes an int, the annotation wants a str.
    return told(value)


@router.get("/float-as-int/{value:float}")
async def float_convertor_int_annotation(value: int) -> Any:
    return told(value)


@router.get("/uuid-as-any/{value:uuid}")
async def uuid_convertor_any(value: Any) -> Any:
    return told(value)


@router.get("/number/{value}")
async def number(value: int) -> Any:
    return told(value)


@router.get("/real/{value}")
async def real(value: float) -> Any:
    return told(value)


@router.get("/flag/{value}")
async def flag(value: bool) -> Any:
    return told(value)


@router.get("/colour/{value}")
async def colour(value: Colour) -> Any:
    return told(value)


@router.get("/day/{value}")
async def day(value: date) -> Any:
    return told(value)


@router.get("/money/{value}")
async def money(value: Annotated[Decimal, Path(max_digits=5, decimal_places=2)]) -> Any:
    return told(value)


@router.get("/between/{value}")
async def between(value: Annotated[int, Path(ge=1, lt=10, multiple_of=3, title="Between")]) -> Any:
    return told(value)


@router.get("/word/{value}")
async def word(value: Annotated[str, Path(min_length=2, max_length=4, pattern="^[a-z]+$")]) -> Any:
    return told(value)


@router.get("/aliased/{item_id}")
async def aliased(item: Annotated[int, Path(alias="item_id")]) -> Any:
    return told(item)


@router.get("/two/{first}/{second:int}")
async def two(second: int, first: int) -> Any:
    return {"first": first, "second": second}


@router.get("/unused/{first}/{second}")
async def unused(request: Request, first: str) -> Any:
    # A parameter of the path that no function asks for.
    return {"first": first, "params": request.path_params}


@router.get("/dotted/{name}.{extension}")
async def dotted(name: str, extension: str) -> Any:
    return {"name": name, "extension": extension}


@router.get("/first/literal")
async def literal() -> Any:
    return told("literal")


@router.get("/first/{value:int}")
async def then_int(value: int) -> Any:
    return told(value)


@router.get("/first/{value}")
async def then_str(value: str) -> Any:
    return told(value)


@router.get("/first/late")
async def never_reached() -> Any:
    return told("late")


@router.get("/spa ce/{value}")
async def space_in_literal(value: str) -> Any:
    return told(value)


@router.get("/ümlaut/{value}")
async def umlaut_in_literal(value: str) -> Any:
    return told(value)


@router.get("/regex.chars+(and)/{value}")
async def regex_characters(value: str) -> Any:
    return told(value)


@router.get("/pieces/{first}-{second}")
@router.get("/pieces/{first:int}.{second}")
@router.get("/pieces/v{first:float}{second}")
@router.get("/pieces/{first:uuid}{second:path}")
@router.get("/pieces/{first:path}/and/{second:path}")
@router.get("/pieces/{first:path}={second:path}:run")
async def pieces(request: Request, first: Any, second: Any) -> Any:
    """Parameters that are no whole segments, the first route of several that match."""
    return {"first": first, "second": second, "path": request.scope["route"].path}


@router.post("/pieces/{first}-{second}")
async def changed_pieces(first: int, second: int) -> int:
    return first + second


@router.get("/seen/{value:path}")
async def seen(request: Request, value: str) -> Any:
    scope = request.scope
    return {
        "value": value,
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode("latin-1"),
        "query_string": scope["query_string"].decode("latin-1"),
        "url": str(request.url),
    }
