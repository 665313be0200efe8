"""What Python does for a response that is a file: it looks at the file, and says which parts of it were asked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette import responses
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, MalformedRangeHeader, PlainTextResponse, RangeNotSatisfiable, Response

# Names are looked up when they are used, as Starlette does it: tests replace them.
_responses: Any = responses

# Bytes, or a range of the file.
Part = bytes | tuple[int, int]

# What must be Starlette's own for the engine to send in its place. Before Starlette 1.8 there is no `_open_file`.
SENDING = tuple(
    (name, FileResponse.__dict__[name])
    for name in ("_handle_simple", "_handle_single_range", "_handle_multiple_ranges", "_open_file")
    if name in FileResponse.__dict__
)


def examine(path: Any, known: os.stat_result | None, opening: Callable[[], None]) -> os.stat_result:
    """What is known of a file, which is opened by the way; on a thread.

    Raises:
        RuntimeError: there is none.
    """
    found = known
    if found is None:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            # The first error stays its context, as with Starlette.
            raise RuntimeError(f"File at path {path} does not exist.")  # noqa: B904
    opening()
    return found


def describe(response: FileResponse, found: os.stat_result) -> None:
    """Sets the headers that tell of the file.

    Raises:
        RuntimeError: it is not one that could be sent.
    """
    response.set_stat_headers(found)
    if not stat.S_ISREG(found.st_mode):
        raise RuntimeError(f"File at path {response.path} is not a file.")


def asked(scope: MutableMapping[str, Any]) -> tuple[str, str | None, str | None]:
    """The method, `range` and `if-range` of a request whose scope the application may have changed."""
    headers = Headers(scope=scope)
    return scope["method"].upper(), headers.get("range"), headers.get("if-range")


def ranges(
    response: FileResponse, wanted: str, condition: str | None, size: int
) -> Response | tuple[list[tuple[bytes, bytes]], list[Part]] | None:
    """What is sent to a request for ranges: headers and parts, the answer to a request that is none, or all (None)."""
    if condition is not None and not response._should_use_range(condition):
        return None
    try:
        found = response._parse_range_header(wanted, size)
    except MalformedRangeHeader as error:
        return PlainTextResponse(error.content, status_code=400)
    except RangeNotSatisfiable as error:
        return PlainTextResponse(status_code=416, headers={"Content-Range": f"bytes */{error.max_size}"})
    if not found:
        return None
    headers = MutableHeaders(raw=list(response.raw_headers))
    if len(found) == 1:
        start, end = found[0]
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        headers["content-length"] = str(end - start)
        return headers.raw, [(start, end)]
    boundary = _responses.token_hex(13)
    length, head = response.generate_multipart(found, boundary, size, response.headers["content-type"])
    headers["content-type"] = f"multipart/byteranges; boundary={boundary}"
    headers["content-length"] = str(length)
    parts: list[Part] = []
    for start, end in found:
        parts += [head(start, end), (start, end), b"\r\n"]
    parts.append(f"--{boundary}--".encode("latin-1"))
    return headers.raw, parts
