"""A resource that lives as long as the application: opened before the first request, closed after the last.

    overdrive lifespan_resource:app --app-dir examples
    curl localhost:8000/visits
    curl localhost:8000/visits

What the lifespan yields is `request.state` in every request. The counter survives a restart, because it is saved on
the way out, when Ctrl+C has stopped the server and every request has ended. EXAMPLE_VISITS names the file; without it
nothing is kept.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from fastapi import FastAPI, Request


@dataclass
class Visits:
    """Counts in memory; `open` and `save` belong to the lifespan."""

    count: int
    file: Path | None

    @classmethod
    def open(cls, file: Path | None) -> "Visits":
        """The count that was saved, or none."""
        return cls(int(file.read_text()) if file and file.exists() else 0, file)

    def save(self) -> None:
        """Keeps the count for the next start."""
        if self.file:
            self.file.write_text(f"{self.count}\n")


class State(TypedDict):
    """What every request finds in `request.state`."""

    visits: Visits


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Runs once: to the `yield` before the server listens, the rest after the last request."""
    file = os.environ.get("EXAMPLE_VISITS")
    visits = Visits.open(Path(file) if file else None)
    try:
        yield {"visits": visits}
    finally:
        visits.save()


app = FastAPI(title="A resource for the whole life", lifespan=lifespan)


@app.get("/visits")
async def visits(request: Request) -> dict[str, int]:
    """Counts this visit."""
    counter: Visits = request.state.visits
    counter.count += 1
    return {"visits": counter.count}
