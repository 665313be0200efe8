"""FastAPI with the metrics of prometheus-fastapi-instrumentator."""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

app = FastAPI()


@app.get("/json")
async def read_json():
    """The least that an endpoint can do."""
    return {"message": "done"}


Instrumentator().instrument(app).expose(app)
