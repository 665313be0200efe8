"""Two plain `def` handlers may block: FastAPI runs each of them on a thread of its pool (40 threads unless told).

    overdrive two_def:app --app-dir examples
    curl localhost:8000/tea & curl localhost:8000/toast & wait

Both answers come after two seconds, as in `two_async`, but two threads were occupied meanwhile: each answer names its
own. EXAMPLE_SECONDS sets how long a handler takes.
"""

import os
import threading
import time

from fastapi import FastAPI
from pydantic import BaseModel

SECONDS = float(os.environ.get("EXAMPLE_SECONDS", "2"))

app = FastAPI(title="Two handlers on threads")


class Stay(BaseModel):
    """When a handler began and ended, in seconds of the monotonic clock, and on which thread it ran."""

    began: float
    ended: float
    thread: int


@app.get("/tea")
def tea() -> Stay:
    """Blocks its thread; the loop is on another one."""
    began = time.monotonic()
    time.sleep(SECONDS)
    return Stay(began=began, ended=time.monotonic(), thread=threading.get_ident())


@app.get("/toast")
def toast() -> Stay:
    """Blocks a second thread."""
    began = time.monotonic()
    time.sleep(SECONDS)
    return Stay(began=began, ended=time.monotonic(), thread=threading.get_ident())


@app.get("/loop")
async def loop() -> dict[str, int]:
    """The thread of the event loop, which neither of the two occupies."""
    return {"thread": threading.get_ident()}
