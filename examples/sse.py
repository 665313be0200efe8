"""Server-sent events: one answer that never needs to end, read by the browser's `EventSource`.

    overdrive sse:app --app-dir examples
    curl -N localhost:8000/ticks
    curl localhost:8000/listeners

Each event leaves when it is made. When a client goes away, its generator is cancelled at the `await` it waits in, and
`finally` runs: press Ctrl+C in the first `curl` and look at the listeners again. EXAMPLE_SECONDS sets the time between
two events.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from itertools import count

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

SECONDS = float(os.environ.get("EXAMPLE_SECONDS", "2"))

app = FastAPI(title="Server-sent events")

listeners = 0


async def events() -> AsyncIterator[str]:
    """The event stream of one client, in the format of the HTML standard (9.2.6)."""
    global listeners
    listeners += 1
    try:
        for number in count():
            yield f"id: {number}\nevent: tick\ndata: {json.dumps({'monotonic': time.monotonic()})}\n\n"
            await asyncio.sleep(SECONDS)
    finally:
        listeners -= 1


@app.get("/ticks")
async def ticks() -> StreamingResponse:
    """Ticks until the client leaves."""
    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


@app.get("/listeners")
async def listening() -> dict[str, int]:
    """How many clients are listening now."""
    return {"listeners": listeners}
