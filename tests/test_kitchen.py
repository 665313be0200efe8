"""The kitchen example, served and used over HTTP and its WebSocket as its page uses it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from .conftest import Serve, Served

EXAMPLES = Path(__file__).parent.parent / "examples"
APP = "kitchen.main:app"
DEADLINE = 30.0

# Cooks who take longer than any test, for what must not move meanwhile; and cooks who are done at once.
SLOW = {"KITCHEN_SECONDS": "3600"}
FAST = {"KITCHEN_SECONDS": "0.05"}
CLOSED = {"KITCHEN_COOKS": "0"}

Order = dict[str, Any]


class Guest:
    """A client of both doors."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection) -> None:
        self.http = http
        self.socket = socket

    async def order(self, **order: object) -> Order:
        answer = await self.http.post("/orders", json={"guest": "Anna", "dish": "soup", **order})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def news(self) -> tuple[str, list[Order]]:
        message = json.loads(await self.socket.recv())
        return message["kind"], message["orders"]

    async def changes(self, number: int) -> list[Order]:
        """The next changes that the feed tells."""
        told = []
        for _ in range(number):
            kind, (order,) = await self.news()
            assert kind == "change"
            told.append(order)
        return told


@asynccontextmanager
async def guest(served: Served) -> AsyncIterator[Guest]:
    async with (
        asyncio.timeout(DEADLINE),
        httpx.AsyncClient(base_url=served.url, timeout=DEADLINE) as http,
        connect(f"{served.ws_url}/feed", proxy=None) as socket,
    ):
        yield Guest(http, socket)


def test_an_order_is_watched_from_waiting_to_ready(serve: Serve) -> None:
    async def visit() -> None:
        async with guest(serve(APP, app_dir=EXAMPLES, env=FAST)) as anna:
            assert await anna.news() == ("all", [])
            placed = await anna.order(guest="  Anna ", dish="curry", portions=2, note="mild")
            expected = {"number": 1, "guest": "Anna", "dish": "curry", "portions": 2, "note": "mild"}
            assert placed == {**expected, "state": "waiting"}
            assert await anna.changes(3) == [{**expected, "state": s} for s in ("waiting", "cooking", "ready")]
            assert (await anna.http.get("/orders/1")).json() == {**expected, "state": "ready"}

    asyncio.run(visit())


def test_everybody_sees_the_same_changes_and_late_comers_the_whole(serve: Serve) -> None:
    served = serve(APP, app_dir=EXAMPLES, env=CLOSED)

    async def visit() -> None:
        async with guest(served) as anna, guest(served) as ben:
            assert await anna.news() == await ben.news() == ("all", [])
            placed = await asyncio.gather(*(anna.order(guest=f"guest {number}") for number in range(20)))
            told = await anna.changes(20)
            assert told == await ben.changes(20)
            # Told in the order of their numbers, though they were placed all at once.
            assert [order["number"] for order in told] == list(range(1, 21))
            assert sorted(placed, key=lambda order: order["number"]) == told
            async with guest(served) as chiara:
                assert await chiara.news() == ("all", told)

    asyncio.run(visit())


