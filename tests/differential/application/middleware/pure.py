"""One pure ASGI middleware: it looks at what goes in, changes what comes out, and has something to do around."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..journal import note
from .routes import add_routes, inside

# Journals ask for themselves, and lifespans are nobody's request.
QUIET = ("/journal", "/openapi.json")


class Around:
    """Has an id for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(QUIET):
            await self.app(scope, receive, send)
            return
        inside.set("middleware")
        origin = Headers(scope=scope).get("origin", "none")

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                endpoint = getattr(scope.get("endpoint"), "__name__", None)
                note(f"start {endpoint} {getattr(scope.get('route'), 'path', None)} {scope.get('path_params')}")
                MutableHeaders(scope=message)["x-origin"] = origin
            await send(message)

        note("around begins")
        try:
            await self.app(scope, receive, sender)
        except Exception as error:
            note(f"around sees {type(error).__name__} of {type(error.__cause__).__name__}")
            raise


app = FastAPI()
add_routes(app)
app.add_middleware(Around)
