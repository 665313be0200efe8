"""Routes with everything that an instrument may say something of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Form, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse
from opentelemetry import trace
from pydantic import BaseModel
from starlette.background import BackgroundTask

tracer = trace.get_tracer("the application")


class Item(BaseModel):
    """A body, and an answer."""

    name: str
    size: int = 1


class Odd(Exception):
    """Handled by the application."""


async def noted(q: str = "none") -> AsyncIterator[str]:
    """A dependency that is left after the response."""
    with tracer.start_as_current_span("in a dependency"):
        yield q


def in_thread(value: Annotated[str, Depends(noted)]) -> str:
    """A dependency on a thread."""
    with tracer.start_as_current_span("in a thread"):
        return value


async def failing() -> None:
    """A dependency that fails."""
    raise KeyError("of a dependency")


async def later(name: str) -> None:
    """A background task."""
    with tracer.start_as_current_span(f"later {name}"):
        pass


def add_routes(app: FastAPI) -> None:
    """Adds them all."""
    router = APIRouter(prefix="/included/{place}")

    @app.get("/")
    async def root() -> Any:
        with tracer.start_as_current_span("in the endpoint"):
            return {"hello": "world"}

    @app.get("/sync/{number}")
    def sync(number: int) -> Any:
        with tracer.start_as_current_span("in the endpoint"):
            return {"number": number}

    @app.get("/depends")
    async def depends(value: Annotated[str, Depends(in_thread)]) -> str:
        return value

    @app.post("/items/{number}")
    async def make(number: int, item: Item, request: Request) -> Item:
        return Item(name=f"{item.name} {request.method}", size=number)

    @router.get("/{number}", status_code=201)
    async def inside(place: str, number: int, q: str | None = None) -> Any:
        return {"place": place, "number": number, "q": q}

    @router.get("/fails/{how}")
    async def inside_fails(place: str, how: str) -> Any:
        raise HTTPException(status_code=503) if how == "answered" else ValueError(place)

    app.include_router(router, prefix="/outer")

    @app.get("/wrong-answer", response_model=Item)
    async def wrong_answer() -> Any:
        return {"size": "x"}

    @app.get("/nan", response_model=None)
    async def nan() -> Any:
        return {"value": float("nan")}

    @app.get("/missing")
    async def missing() -> Any:
        raise HTTPException(status_code=404, detail="nothing")

    @app.get("/unavailable")
    async def unavailable() -> Any:
        raise HTTPException(status_code=503)

    @app.get("/fails")
    async def fails() -> Any:
        raise ValueError("of the endpoint")

    @app.get("/fails-sync")
    def fails_sync() -> Any:
        raise ValueError("of the endpoint in a thread")

    @app.get("/odd")
    async def odd() -> Any:
        raise Odd

    @app.get("/fails-in-dependency")
    async def fails_in_dependency(
        value: Annotated[str, Depends(noted)], failed: Annotated[None, Depends(failing)]
    ) -> Any:
        return value

    @app.get("/lines")
    async def lines() -> AsyncIterator[Item]:
        yield Item(name="one")
        yield Item(name="two")

    @app.post("/form")
    async def form(given: Annotated[Item, Form()]) -> Item:
        return given

    @app.get("/plain")
    async def plain() -> Any:
        return PlainTextResponse("plain", background=BackgroundTask(later, "of a response"))

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> Any:
        tasks.add_task(later, "once")
        tasks.add_task(later, "twice")
        return {"begun": True}

    @app.websocket("/socket/{name}")
    async def socket(websocket: WebSocket, name: str, value: Annotated[str, Depends(noted)]) -> None:
        await websocket.accept()
        await websocket.send_text(f"{name} {value}")
        await websocket.receive_text()
        await websocket.close()

    @app.exception_handler(Odd)
    async def handle(request: Request, error: Odd) -> JSONResponse:
        return JSONResponse({"odd": True}, status_code=418)
