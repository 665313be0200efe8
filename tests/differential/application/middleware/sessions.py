"""Sessions, below CORS and around compression."""

from __future__ import annotations

from typing import Any

import itsdangerous
from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware

from .routes import Handled, add_routes

# Two servers would sign the same session with different seconds.
NOW = 1_700_000_000
itsdangerous.TimestampSigner.get_timestamp = lambda self: NOW  # type: ignore[method-assign]

app = FastAPI()
add_routes(app)


@app.get("/visits")
async def visits(request: Request) -> dict[str, Any]:
    """Reads and writes."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return dict(request.session)


@app.get("/look")
async def look(request: Request) -> dict[str, Any]:
    """Reads alone."""
    return dict(request.session)


@app.get("/scope-alone")
async def scope_alone(request: Request) -> list[str]:
    """Knows the scope, and takes nothing of the session."""
    return sorted(request.scope["session"])


@app.get("/clear")
async def clear(request: Request) -> str:
    """Ends a session."""
    request.session.clear()
    return "cleared"


@app.get("/vary-too")
async def vary_too(request: Request) -> PlainTextResponse:
    """Has such a header already."""
    request.session["a"] = "ü" * 100
    return PlainTextResponse("x" * 200, headers={"Vary": "Accept", "Set-Cookie": "own=1"})


@app.get("/streamed")
async def streamed(request: Request) -> StreamingResponse:
    """What is set before the response begins counts, what is set later does not."""
    request.session["before"] = 1

    async def pieces() -> Any:
        request.session["during"] = 2
        yield "piece"

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/fails")
async def fails(request: Request, how: str) -> None:
    """Sets something, then raises."""
    request.session["failed"] = how
    if how == "http":
        raise HTTPException(409, "conflict")
    raise Handled(how) if how == "handled" else RuntimeError(how)


@app.get("/replaced")
async def replaced(request: Request) -> str:
    """Puts a dict there that knows nothing of its use."""
    request.scope["session"] = {"a": 1}
    return "replaced"


@app.get("/unserializable-session")
async def unserializable_session(request: Request) -> str:
    """What no cookie can hold."""
    request.session["a"] = object()
    return "never"


@app.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    """Tells what it was opened with."""
    await websocket.accept()
    await websocket.send_json(dict(websocket.session))
    await websocket.close()


app.add_middleware(GZipMiddleware, minimum_size=100)
app.add_middleware(SessionMiddleware, secret_key="secret", domain="differential.test")
app.add_middleware(CORSMiddleware, allow_origins=["https://first.test"], allow_credentials=True)
