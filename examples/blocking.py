"""The classic mistake: an `async def` handler that blocks holds everybody else up.

    overdrive blocking:app --app-dir examples
    curl localhost:8000/blocks & curl localhost:8000/quick & wait

`/quick` has nothing to wait for, yet when it comes second it answers only after `/blocks` has ended: `time.sleep` keeps
the one thread on which the loop runs. The cure is `await asyncio.sleep` (see `two_async`), a plain `def` (see
`two_def`), or an executor (see `executors`). EXAMPLE_SECONDS sets how long `/blocks` takes.
"""

import os
import time

from fastapi import FastAPI

SECONDS = float(os.environ.get("EXAMPLE_SECONDS", "2"))

app = FastAPI(title="A handler that blocks the loop")


@app.get("/blocks")
async def blocks() -> dict[str, float]:
    """Never gives the thread back while it sleeps."""
    began = time.monotonic()
    time.sleep(SECONDS)  # noqa: ASYNC251 - the mistake that this example is about
    return {"began": began, "ended": time.monotonic()}


@app.get("/quick")
async def quick() -> dict[str, float]:
    """Would answer at once."""
    began = time.monotonic()
    return {"began": began, "ended": time.monotonic()}
