"""The kitchen's doors: orders over HTTP, their feed over a WebSocket."""

import asyncio
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response, WebSocket, WebSocketDisconnect, status
from fastapi.requests import HTTPConnection

from .feed import News, Watcher
from .models import NewOrder, Order
from .orders import NoSuchOrder, Orders, TooLate

router = APIRouter()


def kitchen_orders(connection: HTTPConnection) -> Orders:
    """The orders that the lifespan opened; an `HTTPConnection` is a request or a WebSocket."""
    orders: Orders = connection.state.orders
    return orders


TheOrders = Annotated[Orders, Depends(kitchen_orders)]


@router.get("/orders")
async def listed(
    orders: TheOrders, after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> list[Order]:
    """Orders, the oldest first. For more of them, ask again with `after` set to the last number."""
    return await orders.after(after, limit)


@router.post("/orders", status_code=status.HTTP_201_CREATED)
async def place(new: NewOrder, orders: TheOrders, request: Request, response: Response) -> Order:
    """Takes an order; `Location` says where to ask for it."""
    order = await orders.place(new)
    response.headers["location"] = request.url_for("one_order", number=order.number).path
    return order


@router.get("/orders/{number}")
async def one_order(number: int, orders: TheOrders) -> Order:
    """How an order stands."""
    try:
        return await orders.get(number)
    except NoSuchOrder:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"There is no order {number}.") from None


@router.delete("/orders/{number}")
async def cancel(number: int, orders: TheOrders) -> Order:
    """Cancels an order that nobody has begun to cook."""
    try:
        return await orders.cancel(number)
    except NoSuchOrder:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"There is no order {number}.") from None
    except TooLate as late:
        raise HTTPException(status.HTTP_409_CONFLICT, f"Order {number} is already {late}.") from None


@router.websocket("/feed")
async def watch(socket: WebSocket, orders: TheOrders) -> None:
    """Sends the orders on the board, then every change, until the client leaves."""
    await socket.accept()
    # Watching begins before the orders are read: a change in between is told twice rather than not at all.
    with orders.feed.watching() as changes, suppress(WebSocketDisconnect):
        await socket.send_text(News(kind="all", orders=await orders.current()).model_dump_json())
        telling = asyncio.create_task(_tell(socket, changes))
        try:
            # Clients have nothing to say; reading is how their leaving is noticed.
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling


async def _tell(socket: WebSocket, changes: Watcher) -> None:
    async for order in changes:
        await socket.send_text(News(kind="change", orders=[order]).model_dump_json())
    await socket.close(status.WS_1013_TRY_AGAIN_LATER, "too far behind")
