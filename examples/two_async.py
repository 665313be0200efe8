"""Two `async def` handlers that wait share one thread: while one waits, the loop runs the other.

    overdrive two_async:app --app-dir examples
    curl localhost:8000/tea & curl localhost:8000/toast & wait

Both answers come after two seconds, not four. Each tells on the machine's monotonic clock when its handler began and
ended, so that the overlap can be read off. EXAMPLE_SECONDS sets how long a handler takes.
"""

import asyncio
import os
import time

from fastapi import FastAPI

SECONDS = float(os.environ.get("EXAMPLE_SECONDS", "2"))

app = FastAPI(title="Two async handlers")


@app.get("/tea")
async def tea() -> dict[str, float]:
    """Waits without holding the thread: `await` hands it back to the loop."""
    began = time.monotonic()
    await asyncio.sleep(SECONDS)
    return {"began": began, "ended": time.monotonic()}


@app.get("/toast")
async def toast() -> dict[str, float]:
    """Begins while the tea is still drawing."""
    began = time.monotonic()
    await asyncio.sleep(SECONDS)
    return {"began": began, "ended": time.monotonic()}
