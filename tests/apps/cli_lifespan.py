"""Applications that differ in what they do with lifespan."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def with_lifespan(lifespan: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await answer(scope, receive, send)

    return app


async def unsupported(receive: Any, send: Any) -> None:
    raise TypeError("no lifespan here")


async def told_failure(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is away"})


async def told_and_raised_failure(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "told once"})
    raise RuntimeError("told once")


async def leaves_by_exit(receive: Any, send: Any) -> None:
    await receive()
    sys.exit(9)


async def shutdown_failure(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "could not tidy up"})


async def shutdown_raises(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise RuntimeError("raised while tidying up")


async def ends_early(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})


async def wrong_message(receive: Any, send: Any) -> None:
    await receive()
    try:
        await send({"type": "lifespan.shutdown.complete"})
    except RuntimeError as error:
        print(f"refused: {error}", flush=True)
    await send({"type": "lifespan.startup.complete"})
    try:
        await send({"type": "lifespan.startup.complete"})
    except RuntimeError as error:
        print(f"refused: {error}", flush=True)
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def never_starts(receive: Any, send: Any) -> None:
    await receive()
    print("starting for ever", flush=True)
    await asyncio.Event().wait()


async def starts_when_told(receive: Any, send: Any) -> None:
    await receive()
    fifo = os.open(os.environ["CLI_FIFO"], os.O_RDWR | os.O_NONBLOCK)
    written = asyncio.Event()
    asyncio.get_running_loop().add_reader(fifo, written.set)
    print("waiting to start", flush=True)
    await written.wait()
    asyncio.get_running_loop().remove_reader(fifo)
    os.close(fifo)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def never_stops(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("stopping for ever", flush=True)
    await asyncio.Event().wait()


async def works_after_its_answer(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
    await asyncio.sleep(0)
    print("the last word", flush=True)


async def takes_the_port(receive: Any, send: Any) -> None:
    """Listens where the server is bound, so that the server cannot."""
    await receive()
    rival = socket.socket()
    rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    rival.bind(("127.0.0.1", int(os.environ["CLI_PORT"])))
    rival.listen()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("shutdown received", flush=True)
    rival.close()
    await send({"type": "lifespan.shutdown.complete"})


for _lifespan in (
    unsupported,
    told_failure,
    told_and_raised_failure,
    leaves_by_exit,
    shutdown_failure,
    shutdown_raises,
    ends_early,
    wrong_message,
    never_starts,
    starts_when_told,
    never_stops,
    works_after_its_answer,
    takes_the_port,
):
    globals()[f"app_{_lifespan.__name__}"] = with_lifespan(_lifespan)
