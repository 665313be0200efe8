"""An application that reports what the server's process holds: memory, descriptors, objects, references."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from typing import Any

ticks = 0
shared_header = (b"x-shared", b"a value that many responses share")
shared_body = b"b" * 20_000


async def tick() -> None:
    global ticks
    while True:
        await asyncio.sleep(0.01)
        ticks += 1


ticker: asyncio.Task[None] | None = None


async def app(scope: Any, receive: Any, send: Any) -> None:
    global ticker
    if scope["type"] == "lifespan":
        await receive()
        ticker = asyncio.get_running_loop().create_task(tick())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
        return
    path = scope["path"]
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/cycle":
        # Keeps `send` and `receive` alive in a cycle that only the collector can end.
        cycle: list[Any] = [send, receive, scope]
        cycle.append(cycle)
    if path == "/wait":
        await receive()
        await receive()
        return
    if path == "/slow":
        await asyncio.sleep(0.005)
    if path == "/burn":
        # Not the loop's own clock, which in uvloop counts milliseconds.
        deadline = time.perf_counter() + 0.00025
        while time.perf_counter() < deadline:
            pass
    if path == "/collect-elsewhere":
        await asyncio.to_thread(gc.collect)
    body = shared_body
    if path == "/holdings":
        body = json.dumps(holdings()).encode()
    elif path == "/echo":
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
    elif path in CHILDREN:
        body = str(fork(CHILDREN[path])).encode()
    elif path == "/multiprocessing":
        body = str(run_child()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [shared_header]})
    await send({"type": "http.response.body", "body": body})


def holdings() -> dict[str, int]:
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    loop = asyncio.get_running_loop()
    return {
        "resident": resident,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
        "tasks": len(asyncio.all_tasks(loop)),
        "header_references": sys.getrefcount(shared_header),
        "body_references": sys.getrefcount(shared_body),
        "none_references": sys.getrefcount(None) if sys.version_info < (3, 12) else 0,
        "ticks": ticks,
    }


def fork(child: Callable[[], object]) -> int:
    """Forks, lets the child do its part, and gives its exit status."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            child()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(process, 0)[1]


def close_everything() -> None:
    """As a daemon does; what is closed here is still open in the parent."""
    os.closerange(3, 65_536)


def run_a_loop() -> None:
    """A loop of the child's own, in the thread in which the parent's loop was running."""
    asyncio.run(asyncio.sleep(0.001))


CHILDREN: dict[str, Callable[[], object]] = {
    "/fork": gc.collect,
    "/fork-and-close": close_everything,
    "/fork-and-loop": run_a_loop,
}


def run_child() -> int:
    process = multiprocessing.get_context("fork").Process(target=gc.collect)
    process.start()
    process.join()
    return process.exitcode or 0
