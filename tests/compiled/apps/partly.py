"""Routes of which few can be compiled."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Request, Response
from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope

import overdrive


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async def late() -> str:
        return "late"

    app.add_api_route("/late", late)
    yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.get("/compiled")
async def compiled() -> str:
    return "compiled"


@app.get("/marked")
@overdrive.uncompiled
async def marked() -> str:
    return "marked"


@app.post("/form")
async def form(a: Annotated[str, Form()]) -> str:
    return a


@app.get("/stream")
async def stream() -> AsyncIterator[int]:
    yield 1


class OwnHandler(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Any]:
        handler = super().get_route_handler()

        async def own(request: Request) -> Response:
            response = await handler(request)
            response.headers["x-own"] = "1"
            return response

        return own


class OwnMatches(APIRoute):
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope)


own_handler = APIRouter(route_class=OwnHandler)
own_matches = APIRouter(route_class=OwnMatches)


@own_handler.get("/own-handler")
async def with_own_handler() -> str:
    return "handled"


@own_matches.get("/own-matches")
async def with_own_matches() -> str:
    return "matched"


app.include_router(own_handler)
app.include_router(own_matches)


class OwnConvertor(StringConvertor):
    regex = "[xy]-[xy]"


register_url_convertor("own", OwnConvertor())


@app.get("/{value:own}")
async def own_convertor(value: str) -> list[str]:
    return value.split("-")


mounted = FastAPI(openapi_url=None)


@mounted.get("/in")
async def within() -> str:
    return "in the mount"


app.mount("/mounted", mounted)
