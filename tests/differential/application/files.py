"""Files as responses: whole, in ranges, and such as cannot be sent."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask
from starlette.types import Receive, Scope, Send

from .journal import add_journal, note

app = FastAPI()

# Not random, as it is seen in messages; one for each server.
FOLDER = Path(tempfile.mkdtemp(prefix="files-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
MOMENT = 1_700_000_000.25
SIZES = {"empty": 0, "small": 26, "middle": 65_536, "large": 1_000_003}

for name, size in SIZES.items():
    made = FOLDER / f"{name}.txt"
    made.write_bytes((b"abcdefghijklmnopqrstuvwxyz" * (size // 26 + 1))[:size])
    os.utime(made, (MOMENT, MOMENT))
(FOLDER / "folder").mkdir()
os.utime(FOLDER / "folder", (MOMENT, MOMENT))
(FOLDER / "é ü.bin").write_bytes(b"\x00\xff")
os.utime(FOLDER / "é ü.bin", (MOMENT, MOMENT))


async def session() -> AsyncIterator[str]:
    """Left after the response."""
    try:
        yield "session"
    except BaseException as error:
        note(f"session sees {type(error).__name__} {str(error).replace(str(FOLDER), '...')}")
        raise
    finally:
        note("exit session")


Session = Annotated[str, Depends(session)]


@app.api_route("/files/{name}", methods=["GET", "HEAD", "POST"])
async def whole(name: str, session: Session) -> FileResponse:
    return FileResponse(FOLDER / name, background=BackgroundTask(note, "background"))


@app.api_route("/in-thread/{name}", methods=["GET", "HEAD"])
def in_thread(name: str, tasks: BackgroundTasks) -> FileResponse:
    tasks.add_task(note, "injected background")
    return FileResponse(str(FOLDER / name))


@app.get("/relative")
def relative() -> FileResponse:
    return FileResponse(os.path.relpath(FOLDER / "small.txt"))


@app.get("/options")
async def options(
    status: int = 200,
    filename: str | None = None,
    media_type: str | None = None,
    disposition: str = "attachment",
    known: bool = False,
) -> FileResponse:
    path = FOLDER / "small.txt"
    return FileResponse(
        path,
        status,
        {"x-own": "1", "cache-control": "no-store"},
        media_type,
        filename=filename,
        stat_result=path.stat() if known else None,
        content_disposition_type=disposition,
    )


@app.get("/declared", response_class=FileResponse)
async def declared(session: Session, response: Response) -> Any:
    response.headers["x-injected"] = "yes"
    response.set_cookie("c", "d")
    return str(FOLDER / "small.txt")


@app.get("/declared-status", response_class=FileResponse, status_code=202)
def declared_status() -> Any:
    return str(FOLDER / "small.txt")


@app.get("/odd-name")
async def odd_name() -> FileResponse:
    return FileResponse(FOLDER / "é ü.bin", filename="é ü.bin")


@app.get("/said/{length}")
async def said(length: int, session: Session) -> FileResponse:
    return FileResponse(FOLDER / "small.txt", headers={"content-length": str(length)})


@app.get("/folder")
async def folder(session: Session) -> FileResponse:
    return FileResponse(FOLDER / "folder", background=BackgroundTask(note, "never"))


@app.get("/folder-known")
async def folder_known(session: Session) -> FileResponse:
    return FileResponse(FOLDER / "folder", stat_result=(FOLDER / "folder").stat())


@app.get("/vanished")
async def vanished(session: Session) -> FileResponse:
    path = FOLDER / "vanishing.txt"
    path.write_bytes(b"here")
    os.utime(path, (MOMENT, MOMENT))
    found = path.stat()
    path.unlink()
    return FileResponse(path, stat_result=found)


@app.get("/below-a-file")
async def below_a_file(session: Session) -> FileResponse:
    return FileResponse(FOLDER / "small.txt" / "x")


@app.get("/nul")
async def nul(session: Session) -> FileResponse:
    return FileResponse(f"{FOLDER}/\0")


@app.get("/sizes/{known}/{real}")
async def sizes(known: int, real: int, session: Session) -> FileResponse:
    """A file that changes between the look at it and its opening."""
    path = FOLDER / "changing.txt"
    path.write_bytes(b"x" * known)
    os.utime(path, (MOMENT, MOMENT))
    found = path.stat()
    path.write_bytes(b"x" * real)
    return FileResponse(path, stat_result=found)


@app.get("/removed-after")
async def removed_after() -> FileResponse:
    path = FOLDER / "removed.txt"
    path.write_bytes(b"y" * 100_000)
    os.utime(path, (MOMENT, MOMENT))

    def remove() -> None:
        path.unlink()
        note("removed")

    return FileResponse(path, background=BackgroundTask(remove))


class Overridden(FileResponse):
    """Sends in its own way."""

    async def _handle_simple(self, send: Send, send_header_only: bool, send_pathsend: bool) -> None:
        note("handles")
        await super()._handle_simple(send, send_header_only, False)


class Few(FileResponse):
    """Allows but one range."""

    max_ranges = 1
    chunk_size = 3


class Called(FileResponse):
    """Sends in its own way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        note("is called")
        await super().__call__(scope, receive, send)


class Marked(FileResponse):
    """Has an etag of its own."""

    def set_stat_headers(self, stat_result: os.stat_result) -> None:
        self.headers["etag"] = '"own"'
        super().set_stat_headers(stat_result)


@app.get("/class/{name}")
async def of_class(name: str) -> FileResponse:
    kinds: dict[str, type[FileResponse]] = {"o": Overridden, "f": Few, "c": Called, "m": Marked}
    return kinds[name](FOLDER / "small.txt")


@app.get("/changed")
async def changed(request: Request) -> FileResponse:
    request.scope["headers"] = [(b"range", b"bytes=1-2")]
    return FileResponse(FOLDER / "small.txt")


@app.get("/fails")
async def fails(session: Session) -> FileResponse:
    def fail() -> None:
        raise ValueError("background")

    return FileResponse(FOLDER / "small.txt", background=BackgroundTask(fail))


add_journal(app)
