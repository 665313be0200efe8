"""What an application answers in a session, without that in it which differs from one run to the next."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import Served
from tests.differential.wire import Answer, Broken, Client, Request, grouped

# Every server has its own, or says in its own way how long a body is; the body itself is compared.
IGNORED = {"date", "server", "content-length", "transfer-encoding", "connection", "keep-alive"}

IDENTIFIERS = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # UUIDs
    r"|\b[0-9a-f]{64}\b|\b[0-9a-f]{40}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{24}\b"  # the same without dashes, and hashes
    r"|\b\d{17,20}\b"  # random numbers
)
TIMES = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"  # ISO 8601
    r"|\b1[789]\d{8}(?:\.\d+)?\b"  # seconds since 1970
)
# An address in memory, as `repr` writes it.
ADDRESSES = re.compile(r"\b0x[0-9a-f]{8,16}\b")

PATIENCE = 30
"""Seconds without a byte of an answer."""


@dataclass
class Recorder:
    """Sends requests to one server and keeps what came back.

    served: the server.
    varying: names of headers, and of members of JSON objects, whose value says nothing: durations, random numbers.
    headers: sent with each request.
    told: one for each request, to be compared with another server's.
    """

    served: Served
    varying: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = Client(self.served, timeout=PATIENCE)
        self._names: dict[str, str] = {}

    def ask(
        self,
        method: str,
        target: str,
        document: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        record: bool = True,
    ) -> Answer:
        """One request, with a JSON document or with bytes. Not `record`: what is answered is a matter of luck."""
        sent = dict(self.headers) | dict(headers or {})
        if document is not None:
            body = json.dumps(document).encode()
            sent.setdefault("content-type", "application/json")
        try:
            answer = self._client.ask(Request(method, target, tuple(sent.items()), body))
        except Broken as error:
            answer = Answer(0, str(error), [])
        if record:
            # Identifiers have their names by the order in which they come up.
            self.told.append(self._plain(f"{method} {target}\n{self._shown(answer)}"))
        return answer

    def document(self, method: str, target: str, document: Any = None, **options: Any) -> Any:
        """The JSON document that answers a request; None if there is none."""
        body = self.ask(method, target, document, **options).body
        try:
            return json.loads(body)
        except ValueError:
            return None

    def _shown(self, answer: Answer) -> str:
        headers = [
            (name, "(varies)" if name in self.varying else value)
            for name, value in grouped(answer.headers)
            if name not in IGNORED
        ]
        lines = [f"{answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in headers), ""]
        return "\n".join([*lines, self._body(answer.body), *(["(cut off)"] if answer.cut else [])])

    def _body(self, body: bytes) -> str:
        text = body.decode(errors="backslashreplace")
        if self.varying:
            text = "\n".join(self._line(line) for line in text.split("\n"))
        return text

    def _line(self, line: str) -> str:
        # A document alone, or an event of a stream's.
        start = "data: " if line.startswith("data: ") else ""
        try:
            found = json.loads(line[len(start) :])
        except ValueError:
            return line
        return start + json.dumps(self._settled(found), ensure_ascii=False)

    def _settled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: "(varies)" if name in self.varying else self._settled(kept) for name, kept in value.items()}
        return [self._settled(kept) for kept in value] if isinstance(value, list) else value

    def _plain(self, text: str) -> str:
        text = IDENTIFIERS.sub(lambda found: self._named(found[0]), text)
        text = TIMES.sub("(time)", text)
        return ADDRESSES.sub("(address)", text.replace(str(self.served.port), "(port)"))

    def _named(self, identifier: str) -> str:
        return self._names.setdefault(identifier, f"(id {len(self._names) + 1})")
