"""HTTPS for all, with a list of hosts without redirects."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .routes import add_routes


class Redirect(HTTPSRedirectMiddleware):
    """Only a subclass: Python's code runs, plans answer within it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["subclass"] = True
        await super().__call__(scope, receive, send)


def build(redirect: type[HTTPSRedirectMiddleware]) -> ASGIApp:
    """The application with one of them."""
    app = FastAPI()
    add_routes(app)
    app.add_middleware(redirect)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["*.test", "127.0.0.1"], www_redirect=False)
    return app


app = build(HTTPSRedirectMiddleware)
