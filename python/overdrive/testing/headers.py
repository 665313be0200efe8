"""The headers of a request: as the application is to see them, and as HTTP can carry them.

The application sees what Starlette's own client would show it. Most of it goes over the connection just so. What does
not (values with blanks at their ends, a length that is none of the body's, bytes that no server lets through) the
record carries besides; what then goes over the connection is only there to be valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from overdrive.testing.library import httpx
from overdrive.testing.records import HEADER

Lines = list[tuple[bytes, bytes]]

# RFC 9110 section 5.6.2.
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Section 5.5, without blanks at the ends, which are not part of a value.
VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?")
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]*)?")
# Those that would make the engine do something besides handing the request over.
ACTING = frozenset({b"expect", b"upgrade", b"te", HEADER})


def seen(request: httpx.Request) -> Lines:
    """The headers as the application is to see them."""
    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.multi_items()]
    if all(name != b"host" for name, _ in headers):
        headers.insert(0, (b"host", request.url.netloc))
    return headers


def carried(headers: Iterable[tuple[bytes, bytes]]) -> Lines:
    """Those of them that HTTP can carry, and that the engine does no more with than to hand them over."""
    lines = [
        (name, value)
        for name, value in headers
        if TOKEN.fullmatch(name) and VALUE.fullmatch(value) and not is_acting(name, value)
    ]
    hosts = [value for name, value in lines if name == b"host"]
    if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
        lines = [(b"host", b"testserver"), *(line for line in lines if line[0] != b"host")]
    return lines


def is_acting(name: bytes, value: bytes) -> bool:
    """Whether the engine does something on account of this header."""
    return name in ACTING or (name == b"connection" and value.lower() != b"keep-alive")


def received(lines: Iterable[tuple[bytes, bytes]]) -> Lines:
    """The lines as the engine shows them in a scope: those of one name next to each other."""
    by_name: dict[bytes, Lines] = {}
    for line in lines:
        by_name.setdefault(line[0], []).append(line)
    return [line for lines in by_name.values() for line in lines]
