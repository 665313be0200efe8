"""The application that most tests ask."""

from __future__ import annotations

import os

from fastapi import FastAPI

from . import bodies, headers, params, paths, trees
from .journal import add_journal
from .layer import Layer

app = FastAPI()
for theme in (paths, params, headers, bodies, trees):
    app.include_router(theme.router)
add_journal(app)

if os.environ.get("DIFFERENTIAL_LAYERED") == "1":
    app.add_middleware(Layer)
