"""The application that most tests ask."""

from __future__ import annotations

import os

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from . import answers, bodies, errors, exits, headers, params, paths, places, refused, security, state, trees
from .journal import Counted, add_journal, note
from .layer import Layer
from .release import HAS_LIMITS

app = FastAPI(lifespan=state.lifespan)


@app.exception_handler(exits.Custom)
async def custom(request: Request, error: exits.Custom) -> JSONResponse:
    """An answer for an exception of the application's own."""
    note(f"handler {error}")
    return JSONResponse({"custom": str(error), "path": request.url.path}, 409, {"x-handled": "custom"})


for theme in (paths, params, headers, bodies, trees, exits, security, answers, errors, places, state, refused):
    app.include_router(theme.router)
if HAS_LIMITS:
    from . import limits

    app.include_router(limits.router)
places.place(app)
errors.handled(app)
state.handle(app)
add_journal(app)

if os.environ.get("DIFFERENTIAL_LAYERED") == "1":
    app.add_middleware(Layer)

# The same, where somebody has to know when a request is over.
counted = Counted(app)