def test_the_board_forgets_old_orders_and_the_list_gives_them_by_pages(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "orders.sqlite"
    env = {**CLOSED, "KITCHEN_DATABASE": str(file)}
    first = serve(APP, app_dir=EXAMPLES, env=env)
    first.stop()
    with sqlite3.connect(file) as database:
        database.executemany(
            "INSERT INTO orders (guest, dish, portions, note, state) VALUES ('Anna', 'soup', 1, '', ?)",
            [("waiting",), *[("ready",)] * 50],
        )
    database.close()

    async def visit() -> None:
        async with guest(serve(APP, app_dir=EXAMPLES, env=env)) as anna:
            kind, board = await anna.news()
            assert kind == "all"
            assert [order["number"] for order in board] == [1, *range(22, 52)]
            pages: list[list[int]] = [[0]]
            while pages[-1]:
                answer = await anna.http.get("/orders", params={"after": pages[-1][-1], "limit": 20})
                pages.append([order["number"] for order in answer.json()])
            assert pages == [[0], [*range(1, 21)], [*range(21, 41)], [*range(41, 52)], []]
            assert [(await anna.http.get("/orders", params={"limit": n})).status_code for n in (0, 501)] == [422, 422]

    asyncio.run(visit())


def test_each_cook_has_one_order_and_takes_the_oldest(serve: Serve) -> None:
    async def visit() -> None:
        async with guest(serve(APP, app_dir=EXAMPLES, env={**SLOW, "KITCHEN_COOKS": "2"})) as anna:
            await anna.news()
            for _ in range(4):
                await anna.order()
            told = [(order["number"], order["state"]) for order in await anna.changes(6)]
            assert [number for number, state in told if state == "waiting"] == [1, 2, 3, 4]
            assert [number for number, state in told if state == "cooking"] == [1, 2]

    asyncio.run(visit())


def test_only_a_waiting_order_can_be_cancelled(serve: Serve) -> None:
    async def visit() -> None:
        async with guest(serve(APP, app_dir=EXAMPLES, env={**SLOW, "KITCHEN_COOKS": "1"})) as anna:
            await anna.news()
            await anna.order()
            await anna.order()
            assert {(order["number"], order["state"]) for order in await anna.changes(3)} == {
                (1, "waiting"),
                (1, "cooking"),
                (2, "waiting"),
            }
            cancelled = await anna.http.delete("/orders/2")
            assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
            assert await anna.changes(1) == [cancelled.json()]
            refused = [await anna.http.delete(f"/orders/{number}") for number in (1, 2, 3)]
            assert [(answer.status_code, answer.json()["detail"]) for answer in refused] == [
                (409, "Order 1 is already cooking."),
                (409, "Order 2 is already cancelled."),
                (404, "There is no order 3."),
            ]

    asyncio.run(visit())


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"guest": "   "}, "guest"),
        ({"guest": "x" * 41}, "guest"),
        ({"guest": None}, "guest"),
        ({"dish": "gravel"}, "dish"),
        ({"portions": 0}, "portions"),
        ({"portions": 13}, "portions"),
        ({"portions": 1.5}, "portions"),
        ({"note": "x" * 121}, "note"),
        ({"state": "ready"}, "state"),
    ],
)
def test_a_wrong_order_is_refused_by_field(kitchen: Served, wrong: dict[str, object], field: str) -> None:
    answer = httpx.post(f"{kitchen.url}/orders", json={"guest": "Anna", "dish": "soup", **wrong})
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["detail"]] == [["body", field]]
    assert httpx.get(f"{kitchen.url}/orders").json() == []


def test_an_answer_says_where_the_order_is(serve: Serve) -> None:
    served = serve(APP, "--root-path", "/eat", app_dir=EXAMPLES, env=CLOSED)
    answer = httpx.post(f"{served.url}/orders", json={"guest": "Anna", "dish": "pie"})
    assert answer.headers["location"] == "/eat/orders/1"


def test_the_page_is_complete_in_itself(kitchen: Served) -> None:
    answer = httpx.get(kitchen.url)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert all(f'name="dish" value="{dish}"' in answer.text for dish in ("soup", "pasta", "curry", "pie"))
    # Nothing is fetched: no address but the namespace of the icon's drawing.
    assert answer.text.count("://") == answer.text.count("http://www.w3.org/2000/svg") == 1


def test_orders_outlive_the_server_in_their_file(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "orders.sqlite"
    env = {**SLOW, "KITCHEN_DATABASE": str(file), "KITCHEN_COOKS": "1"}
    first = serve(APP, app_dir=EXAMPLES, env=env)

    async def visit() -> None:
        async with guest(first) as anna:
            await anna.news()
            await anna.order(guest="Anna")
            await anna.order(guest="Ben")
            await anna.changes(3)

    asyncio.run(visit())
    first.stop()
    assert "Traceback" not in first.log
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT guest, state FROM orders ORDER BY number").fetchall() == [
            ("Anna", "cooking"),
            ("Ben", "waiting"),
        ]
    # What was on the stove when the kitchen closed waits again when it opens.
    second = serve(APP, app_dir=EXAMPLES, env={**env, **CLOSED})
    orders = httpx.get(f"{second.url}/orders").json()
    assert [(order["guest"], order["state"]) for order in orders] == [("Anna", "waiting"), ("Ben", "waiting")]


def test_the_server_stops_while_the_feed_is_watched(serve: Serve) -> None:
    served = serve(APP, app_dir=EXAMPLES, env=SLOW)

    async def visit() -> None:
        async with guest(served) as anna:
            await anna.news()
            await asyncio.to_thread(served.stop)
            await anna.socket.wait_closed()
            assert anna.socket.close_code == 1012

    asyncio.run(visit())
    assert "Traceback" not in served.log


def test_a_watcher_who_falls_behind_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from kitchen.feed import Feed
    from kitchen.models import Dish, Order

    async def watch() -> None:
        feed = Feed(behind=2)
        orders = [Order(number=number, guest="Anna", dish=Dish.SOUP) for number in range(4)]
        with feed.watching() as slow:
            for order in orders[:3]:
                feed.publish(order)
            with feed.watching() as prompt:
                feed.publish(orders[3])
                async with asyncio.timeout(DEADLINE):
                    assert [order async for order in slow] == []
                    assert await anext(aiter(prompt)) == orders[3]

    asyncio.run(watch())


@pytest.fixture(scope="module")
def kitchen(serve_once: Serve) -> Served:
    """A kitchen without cooks, for what changes nothing."""
    return serve_once(APP, app_dir=EXAMPLES, env=CLOSED)
