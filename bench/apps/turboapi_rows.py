"""turboapi: the endpoints of `fastapi_rows.py` that it can express. It keeps no constraint of a parameter.

python turboapi_rows.py PORT app|many
"""

import asyncio
import sys
from typing import Annotated

from dhi import BaseModel, Field
from turboapi import APIRouter, HTTPException, TurboAPI

app = TurboAPI()
many = TurboAPI()


@app.get("/json")
async def read_json():
    return {"message": "done"}


class Item(BaseModel):
    id: int
    name: str
    price: float
    tags: list[str]


@app.get("/items/{item_id}")
async def read_item(item_id: int, limit: int = 10):
    if not 1 <= limit <= 100:
        raise HTTPException(status_code=422, detail="limit is out of bounds")
    return Item(id=item_id, name=f"item {item_id}", price=9.5, tags=["new", f"limit {limit}"])


class NewItem(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=80)]
    price: Annotated[float, Field(gt=0)]
    tags: list[str] = []


@app.post("/items")
def create_item(item: NewItem):
    return Item(id=1, name=item.name, price=item.price, tags=item.tags)


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
    @router.get(f"/route{number}/{{item_id}}")
    async def read(item_id: int):
        return Entry(route=number, item=item_id)


for number in range(10):
    router = APIRouter(prefix=f"/router{number}")
    for route in range(50):
        add_route(router, route)
    many.include_router(router)


if __name__ == "__main__":
    {"app": app, "many": many}[sys.argv[2]].run(host="127.0.0.1", port=int(sys.argv[1]))
