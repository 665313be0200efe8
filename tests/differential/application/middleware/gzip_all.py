"""Compression of everything that is text, in a thread from a size on, at another level."""

from __future__ import annotations

from inspect import signature
from typing import Any

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from .routes import add_routes

app = FastAPI()
add_routes(app)
# Before Starlette 1.5 there is less to say.
options: dict[str, Any] = {
    "thread_minimum_size": 1800,
    "exclude_content_types": ("Image/*; q=1", "application/grpc"),
}
offered = signature(GZipMiddleware).parameters
app.add_middleware(
    GZipMiddleware,
    minimum_size=1,
    compresslevel=1,
    **{name: value for name, value in options.items() if name in offered},
)
