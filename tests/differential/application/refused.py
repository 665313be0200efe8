"""Answers that HTTP does not have."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

router = APIRouter(prefix="/refused", include_in_schema=False)


@router.get("/status/{status}")
async def odd_status(status: int):
    return Response(b"", status)


@router.get("/length/{length}")
async def odd_length(length: int):
    return Response(b"abc", headers={"content-length": str(length)})


@router.get("/header")
async def odd_header():
    return Response(b"abc", headers={"x-odd": "a\r\nx-smuggled: b"})
