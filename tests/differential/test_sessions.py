"""Starlette's sessions: what is in them, and which cookies an answer sets."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable

import itsdangerous
import pytest

from tests.differential.pair import Pair
from tests.differential.wire import Request, get

FIRST = ("origin", "https://first.test")


class Signer(itsdangerous.TimestampSigner):
    """Signs at the application's hour, or before."""

    age = 0

    def get_timestamp(self) -> int:
        """In seconds."""
        return 1_700_000_000 - self.age


def signed(content: bytes, age: int = 0, key: str = "secret") -> str:
    """A cookie."""
    signer = Signer(key)
    signer.age = age
    return f"session={signer.sign(content).decode()}"


def holding(session: object, age: int = 0, key: str = "secret") -> str:
    """A cookie with a session."""
    return signed(b64encode(json.dumps(session).encode()), age, key)


VISITED = holding({"visits": 3})
COOKIES: dict[str, str | None] = {
    "none": None,
    "other": "other=1; sessions=2",
    "visited": VISITED,
    "visited-among-others": f"a=b; {VISITED}; c=d",
    "empty": holding({}),
    "expired": holding({"visits": 3}, age=14 * 24 * 3600 + 1),
    "of-another-key": holding({"visits": 3}, key="other"),
    "forged": VISITED[:-1],
    "no-base64": signed(b"x"),
    "no-json": signed(b64encode(b"{")),
    "no-object": holding([1]),
}
ASKED = {
    "visits": 200,
    "look": 200,
    "scope-alone": 200,
    "clear": 200,
    "vary-too": 200,
    "streamed": 200,
    "fails?how=http": 409,
    "fails?how=handled": 420,
    "fails?how=unhandled": 500,
    "replaced": 500,
    "unserializable-session": 500,
    "plain": 200,
    "sized/200": 200,
    "nowhere": 404,
    "plain/": 307,
}


@pytest.mark.parametrize("cookie", COOKIES)
@pytest.mark.parametrize("asked", ASKED)
def test_sessions(pair_of: Callable[..., Pair], asked: str, cookie: str) -> None:
    given = COOKIES[cookie]
    headers = (FIRST, ("accept-encoding", "gzip"), *([("cookie", given)] if given is not None else []))
    answer = pair_of("middleware.sessions").same(get(f"/{asked}", *headers))
    assert answer.status == (500 if cookie.startswith("no-") else ASKED[asked])


def test_a_preflight_knows_no_session(pair_of: Callable[..., Pair]) -> None:
    headers = (("host", "differential.test"), FIRST, ("access-control-request-method", "GET"), ("cookie", VISITED))
    assert pair_of("middleware.sessions").same(Request("OPTIONS", "/visits", headers)).status == 200
