"""Every origin, with credentials."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from .routes import add_routes

app = FastAPI()
add_routes(app)
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)
