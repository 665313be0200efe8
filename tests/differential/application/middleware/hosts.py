"""A few hosts, and HTTPS for everybody who comes without a proxy."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from .routes import add_routes

app = FastAPI()
add_routes(app)
app.add_middleware(
    TrustedHostMiddleware,
    allowed_hosts=["differential.test", "127.0.0.1", "*.wild.test", "www.moved.test", "UPPER.test", "[::1]"],
)
