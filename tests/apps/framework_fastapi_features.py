"""What FastAPI has beyond the other frameworks, behind a middleware of either kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Form, HTTPException, Request, Response, UploadFile
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field

app = FastAPI()
app.add_middleware(GZipMiddleware, minimum_size=10_000)

caller: ContextVar[str] = ContextVar("caller", default="nobody")


@app.middleware("http")
async def remember_caller(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    caller.set(request.headers.get("x-caller", "nobody"))
    response = await call_next(request)
    response.headers["x-seen-by"] = "middleware"
    return response


class Item(BaseModel):
    name: str
    price: Annotated[float, Field(gt=0)]


class Refused(Exception):
    pass


@app.exception_handler(Refused)
async def refused(request: Request, error: Refused) -> JSONResponse:
    return JSONResponse({"refused": str(error)}, 418)


@app.post("/items", status_code=201)
async def create(item: Item) -> Item:
    if item.name == "coffee":
        raise Refused("this is a teapot")
    if item.name == "tea":
        raise HTTPException(409, "there is tea already", {"retry-after": "7"})
    return item


async def current_caller() -> AsyncIterator[str]:
    name = caller.get()
    yield name
    print(f"{name} was let go")


@app.get("/caller")
async def called(name: Annotated[str, Depends(current_caller)], tasks: BackgroundTasks) -> dict[str, str]:
    tasks.add_task(print, f"{caller.get()} was written down")
    return {"caller": name}


@app.get("/caller/thread")
def called_on_thread() -> dict[str, str]:
    return {"caller": caller.get()}


@app.post("/upload")
async def upload(title: Annotated[str, Form()], file: UploadFile) -> dict[str, object]:
    return {"title": title, "name": file.filename, "size": len(await file.read())}


@app.get("/large", response_class=PlainTextResponse)
async def large() -> str:
    return "compressible " * 10_000


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(__file__)
