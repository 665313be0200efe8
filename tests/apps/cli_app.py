"""A bare ASGI application that tells of the process it runs in, for tests of the command."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import signal
import sys
import threading
from typing import Any

seen_in_lifespan: contextvars.ContextVar[str] = contextvars.ContextVar("seen_in_lifespan", default="nothing")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "http":
        path = scope["path"].removeprefix(scope["root_path"]).strip("/")
        await globals()[f"path_{path}"](scope, send)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    print("application starts", flush=True)
    seen_in_lifespan.set("set in lifespan")
    scope["state"]["opened"] = os.getpid()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("application stops", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Any, body: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def path_(scope: Any, send: Any) -> None:
    await answer(send, "ok")


async def path_pid(scope: Any, send: Any) -> None:
    await answer(send, os.getpid())


async def path_scope(scope: Any, send: Any) -> None:
    named = ("type", "asgi", "http_version", "scheme", "path", "root_path", "client", "server", "state")
    await answer(send, {name: scope[name] for name in named if name in scope})


async def path_process(scope: Any, send: Any) -> None:
    await answer(
        send,
        {
            "environment": dict(os.environ),
            "loop": type(asyncio.get_running_loop()).__module__,
            "context": seen_in_lifespan.get(),
            "threads": [thread.name for thread in threading.enumerate()],
            "path": sys.path[0],
        },
    )


async def path_hold(scope: Any, send: Any) -> None:
    """Answers when somebody writes to the FIFO that the query names."""
    fifo = os.open(scope["query_string"].decode(), os.O_RDWR | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()
    written = loop.create_future()
    loop.add_reader(fifo, lambda: written.done() or written.set_result(None))
    print("holding", flush=True)
    try:
        await written
    except asyncio.CancelledError as error:
        print(f"cancelled: {error}", flush=True)
        raise
    finally:
        loop.remove_reader(fifo)
        os.close(fifo)
    await answer(send, "held")


async def path_hang(scope: Any, send: Any) -> None:
    """Stops every thread of this process, as a deadlock within the GIL would."""
    os.kill(os.getpid(), signal.SIGSTOP)


async def path_die(scope: Any, send: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
