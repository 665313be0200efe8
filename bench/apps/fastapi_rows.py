"""FastAPI as people write it: an endpoint for each row of the comparison, and an application of 500 routes.

`bench/rows.py` says what is asked of them and what they must answer. An endpoint that is said to return a dict has no
return annotation: with one it would have a response model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import (
    APIRouter,
    Depends,
    FastAPI,
    Form,
    HTTPException,
    Query,
    Security,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel, Field

ROUTERS = 10
ROUTES = 50
"""In each router."""

app = FastAPI()
many = FastAPI()
"""The application of 500 routes: in front of the other endpoints they would cost those, too."""


@app.get("/json")
async def read_json():
    """The least that an endpoint can do."""
    return {"message": "done"}


class Item(BaseModel):
    """What two of the endpoints answer."""

    id: int
    name: str
    price: float
    tags: list[str]


@app.get("/items/{item_id}")
async def read_item(item_id: int, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> Item:
    """A path and a query parameter are validated, and so is the answer."""
    return Item(id=item_id, name=f"item {item_id}", price=9.5, tags=["new", f"limit {limit}"])


class NewItem(BaseModel):
    """The JSON body."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    price: Annotated[float, Field(gt=0)]
    tags: list[str] = []


@app.post("/items")
async def create_item(item: NewItem) -> Item:
    """A body is validated, and so is the answer; an invalid body gets 422."""
    return Item(id=1, name=item.name, price=item.price, tags=item.tags)


class Order(BaseModel):
    """The form."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    price: Annotated[float, Field(gt=0)]
    tags: list[str] = []
    express: bool = False


@app.post("/orders")
async def create_order(order: Annotated[Order, Form()]) -> Order:
    """A form is validated, and so is the answer."""
    return order


@app.post("/files")
async def create_file(file: UploadFile, note: Annotated[str, Form(max_length=80)] = ""):
    """A file is read as a whole, beside a field."""
    return {"name": file.filename, "size": len(await file.read()), "note": note}


async def member(token: Annotated[str, Query(max_length=20)] = "none") -> str:
    """Whom a WebSocket belongs to."""
    return f"member {token}"


@app.websocket("/echo")
async def echo(websocket: WebSocket, member: Annotated[str, Depends(member)]) -> None:
    """Each message is sent back."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


async def page(offset: int = 0) -> int:
    """The innermost of three dependencies."""
    return offset


async def window(offset: Annotated[int, Depends(page)], limit: int = 10) -> tuple[int, int]:
    """The middle one."""
    return offset, offset + limit


async def selection(bounds: Annotated[tuple[int, int], Depends(window)]) -> list[int]:
    """The outer one."""
    return list(bounds)


@app.get("/nested")
async def read_nested(selected: Annotated[list[int], Depends(selection)]):
    """Three nested dependencies, two query parameters."""
    return {"selected": selected}


class User(BaseModel):
    """Whose token it was."""

    name: str
    scopes: list[str]


USERS = {
    "secret": User(name="ada", scopes=["items:read", "items:write"]),
    "writer": User(name="bob", scopes=["items:write"]),
}
bearer = OAuth2PasswordBearer(tokenUrl="token", scopes={"items:read": "Read items.", "items:write": "Write items."})


class Session:
    """What stands for a database's session here."""

    def __init__(self) -> None:
        self.closed = False


async def session() -> AsyncIterator[Session]:
    """The dependency that is left again when the endpoint has returned."""
    opened = Session()
    try:
        yield opened
    finally:
        opened.closed = True


async def current_user(required: SecurityScopes, token: Annotated[str, Depends(bearer)]) -> User:
    """The user of the bearer token, who must have every scope that the endpoint requires."""
    user = USERS.get(token)
    if user is None or not set(required.scopes) <= set(user.scopes):
        raise HTTPException(401, "not authorized", headers={"WWW-Authenticate": f'Bearer scope="{required.scope_str}"'})
    return user


@app.get("/me")
async def read_me(
    user: Annotated[User, Security(current_user, scopes=["items:read"])], opened: Annotated[Session, Depends(session)]
):
    """OAuth2 bearer, scopes, and a dependency with `yield`."""
    return {"name": user.name, "open": not opened.closed}


@app.get("/def")
def read_def():
    """Runs in the thread pool."""
    return {"message": "done"}


@app.get("/sleep")
async def read_sleep():
    """Waits as for a database, 10 ms."""
    await asyncio.sleep(0.01)
    return {"message": "done"}


class Entry(BaseModel):
    """What each of the 500 routes answers, which shows that it was the right one; and each event."""

    route: int
    item: int


EVENTS = 100
"""In each stream."""


@app.get("/events", response_class=EventSourceResponse)
async def read_events() -> AsyncIterator[Entry]:
    """Server-sent events, as fast as they go."""
    for number in range(EVENTS):
        yield Entry(route=number, item=7)


def add_route(router: APIRouter, number: int) -> None:
    """One of the fifty routes of a router."""

    @router.get(f"/route{number}/{{item_id}}")
    async def read(item_id: int) -> Entry:
        return Entry(route=number, item=item_id)


def routed(number: int) -> APIRouter:
    """One of the ten routers."""
    router = APIRouter(prefix=f"/router{number}", tags=[f"router {number}"])
    for route in range(ROUTES):
        add_route(router, route)
    return router


for number in range(ROUTERS):
    many.include_router(routed(number))
