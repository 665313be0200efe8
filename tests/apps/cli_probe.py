"""Answers what the tests of the command ask: who serves, what it has been told, and when it stops.

`PROBE_LIFESPAN` chooses how it answers the lifespan protocol: ok (the default), none, failed, failed-silently, raise,
shutdown-failed, exit.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import signal
import sys
from typing import Any
from urllib.parse import parse_qs

in_lifespan: contextvars.ContextVar[str] = contextvars.ContextVar("in_lifespan", default="unset")
in_request: contextvars.ContextVar[str] = contextvars.ContextVar("in_request", default="unset")
at_import: contextvars.ContextVar[str] = contextvars.ContextVar("at_import", default="unset")
at_import.set("set")

not_callable = {"an": "object"}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "http":
        await http(scope, receive, send)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    mode = os.environ.get("PROBE_LIFESPAN", "ok")
    if mode == "none":
        raise NotImplementedError("no lifespan here")
    await receive()
    if mode == "raise":
        raise LookupError("the database is away")
    if mode == "exit":
        sys.exit(7)
    if mode.startswith("failed"):
        message = {} if mode == "failed-silently" else {"message": "the database is away"}
        await send({"type": "lifespan.startup.failed", **message})
        return
    in_lifespan.set("set")
    scope["state"]["greeting"] = "hello"
    scope["state"]["visits"] = []
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("shutdown was told")
    if mode == "shutdown-failed":
        await send({"type": "lifespan.shutdown.failed", "message": "the database stayed"})
        return
    await send({"type": "lifespan.shutdown.complete"})


async def http(scope: Any, receive: Any, send: Any) -> None:
    query = parse_qs(scope["query_string"].decode())
    value: Any = "ok"
    status = 200
    match scope["path"].strip("/").split("/"):
        case ["pid"]:
            value = os.getpid()
        case ["environment"]:
            value = {name: os.environ.get(name) for name in query["name"]}
        case ["scope"]:
            value = {
                "client": scope["client"],
                "server": scope["server"],
                "root_path": scope["root_path"],
                "path": scope["path"],
                "asgi": scope["asgi"],
            }
        case ["state"]:
            scope["state"]["visits"].append(scope["path"])
            value = {"greeting": scope["state"].get("greeting"), "visits": len(scope["state"]["visits"])}
            # A shallow copy each: what one request puts there, the next does not see.
            scope["state"]["greeting"] = "overwritten"
        case ["loop"]:
            value = type(asyncio.get_running_loop()).__module__
        case ["context"]:
            value = {"lifespan": in_lifespan.get(), "request": in_request.get(), "import": at_import.get()}
            in_request.set("set")
        case ["status", code]:
            status = int(code)
        case ["hold"]:
            await hold()
        case ["exit"]:
            os._exit(5)
        case ["signal"]:
            os.kill(os.getpid(), signal.Signals[query["name"][0]])
        case ["print"]:
            say("printed by the application")
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def hold() -> None:
    """Says that it runs and where, then waits for SIGUSR1."""
    released = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, released.set)
    say(f"holding in {os.getpid()}")
    try:
        await released.wait()
    except asyncio.CancelledError as error:
        say(f"held request was cancelled: {error}")
        raise
    say("released")


def say(text: str) -> None:
    print(text, flush=True)


def create() -> Any:
    """A factory."""
    return app


def create_nothing() -> Any:
    """A factory that forgets to return."""
    return None


def create_failing() -> Any:
    """A factory that fails."""
    raise LookupError("no settings")


class Asgi2:
    """A legacy application: called with the scope, then with receive and send."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        if self.scope["type"] == "lifespan":
            raise NotImplementedError
        await app(self.scope, receive, send)


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """A WSGI application."""
    body = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
