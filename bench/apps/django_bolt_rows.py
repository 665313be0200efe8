"""django-bolt: the endpoints of `fastapi_rows.py` that it can express, with msgspec's structs, in a Django of one file.

python django_bolt_rows.py app|many runbolt --port PORT
"""

import asyncio
import sys
from typing import Annotated

import django
from django.conf import settings
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        BOLT_API=[f"django_bolt_rows:{sys.argv.pop(1)}"],
        DEBUG=False,
        INSTALLED_APPS=["django_bolt"],
        LOGGING={"version": 1, "loggers": {"django.server": {"level": "ERROR"}}},  # a line for each 422 otherwise
        ROOT_URLCONF="django_bolt_rows",
        SECRET_KEY="of no use here",
    )
    django.setup()

import msgspec
from django_bolt import BoltAPI, Depends, Router
from django_bolt.param_functions import Query

urlpatterns: list[object] = []

app = BoltAPI(enable_logging=False)
many = BoltAPI(enable_logging=False)


@app.get("/json")
async def read_json():
    return {"message": "done"}


class Item(msgspec.Struct):
    id: int
    name: str
    price: float
    tags: list[str]


@app.get("/items/{item_id}")
async def read_item(item_id: int, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> Item:
    return Item(id=item_id, name=f"item {item_id}", price=9.5, tags=["new", f"limit {limit}"])


class NewItem(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    price: Annotated[float, msgspec.Meta(gt=0)]
    tags: list[str] = []


@app.post("/items", status_code=200)
async def create_item(item: NewItem) -> Item:
    return Item(id=1, name=item.name, price=item.price, tags=item.tags)


async def page(offset: int = 0) -> int:
    return offset


async def window(offset: Annotated[int, Depends(page)], limit: int = 10) -> tuple[int, int]:
    return offset, offset + limit


async def selection(bounds: Annotated[tuple[int, int], Depends(window)]) -> list[int]:
    return list(bounds)


@app.get("/nested")
async def read_nested(selected: Annotated[list[int], Depends(selection)]):
    return {"selected": selected}


@app.get("/def")
def read_def():
    return {"message": "done"}


@app.get("/sleep")
async def read_sleep():
    await asyncio.sleep(0.01)
    return {"message": "done"}


class Entry(msgspec.Struct):
    route: int
    item: int


def add_route(router: Router, number: int) -> None:
    @router.get(f"/route{number}/{{item_id}}")
    async def read(item_id: int) -> Entry:
        return Entry(route=number, item=item_id)


for number in range(10):
    router = Router(prefix=f"/router{number}")
    for route in range(50):
        add_route(router, route)
    many.include_router(router)


if __name__ == "__main__":
    execute_from_command_line(sys.argv)
