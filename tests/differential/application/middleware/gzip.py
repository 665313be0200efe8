"""Compression as it is by default."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from .routes import add_routes

app = FastAPI()
add_routes(app)
app.add_middleware(GZipMiddleware)
