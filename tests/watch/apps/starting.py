"""On a machine where it takes long to start a thread."""

import threading
import time

from fastapi import FastAPI

app = FastAPI()
start = threading.Thread.start


def slow_start(self: threading.Thread) -> None:
    time.sleep(0.03)
    start(self)


threading.Thread.start = slow_start  # type: ignore[method-assign]


@app.get("/slow")
def slow() -> int:
    time.sleep(0.5)
    return threading.active_count()
