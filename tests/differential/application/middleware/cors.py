"""Some origins, with credentials and everything else that can be said."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from .routes import add_routes

app = FastAPI()
add_routes(app)
origins = ["https://first.test"]
app.add_middleware(
    CORSMiddleware,
    allow_origins=origins,
    allow_origin_regex=r"https://.*\.inside\.test",
    allow_methods=["GET", "POST"],
    allow_headers=["X-Token"],
    allow_credentials=True,
    expose_headers=["X-One", "X-Two"],
    max_age=5,
)


@app.get("/add-origin")
async def add_origin(origin: str) -> list[str]:
    """Allows one more from now on."""
    if origin not in origins:
        origins.append(origin)
    return origins
