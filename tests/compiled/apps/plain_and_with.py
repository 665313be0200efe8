"""A route without parameters and one with."""

import fastapi
from fastapi import FastAPI

app = FastAPI(openapi_url=None)


@app.get("/plain")
async def plain() -> str:
    return fastapi.__version__


@app.get("/with/{parameter}")
async def with_parameter(parameter: int) -> int:
    return parameter
