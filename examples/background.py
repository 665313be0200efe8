"""A background task: the answer goes out first, the work is done afterwards.

    overdrive background:app --app-dir examples
    curl -X POST localhost:8000/letters/anna
    curl localhost:8000/letters

The first command returns at once; the letter turns from "accepted" to "sent" two seconds later. Background tasks die
with the process: work that must survive a restart belongs in a queue. EXAMPLE_SECONDS sets how long sending takes.
"""

import asyncio
import os
import time

from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel

SECONDS = float(os.environ.get("EXAMPLE_SECONDS", "2"))

app = FastAPI(title="Work after the answer")


class Letter(BaseModel):
    """A letter; times are seconds of the monotonic clock."""

    to: str
    accepted: float
    sent: float | None = None


letters: list[Letter] = []


async def send(letter: Letter) -> None:
    """Stands for a slow mail server."""
    await asyncio.sleep(SECONDS)
    letter.sent = time.monotonic()


@app.post("/letters/{to}", status_code=202)
async def accept(to: str, tasks: BackgroundTasks) -> Letter:
    """Promises to send a letter, and answers before it is sent."""
    letter = Letter(to=to, accepted=time.monotonic())
    letters.append(letter)
    tasks.add_task(send, letter)
    return letter


@app.get("/letters")
async def listed() -> list[Letter]:
    """All letters so far."""
    return letters
