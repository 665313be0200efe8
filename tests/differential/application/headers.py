"""Headers and cookies as parameters, and models of them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Cookie, Header
from pydantic import BaseModel, ConfigDict, Field

router = APIRouter(prefix="/headers")


@router.get("/one")
async def one(x_token: Annotated[str, Header()]):
    return {"x_token": x_token}


@router.get("/number")
async def number(x_number: Annotated[int, Header(gt=0)], user_agent: Annotated[str | None, Header()] = None):
    return {"x_number": x_number, "user_agent": user_agent}


@router.get("/underscored")
async def underscored(x_strange: Annotated[str, Header(convert_underscores=False)]):
    return {"x_strange": x_strange}


@router.get("/alias")
async def alias(token: Annotated[str | None, Header(alias="X_Odd-Token")] = None):
    return {"token": token}


@router.get("/list")
async def values(x_values: Annotated[list[str] | None, Header()] = None):
    return {"x_values": x_values}


@router.get("/numbers")
async def numbers(x_values: Annotated[list[int], Header()] = [1]):  # noqa: B006
    x_values.append(0)
    return {"x_values": x_values}


@router.get("/standard")
async def standard(
    host: Annotated[str, Header()],
    accept: Annotated[str | None, Header()] = None,
    content_type: Annotated[str | None, Header()] = None,
    content_length: Annotated[int | None, Header()] = None,
    connection: Annotated[str | None, Header()] = None,
):
    return {"host": host, "accept": accept, "type": content_type, "length": content_length, "connection": connection}


class Common(BaseModel):
    """Headers in one model."""

    host: str
    x_token: str
    x_many: list[str] = []
    if_match: int | None = None
    x_renamed: str | None = Field(None, alias="x-other")


class Forbidding(BaseModel):
    """Headers in a model that takes no others."""

    model_config = ConfigDict(extra="forbid")

    host: str
    x_only: int = 0


@router.get("/model")
async def model(headers: Annotated[Common, Header()]):
    return headers


@router.get("/model-strict")
async def model_strict(headers: Annotated[Forbidding, Header()]):
    return headers


@router.get("/model-underscored")
async def model_underscored(headers: Annotated[Common, Header(convert_underscores=False)]):
    return headers


class Session(BaseModel):
    """Cookies in a model that takes no others."""

    model_config = ConfigDict(extra="forbid")

    session: UUID
    tracker: str | None = None


@router.get("/cookies")
async def cookies(a: Annotated[str | None, Cookie()] = None, b_c: Annotated[int, Cookie(ge=0)] = 0):
    return {"a": a, "b_c": b_c}


@router.get("/cookie-required")
async def cookie_required(session: Annotated[str, Cookie(alias="__Host-session")]):
    return {"session": session}


@router.get("/cookie-list")
async def cookie_list(a: Annotated[list[str] | None, Cookie()] = None):
    return {"a": a}


@router.get("/cookie-model")
async def cookie_model(cookies: Annotated[Session, Cookie()]):
    return cookies


@router.get("/all/{p}")
async def every_place(
    p: int,
    q: int,
    h: Annotated[int, Header()],
    c: Annotated[int, Cookie()],
    h_list: Annotated[list[int], Header()] = [],  # noqa: B006
):
    # Errors stand in the order path, query, header, cookie, whatever the order of the parameters.
    return {"p": p, "q": q, "h": h, "c": c, "h_list": h_list}
