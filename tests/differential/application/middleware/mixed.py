"""Middleware of all kinds, one around the other."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

from ..journal import note
from .pure import QUIET, Around
from .routes import add_routes


class Dispatching(BaseHTTPMiddleware):
    """A class of its own, with a name for each object."""

    def __init__(self, app: object, name: str) -> None:
        super().__init__(app)  # type: ignore[arg-type]
        self.name = name

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.url.path.startswith(QUIET):
            return await call_next(request)
        request.state.names = [*getattr(request.state, "names", []), self.name]
        note(f"{self.name} begins {type(self).__name__}")
        try:
            response = await call_next(request)
        finally:
            note(f"{self.name} goes on {request.state.names}")
        response.headers.append("x-names", self.name)
        return response


app = FastAPI()
add_routes(app)
app.add_middleware(Dispatching, name="innermost")
app.add_middleware(GZipMiddleware, minimum_size=100)
app.add_middleware(Dispatching, name="middle")
app.add_middleware(Around)
app.add_middleware(CORSMiddleware, allow_origins=["https://first.test"], allow_credentials=True)
app.add_middleware(Dispatching, name="outermost")
