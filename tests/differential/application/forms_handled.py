"""The forms, with handlers that look at the body of what was refused."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from . import forms
from .journal import add_journal, note

app = FastAPI()
app.include_router(forms.router)
app.include_router(forms.limited)
add_journal(app)


@app.exception_handler(RequestValidationError)
async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """Shows the form."""
    body = error.body
    form = await request.form()
    items = [[key, forms.shown(value)] for key, value in form.multi_items()]
    note(f"invalid {type(body).__name__} {body is form}")
    return JSONResponse({"errors": [[item["loc"], item["type"]] for item in error.errors()], "form": items}, 422)


@app.exception_handler(HTTPException)
async def refused(request: Request, error: HTTPException) -> JSONResponse:
    """Shows the reason."""
    note(f"refused {request.url.query} {type(error.__cause__).__name__} {type(error.__context__).__name__}")
    return JSONResponse({"refused": error.detail}, error.status_code)
