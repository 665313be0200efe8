"""FastAPI below middleware, as people add it: an endpoint that returns a dict, in three stacks."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def application() -> FastAPI:
    """An application with the endpoint."""
    app = FastAPI()

    @app.get("/json")
    async def read_json():
        """No annotation: it would be a response model."""
        return {"message": "done"}

    return app


layered = application()
"""Starlette's own middleware: CORS around GZip."""
layered.add_middleware(GZipMiddleware)
layered.add_middleware(CORSMiddleware, allow_origins=["https://example.org"], allow_credentials=True)

dispatching = application()
"""One `@app.middleware("http")`."""


@dispatching.middleware("http")
async def add_header(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Adds a header, as FastAPI's documentation does in its first example."""
    response = await call_next(request)
    response.headers["X-Dispatched"] = "yes"
    return response


class CorrelationId:
    """Pure ASGI middleware: takes the id of a request from its headers, or makes one, and sends it back."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = given or uuid.uuid4().hex.encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode("latin-1")

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-request-id", request_id))
            await send(message)

        await self.app(scope, receive, sender)


correlated = application()
correlated.add_middleware(CorrelationId)
