"""Handlers that burn time while a background task sleeps 10 ms again and again, and notes how late it wakes.

- `GET /json`: 250 us of computing, then a small answer
- `GET /lateness`: percentiles, in milliseconds, of how late the task woke since the last time it was asked
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

from bare import Message, Receive, Send, answer

BURNT = 250e-6
SLEEP = 0.010

late: list[float] = []


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] == "/lateness":
        await answer(send, b"application/json", json.dumps(percentiles()).encode())
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
    """Notes the lateness of each sleep, in seconds."""
    while True:
        due = time.perf_counter() + SLEEP
        await asyncio.sleep(SLEEP)
        late.append(time.perf_counter() - due)


def percentiles() -> dict[str, float]:
    """What was noted, which is then forgotten."""
    ordered = sorted(late)
    late.clear()
    if not ordered:
        return {"sleeps": 0}
    at = {f"p{percent}": 1000 * ordered[len(ordered) * percent // 100] for percent in (50, 99)}
    return {"sleeps": len(ordered), "max": 1000 * ordered[-1], **at}
