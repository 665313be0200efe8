"""Finds its routes by itself, and counts how often somebody looks at what an endpoint is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Endpoint:
    """Is asked first whether it wraps another."""

    def __init__(self) -> None:
        self.looks = 0

    async def __call__(self) -> None: ...

    @property
    def __wrapped__(self) -> Any:
        self.looks += 1
        raise AttributeError


ROUTES = {path: (SimpleNamespace(path=path), Endpoint()) for path in ("/one", "/two")}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the number of looks so far."""
    if scope["type"] != "http":
        return
    route, endpoint = ROUTES[scope["path"]]
    scope["route"], scope["endpoint"] = route, endpoint
    body = str(endpoint.looks).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
