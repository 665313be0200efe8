"""The rows of the FastAPI comparison: what is asked of an endpoint, what it must answer, what overdrive is to reach.

`apps/fastapi_rows.py` serves them, and so does each other framework, as far as it can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from load import InvalidRun, Request, fetch
from servers import Running

CONNECTIONS = 32
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
TYPE = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Row:
    """An endpoint: the request that is measured, its answer, and the throughput to reach in that of uvicorn.

    An answer of None is left to the framework: how it words a validation error is its own affair. `refused` are the
    requests that it must refuse, with the statuses that say so: without validation it would be quick, but not this row.
    `headers` are those that the answer must have, by their names in lower case.
    """

    name: str
    title: str
    request: Request
    times_uvicorn: float
    answer: object = None
    status: int = 200
    connections: int = CONNECTIONS
    app: str = "app"
    refused: Sequence[tuple[Request, Sequence[int]]] = field(default_factory=tuple)
    headers: Mapping[str, str] = field(default_factory=dict)

    def verify(self, server: Running, refusals: Sequence[int] = ()) -> None:
        """Raises InvalidRun unless the server answers as it must, and refuses what it must, with `refusals` too."""
        status, headers, body = fetch(server.port, self.request)
        if status != self.status:
            raise InvalidRun(f"the status is {status}, not {self.status}: {body[:200]!r}")
        if self.answer is not None:
            if not headers.get("content-type", "").startswith("application/json"):
                raise InvalidRun(f"the answer is not declared to be JSON: {headers}")
            if json.loads(body) != self.answer:
                raise InvalidRun(f"the answer is wrong: {body[:200]!r}")
        for name, value in self.headers.items():
            if headers.get(name) != value:
                raise InvalidRun(f"the answer's {name} is not {value}: {headers}")
        for request, statuses in self.refused:
            status, _, body = fetch(server.port, request)
            if status not in (*statuses, *refusals):
                raise InvalidRun(f"{request.method} {request.path} is not refused: {status}, {body[:200]!r}")


def posted(document: Mapping[str, object]) -> Request:
    """A JSON document sent to /items."""
    return Request("/items", "POST", TYPE, json.dumps(document).encode())


def uploaded(size: int) -> Request:
    """A file of so many bytes and a field, sent as a browser does."""
    parts = (
        'form-data; name="note"\r\n\r\nfor the archive',
        f'form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n{"x" * size}',
    )
    body = "".join(f"--{BOUNDARY}\r\nContent-Disposition: {part}\r\n" for part in parts) + f"--{BOUNDARY}--\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return Request("/files", "POST", headers, body.encode())


def filled_in(form: str) -> Request:
    """An urlencoded form sent to /orders."""
    return Request("/orders", "POST", {"Content-Type": "application/x-www-form-urlencoded"}, form.encode())


def authorized(token: str) -> Request:
    """A request with a bearer token."""
    return Request("/me", headers={"Authorization": f"Bearer {token}"})


INVALID = (400, 422)
DENIED = (401, 403)

BROWSER = {"Origin": "https://example.org", "Accept-Encoding": "gzip, deflate, br"}

MIDDLEWARE_ROWS = (
    Row(
        "cors-gzip",
        "With CORS and GZip, a dict",
        Request("/json", headers=BROWSER),
        10,
        {"message": "done"},
        app="layered",
        headers={"access-control-allow-origin": "https://example.org"},
    ),
    Row(
        "dispatch",
        'With one @app.middleware("http"), a dict',
        Request("/json"),
        5,
        {"message": "done"},
        app="dispatching",
        headers={"x-dispatched": "yes"},
    ),
    Row(
        "asgi-middleware",
        "With one pure ASGI middleware (a correlation id), a dict",
        Request("/json", headers={"X-Request-ID": "5d0bd9"}),
        4,
        {"message": "done"},
        app="correlated",
        headers={"x-request-id": "5d0bd9"},
    ),
)
"""What stands in front of an endpoint; the other frameworks have no such middleware, or another's."""

ROWS = (
    Row("dict", "async def, returns a dict", Request("/json"), 15, {"message": "done"}),
    Row(
        "model",
        "Path and query validation, returns a model",
        Request("/items/7?limit=20"),
        12,
        {"id": 7, "name": "item 7", "price": 9.5, "tags": ["new", "limit 20"]},
        refused=((Request("/items/seven"), INVALID), (Request("/items/7?limit=500"), INVALID)),
    ),
    Row(
        "body",
        "JSON body into a model, returns a model",
        posted({"name": "bolt", "price": 9.5, "tags": ["new"]}),
        10,
        {"id": 1, "name": "bolt", "price": 9.5, "tags": ["new"]},
        refused=((posted({"name": "", "price": 9.5}), INVALID), (posted({"name": "bolt", "price": -1}), INVALID)),
    ),
    Row(
        "invalid",
        "An invalid JSON body, answered 422",
        posted({"name": "bolt", "price": "cheap"}),
        8,
        status=422,
    ),
    Row(
        "dependencies",
        "Three nested async dependencies",
        Request("/nested?offset=5&limit=10"),
        12,
        {"selected": [5, 15]},
        refused=((Request("/nested?offset=five"), INVALID),),
    ),
    Row(
        "oauth2",
        "OAuth2 bearer, scopes, a dependency with yield",
        authorized("secret"),
        8,
        {"name": "ada", "open": True},
        refused=((Request("/me"), DENIED), (authorized("guessed"), DENIED), (authorized("writer"), DENIED)),
    ),
    Row("def", "def, returns a dict", Request("/def"), 12, {"message": "done"}),
    Row(
        "sleep",
        "await asyncio.sleep(0.01), 512 connections",
        Request("/sleep"),
        6,
        {"message": "done"},
        connections=512,
    ),
    Row(
        "routes",
        "The last of 500 routes in ten included routers",
        Request("/router9/route49/7"),
        100,
        {"route": 49, "item": 7},
        app="many",
        refused=((Request("/router9/route49/seven"), INVALID), (Request("/router9/route50/7"), (404,))),
    ),
)

FORM_ROWS = (
    Row(
        "upload",
        "Multipart upload of 100 KiB",
        uploaded(100 << 10),
        4,
        {"name": "a.txt", "size": 100 << 10, "note": "for the archive"},
        refused=((Request("/files", "POST"), INVALID),),
    ),
    Row(
        "form",
        "Urlencoded form into a model",
        filled_in("name=Ada+L.&price=9.5&tags=new&tags=sale&express=on"),
        8,
        {"name": "Ada L.", "price": 9.5, "tags": ["new", "sale"], "express": True},
        refused=((filled_in("name=&price=9.5"), INVALID), (filled_in("name=Ada&price=-1"), INVALID)),
    ),
)
"""FastAPI's alone: what the other frameworks make of forms is not the same work."""
