"""Somebody has replaced one of FastAPI's functions."""

from typing import Any

from fastapi import FastAPI
from fastapi.dependencies import utils


def request_params_to_args(fields: Any, received_params: Any) -> tuple[dict[str, Any], list[Any]]:
    return {field.name: "patched" for field in fields}, []


utils.request_params_to_args = request_params_to_args  # type: ignore[assignment]

app = FastAPI(openapi_url=None)


@app.get("/plain")
async def plain() -> str:
    return "plain"


@app.get("/with/{parameter}")
async def with_parameter(parameter: str) -> str:
    return parameter
