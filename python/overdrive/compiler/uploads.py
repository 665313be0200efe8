"""The files of forms that the engine reads, and the bytes that it leaves to Starlette after all."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from tempfile import SpooledTemporaryFile
from typing import Any

from fastapi._compat import ModelField
from fastapi._compat.v2 import serialize_sequence_value
from starlette import formparsers, requests
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import FormParser, MultiPartParser

# Where Starlette looks up what it reads a form with.
_REQUESTS = requests.__dict__
_PARSERS = formparsers.__dict__


def spool_size() -> int | None:
    """How large a file is that stays in memory, in bytes, 0 for any; None: other parsers have been put in place."""
    if _REQUESTS["MultiPartParser"] is not MultiPartParser or _REQUESTS["FormParser"] is not FormParser:
        return None
    if _PARSERS["SpooledTemporaryFile"] is not SpooledTemporaryFile:
        return None
    size = MultiPartParser.spool_max_size
    return size if type(size) is int and size >= 0 else None


def new_upload(filename: str, headers: list[tuple[bytes, bytes]], content: bytes, spool_size: int) -> UploadFile:
    """A file as Starlette's parser leaves it: written, and at its beginning."""
    file = SpooledTemporaryFile(max_size=spool_size)  # noqa: SIM115
    # Not copied: until somebody writes to it, the file shares its bytes.
    file._file = io.BytesIO(content)
    return UploadFile(file, size=len(content), filename=filename, headers=Headers(raw=headers))  # type: ignore[arg-type]


def sequence(field: ModelField, contents: list[Any]) -> Any:
    """The contents of several files, in the collection that the field asks for."""
    return serialize_sequence_value(field=field, value=contents)


def replay(receive: Callable[[], Awaitable[Any]], body: bytes, more: bool) -> Callable[[], Awaitable[Any]]:
    """A `receive` that begins with what of the body was received already; `more`: there may be more of it."""
    received = [{"type": "http.request", "body": body, "more_body": more}]

    async def replaying() -> Any:
        return received.pop() if received else await receive()

    return replaying
