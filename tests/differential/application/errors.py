"""Exceptions of endpoints, and the handlers that an application may have for them."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import FastAPIError, RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from .answers import Status
from .exits import Session
from .journal import note, where

router = APIRouter(prefix="/errors")

level: ContextVar[str] = ContextVar("level", default="outside")


class Base(Exception):
    """An exception that has a handler."""


class Derived(Base):
    """One that has none of its own."""


class Threaded(Exception):
    """One whose handler is no coroutine function."""


class Failing(Exception):
    """One whose handler raises."""


class Unhandled(Exception):
    """One without any."""


class Strange(Exception):
    """One whose handler returns what is no response."""


class Wanted(BaseModel):
    """A body."""

    name: str
    size: int = 0


@router.get("/http/{status}")
async def http(status: Status, detail: str | None = None):
    raise HTTPException(status, detail)


@router.get("/http-in-thread/{status}")
def http_in_thread(status: Status):
    raise HTTPException(status)


@router.get("/http-of-starlette")
async def http_of_starlette():
    raise StarletteHTTPException(409, "of Starlette", {"x-own": "yes"})


@router.get("/http-detail")
async def http_detail():
    raise HTTPException(400, {"a": [1, None], "é": 1e-7}, {"X-Own": "Yes", "content-type": "application/problem+json"})


@router.get("/http-detail-unserializable")
async def http_detail_unserializable():
    raise HTTPException(400, {"a": object()})


@router.get("/http-detail-nan")
async def http_detail_nan():
    raise HTTPException(400, float("nan"))


@router.get("/http-headers")
async def http_headers():
    raise HTTPException(401, headers={"WWW-Authenticate": "Bearer", "x-latin": "é"})


@router.get("/base")
async def base():
    raise Base("base")


@router.get("/derived")
async def derived():
    raise Derived("derived")


@router.get("/derived-in-thread")
def derived_in_thread():
    raise Derived("derived")


@router.get("/threaded")
async def threaded():
    raise Threaded("threaded")


@router.get("/failing")
async def failing(how: str):
    raise Failing(how)


@router.get("/strange")
async def strange():
    raise Strange("strange")


@router.get("/unhandled")
async def unhandled(session: Session):
    raise Unhandled("unhandled")


@router.get("/unhandled-in-thread")
def unhandled_in_thread():
    raise Unhandled("unhandled")


@router.get("/cause")
async def cause():
    try:
        raise ValueError("cause")
    except ValueError as error:
        raise Base("with a cause") from error


@router.get("/own-validation-error")
async def own_validation_error():
    # An error of pydantic's within the endpoint is a fault of the server.
    Wanted.model_validate({})


@router.get("/own-request-validation-error")
async def own_request_validation_error():
    raise RequestValidationError([{"type": "own", "loc": ("own",), "msg": "own", "input": None}], body={"own": True})


@router.get("/fastapi-error")
async def fastapi_error():
    raise FastAPIError("own")


@router.post("/body")
async def body(wanted: Wanted):
    return wanted


@router.post("/body-and-more/{number}")
async def body_and_more(number: int, wanted: Wanted, q: int, session: Session):
    return wanted


@router.post("/body-then-http")
async def body_then_http(wanted: Wanted):
    raise HTTPException(409, wanted.name)


@router.get("/wrong-answer")
async def wrong_answer() -> Wanted:
    return {"size": "x"}  # type: ignore[return-value]


async def set_level():
    level.set("within")


@router.get("/contextvar", dependencies=[Depends(set_level)])
async def contextvar():
    raise Base("contextvar")


@router.get("/contextvar-in-thread", dependencies=[Depends(set_level)])
async def contextvar_in_thread():
    raise Threaded("contextvar")


async def changes_state(request: Request):
    request.state.changed = "by dependency"
    request.scope["own"] = "by dependency"


@router.get("/state", dependencies=[Depends(changes_state)])
async def state():
    raise Base("state")


@router.get("/injected")
async def injected(response: Response):
    response.headers["x-injected"] = "lost"
    raise Base("injected")


@router.get("/raises-response-validation")
async def raises_response_validation():
    raise ResponseValidationError([{"type": "own", "loc": ("own",), "msg": "own", "input": None}])


@router.get("/not-found")
async def not_found(value: Annotated[int, Depends(lambda: 1)]):
    raise HTTPException(404, "an item")


def handled(app: FastAPI) -> None:
    """Adds a handler of each kind to an application."""

    @app.exception_handler(Base)
    async def on_base(request: Request, error: Base) -> JSONResponse:
        note(f"handler {type(error).__name__} {error} {level.get()} cause {error.__cause__!r}")
        state = getattr(request.state, "changed", None)
        return JSONResponse({"error": str(error), "state": state, "own": request.scope.get("own")}, 420)

    @app.exception_handler(Threaded)
    def on_threaded(request: Request, error: Threaded) -> PlainTextResponse:
        note(f"handler {where()} {level.get()}")
        return PlainTextResponse(str(error), 421, {"x-thread": where()})

    @app.exception_handler(Failing)
    async def on_failing(request: Request, error: Failing) -> Response:
        note("handler fails")
        if str(error) == "http":
            raise HTTPException(422, "from a handler")
        raise Base("from a handler") if str(error) == "base" else ValueError("from a handler")

    @app.exception_handler(Strange)
    async def on_strange(request: Request, error: Strange) -> Any:
        return {"no": "response"}


def handles_everything(app: FastAPI) -> None:
    """Replaces FastAPI's own handlers, and adds one for what nobody expects."""

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        # It reads the body again, as one does to log it.
        note(f"validation {len(error.errors())} body {error.body!r} {error.endpoint_ctx.get('path')}"[:300])
        note(f"raw {(await request.body())[:100]!r} keys {sorted(request.path_params)}")
        if request.headers.get("x-standard"):
            return await request_validation_exception_handler(request, error)
        try:
            text = str(error).replace(str(error.endpoint_ctx.get("file")), "FILE")
        except Exception as fault:
            text = repr(fault)
        return JSONResponse({"handled": [entry["loc"] for entry in error.errors()], "text": text}, 400)

    @app.exception_handler(StarletteHTTPException)
    async def on_http(request: Request, error: StarletteHTTPException) -> Response:
        note(f"http {error.status_code} {error.detail!r}")
        response = await http_exception_handler(request, error)
        response.headers["x-handled"] = "http"
        return response

    @app.exception_handler(ResponseValidationError)
    async def on_response(request: Request, error: ResponseValidationError) -> Response:
        note(f"response {len(error.errors())} {error.body!r}")
        return JSONResponse({"wrong": "answer"}, 502)

    @app.exception_handler(ValidationError)
    def on_pydantic(request: Request, error: ValidationError) -> Response:
        note(f"pydantic {error.error_count()} {where()}")
        return JSONResponse({"wrong": error.title}, 503)

    @app.exception_handler(404)
    async def on_404(request: Request, error: Exception) -> Response:
        note(f"404 {type(error).__name__} {getattr(error, 'detail', None)}")
        return PlainTextResponse(f"nothing at {request.url.path}", 404)

    @app.exception_handler(405)
    def on_405(request: Request, error: StarletteHTTPException) -> Response:
        note(f"405 {where()}")
        return PlainTextResponse("not so", 405, error.headers)

    @app.exception_handler(Exception)
    async def on_anything(request: Request, error: Exception) -> Response:
        note(f"anything {type(error).__name__}")
        return JSONResponse({"anything": type(error).__name__}, 500, {"x-handled": "500"})
