"""A small orders service: SQLite, validation, dependencies, a WebSocket feed and a page in the browser.

    overdrive kitchen.main:app --app-dir examples

Then open http://localhost:8000. KITCHEN_DATABASE names the file that keeps the orders (without it they are kept in
memory), KITCHEN_SECONDS is how long a cook takes for an order, and KITCHEN_COOKS how many cooks there are.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI

from . import page, routes
from .database import opened
from .orders import Orders

SECONDS = float(os.environ.get("KITCHEN_SECONDS", "6"))
COOKS = int(os.environ.get("KITCHEN_COOKS", "2"))


class State(TypedDict):
    """What every request finds in `request.state`."""

    orders: Orders


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Opens the database and lets the cooks in; in the end the cooks leave first."""
    async with opened() as database, asyncio.TaskGroup() as group:
        orders = Orders(database)
        cooks = [group.create_task(orders.cook(SECONDS)) for _ in range(COOKS)]
        yield {"orders": orders}
        for cook in cooks:
            cook.cancel()


app = FastAPI(title="Kitchen", summary="Orders that you can watch being cooked.", lifespan=lifespan)
app.include_router(page.router)
app.include_router(routes.router)
