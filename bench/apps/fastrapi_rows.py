"""fastrapi: the endpoints of `fastapi_rows.py` that it can express; none of its `async def` endpoints runs.

python fastrapi_rows.py PORT app|many
"""

import sys
from typing import Annotated

from fastrapi import APIRouter, FastrAPI, Query
from pydantic import BaseModel, Field

app = FastrAPI()
many = FastrAPI()


class Item(BaseModel):
    id: int
    name: str
    price: float
    tags: list[str]


@app.get("/items/{item_id}", response_model=Item)
def read_item(item_id: int, limit: int = Query(10, ge=1, le=100)):
    return Item(id=item_id, name=f"item {item_id}", price=9.5, tags=["new", f"limit {limit}"])


class NewItem(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=80)]
    price: Annotated[float, Field(gt=0)]
    tags: list[str] = []


@app.post("/items", response_model=Item)
def create_item(item: NewItem):
    return Item(id=1, name=item.name, price=item.price, tags=item.tags)


@app.get("/def")
def read_def():
    return {"message": "done"}


class Entry(BaseModel):
    route: int
    item: int


def add_route(router: APIRouter, number: int) -> None:
    @router.get(f"/route{number}/{{item_id}}", response_model=Entry)
    def read(item_id: int):
        return Entry(route=number, item=item_id)


for number in range(10):
    router = APIRouter(prefix=f"/router{number}")
    for route in range(50):
        add_route(router, route)
    many.include_router(router)


if __name__ == "__main__":
    {"app": app, "many": many}[sys.argv[2]].serve("127.0.0.1", int(sys.argv[1]))
