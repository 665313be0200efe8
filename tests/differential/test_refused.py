"""What uvicorn itself refuses or gets wrong, by name and with a reason: there, overdrive need not be its equal.

Each test states what both do, so that none of it is forgotten when either changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.differential.pair import Pair
from tests.differential.wire import HOST, Answer, Broken, Client, Request, get, method, post


@dataclass(frozen=True)
class Refused:
    """What is sent, what each answers (no status where the connection just ends), and why that is so."""

    sent: Request | bytes
    uvicorn: int | None
    overdrive: int | None
    reason: str


def raw(head: str, body: bytes = b"") -> bytes:
    """A request as it stands on the wire."""
    return head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body


REFUSED: dict[str, Refused] = {
    "target-beyond-ascii": Refused(
        get(b"/paths/plain/\xc3\xa9"),
        400,
        200,
        "httptools takes no bytes beyond ASCII in a target; many clients send them",
    ),
    "target-not-utf8": Refused(get(b"/paths/plain/\xff"), 400, 400, "neither takes a target that is no text"),
    "query-beyond-ascii": Refused(get(b"/params/required?q=\xc3\xa9"), 400, 200, "the same"),
    "query-not-utf8": Refused(get(b"/params/required?q=\xff"), 400, 400, "neither takes a target that is no text"),
    "method-in-lower-case": Refused(
        method("get", "/places/split"), 400, 200, "httptools knows methods in capitals only"
    ),
    "method-unknown": Refused(method("FROB", "/places/split"), 400, 405, "httptools knows a list of methods"),
    "length-and-chunks": Refused(
        Request("POST", "/bodies/unread", (("content-length", "5"),), (b"abc",)),
        400,
        200,
        "RFC 9112 (6.1) lets a server refuse such a request, or take the chunks and close",
    ),
    "no-host": Refused(raw("GET /places/split HTTP/1.1"), 200, 400, "RFC 9112 (3.2) wants a Host"),
    "two-hosts": Refused(
        raw("GET /places/split HTTP/1.1\nhost: a\nhost: b"), 200, 400, "RFC 9112 (3.2) wants one Host"
    ),
    "blank-after-a-value": Refused(
        Request("GET", "/headers/number", (("x-number", "5 "),)),
        200,
        200,
        "httptools leaves the blank to the application",
    ),
    "control-character-in-a-value": Refused(
        get("/headers/one", ("x-token", b"a\x01b")), 400, 400, "neither takes control characters"
    ),
    "nul-in-a-value": Refused(
        get("/headers/one", ("x-token", b"a\x00b")), 400, 400, "neither takes control characters"
    ),
    "blank-in-a-target": Refused(raw(f"GET /paths/plain/a b HTTP/1.1\nhost: {HOST}"), 400, 400, "that is no target"),
    "status-below-200": Refused(get("/refused/status/100"), None, 500, "a final answer of 1xx is none in HTTP"),
    "status-beyond-three-digits": Refused(get("/refused/status/1000"), None, 500, "it is no status of HTTP"),
    "own-content-length-too-short": Refused(
        get("/refused/length/1"), None, 500, "uvicorn has sent the head before it sees that the body is longer"
    ),
    "own-content-length-too-long": Refused(
        get("/refused/length/9"), None, None, "both have sent the head, and can but end the connection"
    ),
    "newline-in-a-header": Refused(get("/refused/header"), None, 500, "uvicorn writes the header as it is"),
}


@pytest.mark.parametrize("refused", [pytest.param(given, id=name) for name, given in REFUSED.items()])
def test_refused(both: Pair, refused: Refused) -> None:
    found = [_status(side.served, refused.sent) for side in (both.uvicorn, both.overdrive)]
    assert found == [refused.uvicorn, refused.overdrive], refused.reason
    both.forget()
    # Neither has lost its head.
    both.same(get("/places/split"))
    both.same(post("/places/split"))


def _status(served: object, sent: Request | bytes) -> int | None:
    client = Client(served)  # type: ignore[arg-type]
    try:
        answer: Answer = client.ask(sent) if isinstance(sent, Request) else client.ask_raw(sent)
    except (Broken, ValueError):
        return None
    finally:
        client.close()
    return None if answer.cut else answer.status
