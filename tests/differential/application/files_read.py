"""Files below middleware that reads or rewrites the body of every response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .files import FOLDER
from .journal import add_journal


class Whole:
    """Holds the head back until the body is there, and writes it in capitals."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = b""

        async def rewrite(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            elif message["type"] == "http.response.body":
                body += message["body"]
                if not message.get("more_body"):
                    await send(start)
                    await send({"type": "http.response.body", "body": body.upper()})

        await self.app(scope, receive, rewrite if scope["type"] == "http" else send)


async def read(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    body = b""
    async for piece in response.body_iterator:  # type: ignore[attr-defined]
        body += piece
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Response(body, response.status_code, headers)


async def file() -> FileResponse:
    return FileResponse(FOLDER / "middle.txt")


def of_files(*middleware: Middleware) -> FastAPI:
    app = FastAPI(middleware=list(middleware))
    app.get("/file")(file)
    app.mount("/static", StaticFiles(directory=FOLDER))
    return app


GZIP = Middleware(GZipMiddleware, minimum_size=10)

reading = of_files()
reading.middleware("http")(read)

app = FastAPI()
app.mount("/plain", of_files())
app.mount("/read", reading)
app.mount("/whole", of_files(Middleware(Whole)))
app.mount("/gzip", of_files(GZIP))


async def by_starlette(request: Request) -> FileResponse:
    return await file()


app.mount("/starlette", Starlette(routes=[Route("/file", by_starlette)], middleware=[GZIP]))
app.router.routes.append(Mount("/mounted", StaticFiles(directory=FOLDER), middleware=[GZIP]))
app.get("/file")(file)
app.middleware("http")(read)
add_journal(app)

# The same within an application that is nobody's middleware.
inner = of_files()
add_journal(inner)
wrapped: ASGIApp = GZipMiddleware(inner, minimum_size=10)
