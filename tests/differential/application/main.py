"""The application that most tests ask."""

from __future__ import annotations

import os

from fastapi import FastAPI

from . import paths
from .journal import add_journal
from .layer import Layer

app = FastAPI()
app.include_router(paths.router)
add_journal(app)

if os.environ.get("DIFFERENTIAL_LAYERED") == "1":
    app.add_middleware(Layer)
