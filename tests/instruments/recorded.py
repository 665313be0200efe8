"""What the instruments of both servers record for the same request, apart from ids and times."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import httpx
from websockets.sync.client import connect

from tests.conftest import Served

# Whose values are other ones each time, or tell of all the code between the server and the application.
CHANGING = {
    "client.port",
    "code.lineno",
    "http.request.header.sec_websocket_key",
    "logfire.exception.fingerprint",
    "net.host.port",
    "net.peer.port",
    "network.peer.port",
    "sec-websocket-key",
    "server.port",
    "thread.id",
}
TIMES = ("start_timestamp", "end_timestamp")


@dataclass(frozen=True)
class Ask:
    """A request, and the status that it must have."""

    method: str
    path: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None


class Side:
    """One of the two servers."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._read = 0

    def ask(self, ask: Ask, until: str) -> tuple[int, str, list[Any]]:
        """Status and body of the answer, and what was recorded, up to a line with the text `until`."""
        self._forget()
        answer = self.answer(ask)
        return answer.status_code, answer.text, self.recorded(until)

    def answer(self, ask: Ask) -> httpx.Response:
        """The answer alone."""
        headers = {"host": "example.test", **ask.headers}
        # A connection of its own: one that raised may be closed.
        with httpx.Client(base_url=self.served.url, timeout=20) as client:
            return client.request(ask.method, ask.path, headers=headers, content=ask.content)

    def converse(self, path: str, until: str) -> tuple[str, list[Any]]:
        """What a WebSocket says first, and what was recorded once it was closed."""
        self._forget()
        with connect(f"{self.served.ws_url}{path}", compression=None) as socket:
            said = str(socket.recv())
            socket.send("enough")
        return said, self.recorded(until)

    def recorded(self, until: str) -> list[Any]:
        """What was recorded since the last request, up to a line with the text `until`."""
        pattern = rf"(?s)\A.{{{self._read}}}.*^RECORDED [^\n]*{until}[^\n]*\n"
        found = self.served.wait_for("(?m)" + pattern)
        text = found[0][self._read :]
        lines = [json.loads(line[len("RECORDED ") :]) for line in text.splitlines() if line.startswith("RECORDED ")]
        return _without_ids(lines)

    def _forget(self) -> None:
        self._read = len(self.served.log)


class Pair:
    """uvicorn, whose records count, and overdrive."""

    def __init__(self, uvicorn: Served, overdrive: Served) -> None:
        self.uvicorn = Side(uvicorn)
        self.overdrive = Side(overdrive)

    def same(self, ask: Ask, until: str) -> list[Any]:
        """Sends a request to both; returns what uvicorn's side recorded if all is equal."""
        expected, got = self.uvicorn.ask(ask, until), self.overdrive.ask(ask, until)
        assert expected[0] == ask.status, f"not what this test is for: {expected}"
        return _same(expected, got)

    def same_conversation(self, path: str, until: str) -> list[Any]:
        """As `same`, with a WebSocket."""
        expected, got = self.uvicorn.converse(path, until), self.overdrive.converse(path, until)
        return _same(expected, got)

    def plans_answered(self) -> tuple[int, dict[str, int]]:
        """How many requests plans have answered, and how many were handed over, by reason. Ends the server."""
        self.overdrive.served.stop()
        log = self.overdrive.served.log
        answered = re.search(r"Plans answered (\d+) request", log)
        handed_over = re.findall(r"FastAPI's own code was given (\d+) request\(s\): (.*)", log)
        return int(answered[1]) if answered else 0, {reason: int(count) for count, reason in handed_over}


def _same(expected: tuple[Any, ...], got: tuple[Any, ...]) -> list[Any]:
    """What was recorded, the last of each, if all is equal."""
    differing = [(one, other) for one, other in zip_longest(expected[-1], got[-1]) if one != other]
    shown = "\n".join(line for one, other in differing for line in _differences("", one, other))
    assert got == expected, f"uvicorn {expected[:-1]}, overdrive {got[:-1]}\n{shown}"
    recorded: list[Any] = expected[-1]
    return recorded


def _differences(at: str, one: Any, other: Any) -> list[str]:
    """What differs of two records, a line each."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        pairs = [(f"{at}.{key}", one.get(key, "absent"), other.get(key, "absent")) for key in keys]
        return [line for place, a, b in pairs if a != b for line in _differences(place, a, b)]
    return [f"{at or 'record'}: uvicorn {one!r}, overdrive {other!r}"]


def _without_ids(lines: list[Any]) -> list[Any]:
    names = {line["id"]: line["name"] for line in lines if "id" in line}
    cleaned = []
    for line in lines:
        shown = {key: value for key, value in line.items() if key != "id"}
        if "parent" in shown:
            shown["parent"] = names.get(shown["parent"], "outside" if shown["parent"] else None)
        cleaned.append(_cleaned(shown))
    return cleaned


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        if str(value.get("code.filepath")).endswith("overdrive/server.py"):
            # The innermost code of the user's: that is ours only where it is installed from its sources.
            value = {key: one for key, one in value.items() if not key.startswith("code.")}
        return {
            key: _last_line(one) if key.endswith("stacktrace") else _cleaned(one)
            for key, one in value.items()
            if key not in CHANGING and not key.endswith(TIMES)
        }
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, str):
        return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", value)
    return value


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]
