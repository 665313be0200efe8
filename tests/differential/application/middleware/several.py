"""Several: hosts outside, then CORS, then compression, in an application that handles every exception."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ..journal import note
from .routes import add_routes

app = FastAPI()
add_routes(app)
app.add_middleware(GZipMiddleware, minimum_size=100)
app.add_middleware(CORSMiddleware, allow_origins=["https://first.test"])
app.add_middleware(GZipMiddleware, minimum_size=10, compresslevel=5)
app.add_middleware(TrustedHostMiddleware, allowed_hosts=["differential.test", "127.0.0.1"])


@app.exception_handler(HTTPException)
async def http(request: Request, error: HTTPException) -> Response:
    """Every answer that FastAPI gives itself."""
    note(f"http {error.status_code}")
    if error.status_code in (204, 304):
        return Response(status_code=error.status_code, headers=error.headers)
    return JSONResponse({"http": error.status_code, "fill": "x" * 200}, error.status_code, error.headers)


@app.exception_handler(Exception)
async def anything(request: Request, error: Exception) -> JSONResponse:
    """Everything else."""
    note(f"anything {type(error).__name__}")
    return JSONResponse({"error": type(error).__name__, "fill": "x" * 200}, 500)
