"""The forms below middleware."""

from __future__ import annotations

from fastapi import FastAPI

from . import forms
from .journal import add_journal
from .layer import Layer

app = FastAPI()
app.include_router(forms.router)
app.include_router(forms.limited)
add_journal(app)
app.add_middleware(Layer)
