"""The same application below middleware of its own."""

import asyncio
from typing import Any

from fastapi import Request
from features import app, not_waited_for
from starlette.middleware.gzip import GZipMiddleware

app.add_middleware(GZipMiddleware, minimum_size=200)


@app.middleware("http")
async def stamp(request: Request, call_next: Any) -> Any:
    if request.url.path == "/journal" and (task := asyncio.current_task()) is not None:
        # The endpoint runs in a task of its own, and need not wait for the one that waits for it.
        not_waited_for.add(task)
    response = await call_next(request)
    response.headers["X-Stamp"] = "1"
    return response
