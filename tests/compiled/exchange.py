"""Requests as bytes, answers as what a client could tell apart."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import Served

# Every server has its own.
IGNORED = {"date", "server"}


@dataclass(frozen=True)
class Request:
    """A request. Headers are sent as they are given."""

    target: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    def __str__(self) -> str:
        body = "" if self.body is None else f" {self.body[:60]!r}"
        headers = "".join(f" {name}: {value}" for name, value in self.headers)
        return f"{self.method} {self.target}{headers}{body}"


@dataclass(frozen=True)
class Answer:
    """A response, and what the application noted until its request was over."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    journal: list[str] = field(default_factory=list)


def ask(served: Served, request: Request) -> Answer:
    """Sends one request on a connection of its own, then reads the journal."""
    answer = send(served, request)
    journal: list[str] = json.loads(send(served, Request("/journal")).body)
    return Answer(answer.status, answer.reason, answer.headers, answer.body, journal)


def send(served: Served, request: Request) -> Answer:
    """Sends one request. The connection is closed by the server, after all that belongs to the request."""
    connection = http.client.HTTPConnection(served.host, served.port, timeout=20)
    try:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", "testserver")
        for name, value in request.headers:
            connection.putheader(name, value.encode("latin-1"))
        if request.body is not None:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        response = connection.getresponse()
        body = response.read()
        return Answer(response.status, response.reason, grouped(response.getheaders()), body)
    finally:
        connection.close()


def grouped(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers in their order, with those of one name together: hyper writes them so, and it means the same (RFC 9110
    section 5.3)."""
    names = dict.fromkeys(name.lower() for name, _ in headers)
    return [(name, value) for name in names if name not in IGNORED for other, value in headers if other.lower() == name]


def json_request(target: str, content: Any, method: str = "POST", **headers: str) -> Request:
    """A request with a JSON body; bytes are sent as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    given = (("content-type", "application/json"), *headers.items())
    return Request(target, method, given, body)


def form_request(target: str, body: bytes) -> Request:
    """A request with an urlencoded form."""
    return Request(target, "POST", (("content-type", "application/x-www-form-urlencoded"),), body)


def files_request(target: str, **files: str) -> Request:
    """A request with a multipart form of text files."""
    parts = [
        f'--b\r\ncontent-disposition: form-data; name="{name}"; filename="{name}.txt"\r\n\r\n{content}\r\n'
        for name, content in files.items()
    ]
    body = "".join([*parts, "--b--\r\n"]).encode()
    return Request(target, "POST", (("content-type", "multipart/form-data; boundary=b"),), body)
