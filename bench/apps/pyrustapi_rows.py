"""pyrustapi: the endpoints of `fastapi_rows.py`.

It converts parameters, but keeps no constraint of one, and gives a dependency only the request and other dependencies:
the rest is done by hand here. Its `Security` drops the scopes, so that a dependency is made for each set of them. It
takes a parameter that is annotated with a model for the body.

    python pyrustapi_rows.py PORT app|many
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from pydantic import BaseModel, Field
from rustapi import APIRouter, Depends, FastAPI, HTTPException, Request
from rustapi.security import OAuth2PasswordBearer

app = FastAPI()
many = FastAPI()


@app.get("/json")
async def read_json():
    return {"message": "done"}


class Item(BaseModel):
    id: int
    name: str
    price: float
    tags: list[str]


@app.get("/items/{item_id}", response_model=Item)
async def read_item(item_id: int, limit: int = 10):
    if not 1 <= limit <= 100:
        raise HTTPException(status_code=422, detail="limit is out of bounds")
    return Item(id=item_id, name=f"item {item_id}", price=9.5, tags=["new", f"limit {limit}"])


class NewItem(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=80)]
    price: Annotated[float, Field(gt=0)]
    tags: list[str] = []


@app.post("/items", response_model=Item)
async def create_item(item: NewItem):
    return Item(id=1, name=item.name, price=item.price, tags=item.tags)


def whole(request: Request, name: str, default: int) -> int:
    try:
        return int(request.query_params.get(name, default))
    except ValueError:
        raise HTTPException(status_code=422, detail=f"{name} is no integer") from None


async def page(request: Request) -> int:
    return whole(request, "offset", 0)


async def window(request: Request, offset: int = Depends(page)) -> tuple[int, int]:
    return offset, offset + whole(request, "limit", 10)


async def selection(bounds: tuple[int, int] = Depends(window)) -> list[int]:
    return list(bounds)


@app.get("/nested")
async def read_nested(selected: list[int] = Depends(selection)):
    return {"selected": selected}


class User(BaseModel):
    name: str
    scopes: list[str]


USERS = {
    "secret": User(name="ada", scopes=["items:read", "items:write"]),
    "writer": User(name="bob", scopes=["items:write"]),
}
bearer = OAuth2PasswordBearer(tokenUrl="token", scopes={"items:read": "Read items.", "items:write": "Write items."})


class Session:
    def __init__(self) -> None:
        self.closed = False


async def session() -> AsyncIterator[Session]:
    opened = Session()
    try:
        yield opened
    finally:
        opened.closed = True


def user_with(*required: str) -> Callable[..., object]:
    async def current_user(token: str = Depends(bearer)) -> User:
        user = USERS.get(token)
        if user is None or not set(required) <= set(user.scopes):
            raise HTTPException(status_code=401, detail="not authorized", headers={"WWW-Authenticate": "Bearer"})
        return user

    return current_user


@app.get("/me")
async def read_me(request: Request, user=Depends(user_with("items:read")), opened=Depends(session)):
    # Where the endpoint does not ask for the request, that of the dependencies has no headers.
    return {"name": user.name, "open": not opened.closed}


@app.get("/def")
def read_def():
    return {"message": "done"}


@app.get("/sleep")
async def read_sleep():
    await asyncio.sleep(0.01)
    return {"message": "done"}


class Entry(BaseModel):
    route: int
    item: int


def add_route(router: APIRouter, number: int) -> None:
    @router.get(f"/route{number}/{{item_id}}", response_model=Entry)
    async def read(item_id: int):
        return Entry(route=number, item=item_id)


for number in range(10):
    router = APIRouter(prefix=f"/router{number}")
    for route in range(50):
        add_route(router, route)
    many.include_router(router)


if __name__ == "__main__":
    {"app": app, "many": many}[sys.argv[2]].run(host="127.0.0.1", port=int(sys.argv[1]))
