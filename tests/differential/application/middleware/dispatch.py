"""One `@app.middleware("http")`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response

from ..journal import note
from .pure import QUIET
from .routes import add_routes, inside

app = FastAPI()
add_routes(app)


@app.middleware("http")
async def around(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Notes what goes by."""
    if request.url.path.startswith(QUIET):
        return await call_next(request)
    inside.set("middleware")
    note("dispatch begins")
    try:
        response = await call_next(request)
    except Exception as error:
        note(f"dispatch sees {type(error).__name__} of {type(error.__cause__).__name__}")
        raise
    endpoint = getattr(request.scope.get("endpoint"), "__name__", None)
    note(f"dispatch goes on {endpoint} {inside.get()} {type(response).__name__} {response.status_code}")
    response.headers["x-dispatched"] = "1"
    return response
