"""Handlers that burn time while a background task sleeps 10 ms again and again, and notes how late it wakes.

- `GET /json`: 250 us of computing, then a small answer
- `GET /lateness?FROM-TO`: percentiles, in milliseconds, of how late the task woke between two readings of
  `time.monotonic()`, which on Linux is the same clock in every process
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

from bare import Message, Receive, Send, answer

BURNT = 250e-6
SLEEP = 0.010

late: list[tuple[float, float]] = []


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] == "/lateness":
        await answer(
            send, b"application/json", json.dumps(percentiles(*map(float, scope["query_string"].split(b"-")))).encode()
        )
    else:
        end = time.perf_counter() + BURNT
        while time.perf_counter() < end:
            pass
        await answer(send, b"application/json", json.dumps({"message": "done"}).encode())


async def lifespan(receive: Receive, send: Send) -> None:
    """Runs the task as long as the server runs."""
    await receive()
    task = asyncio.create_task(tick())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await send({"type": "lifespan.shutdown.complete"})


async def tick() -> None:
    """Notes when each sleep was to end, and how late it did, in seconds."""
    while True:
        due = time.monotonic() + SLEEP
        await asyncio.sleep(SLEEP)
        late.append((due, time.monotonic() - due))


def percentiles(begin: float, end: float) -> dict[str, float]:
    """Of the sleeps that were to end between the two."""
    ordered = sorted(lateness for due, lateness in late if begin <= due <= end)
    if not ordered:
        return {"sleeps": 0}
    at = {f"p{percent}": 1000 * ordered[len(ordered) * percent // 100] for percent in (50, 99)}
    return {"sleeps": len(ordered), "max": 1000 * ordered[-1], **at}
