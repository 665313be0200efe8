"""A FastAPI endpoint as people write them: a path and a query parameter, a dependency, a validated response."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel

app = FastAPI()


class Item(BaseModel):
    """What the endpoint answers."""

    id: int
    name: str
    price: float
    tags: list[str]


async def page_size(limit: int = 10) -> int:
    """The dependency: a query parameter, clamped."""
    return min(limit, 100)


@app.get("/items/{item_id}")
async def read_item(item_id: int, limit: Annotated[int, Depends(page_size)]) -> Item:
    """One item, made up from its number."""
    return Item(id=item_id, name=f"item {item_id}", price=9.5, tags=["new", f"limit {limit}"])
