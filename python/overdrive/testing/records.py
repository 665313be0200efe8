"""What the engine is told of each request of a test client beside its bytes, and what it tells in return.

A request names its record in a private header. The engine's side of this is `crates/python/src/asgi/side_channel.rs`.
It calls the methods `fill` to `ended` on the loop's thread, while the client waits on its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from overdrive.answering import answering

HEADER = b"overdrive-side-channel"


@dataclass(frozen=True, slots=True)
class Answered:
    """Who answered a request.

    app: the application that the client was made for.
    kind: "http" or "websocket".
    method: as the application saw it; "GET" for a WebSocket.
    path: of the URL.
    answered_by: "plan", "asgi", or "asgi: " and why no plan did.
    """

    app: Any
    kind: str
    method: str
    path: str
    answered_by: str


@dataclass(slots=True)
class Record:
    """One request, as client and engine tell each other of it.

    scope: what replaces the engine's entries of the scope.
    extensions: what is added to the scope's.
    method, headers, root_path, scheme, context: see `overdrive._overdrive.Record`.
    not_compiled: why there are no plans at all, if that is so; asked at the end, as compiling waits for the loop.
    on_end: called with `answered_by`.
    """

    scope: dict[str, Any]
    extensions: dict[str, Any]
    root_path: str
    method: str | None = None
    headers: list[tuple[bytes, bytes]] | None = None
    not_compiled: Callable[[], str | None] = lambda: None
    on_end: Callable[[str], object] | None = None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    # The engine has handed the request to the application, or to a plan.
    reached: bool = False
    has_started: bool = False
    # The application has sent its whole answer.
    is_complete: bool = False
    # Headers of the response that the application has not set: they only frame the body.
    framing: frozenset[bytes] = frozenset()
    # The scope as the application has it.
    filled: dict[str, Any] | None = None
    debug: dict[str, Any] | None = None
    trailers: list[tuple[bytes, bytes]] | None = None
    acceptance: dict[str, Any] | None = None
    refusal: dict[str, Any] | None = None
    error: BaseException | None = None
    cancelled: bool = False
    done: Done = field(default_factory=lambda: Done())
    # The watch's number of the request, which its stalls have, too.
    number: int | None = None
    _task: asyncio.Task[Any] | None = None
    _answered_by: str | None = None

    @property
    def scheme(self) -> str:
        """Of the URL."""
        scheme: str = self.scope["scheme"]
        return scheme

    def fill(self, scope: dict[str, Any]) -> None:
        """Puts the client's entries into a scope of the engine's."""
        scope.update(self.scope)
        scope["extensions"].update(self.extensions)
        self.filled = scope

    def began(self, number: int | None) -> None:
        """The request's task makes its first step; called within it."""
        self.number = number
        self._task = asyncio.current_task()
        # For plans that stand within the application: the engine does not know of those.
        answering.set(self._set_answered_by)

    def started(self, has_length: bool, has_encoding: bool, has_trailers: bool) -> None:
        """The application's answer has begun."""
        self.has_started = True
        own = {b"content-length": has_length, b"transfer-encoding": has_encoding}
        self.framing = frozenset(name for name, is_own in own.items() if not is_own)
        if has_trailers:
            self.trailers = []

    def completed(self) -> None:
        """Nothing more of the answer will come."""
        self.is_complete = True

    def message(self, message: dict[str, Any]) -> None:
        """A message that reaches the client by this way, alone or in its very words."""
        match message["type"]:
            case "http.response.debug":
                self.debug = message["info"]
            case "http.response.trailers":
                assert self.trailers is not None
                self.trailers.extend(message.get("headers", []))
            case "websocket.accept":
                self.acceptance = message
            case "websocket.close":
                self.refusal = message

    def ended(self, error: BaseException | None, answered_by: str) -> None:
        """The application's coroutine has ended."""
        if not (self.cancelled and isinstance(error, asyncio.CancelledError)):
            self.error = error
        self._task = None
        if self.on_end is not None:
            self.on_end(self.who(answered_by))
        self.done.set()

    def who(self, answered_by: str) -> str:
        """Who answered, of which the engine knows no more than `answered_by`."""
        if self._answered_by is not None:
            return self._answered_by
        if answered_by == "asgi" and (reason := self.not_compiled()) is not None:
            return f"asgi: {reason}"
        return answered_by

    def cancel(self) -> None:
        """Cancels the request's task; on the loop's thread."""
        if self._task is not None:
            self.cancelled = True
            self._task.cancel("the test client has closed the response")

    def _set_answered_by(self, who: str) -> None:
        self._answered_by = who


class Done:
    """An event that is set once, without ever waiting for a lock: whoever sets it is on the loop's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wakes those who wait."""
        self._lock.release()

    def wait(self, timeout: float = -1) -> bool:
        """False if it was not set within `timeout` seconds; negative: waits for ever."""
        if not self._lock.acquire(timeout=timeout):
            return False
        self._lock.release()
        return True


class Records:
    """The side channel of one client: records by name."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._records: dict[bytes, Record] = {}

    def add(self, record: Record) -> bytes:
        """Expects a request with this record; gives its name."""
        name = f"{self._token}-{next(self._numbers)}".encode()
        self._records[name] = record
        return name

    def discard(self, name: bytes) -> bool:
        """Expects the request no longer; False if it has come."""
        return self._records.pop(name, None) is not None

    def take(self, name: bytes) -> Record | None:
        """The record of a request that has come; for the engine."""
        record = self._records.pop(name, None)
        if record is not None:
            record.reached = True
        return record


# The last answers of all clients, and who is told of each one, on its loop's thread: for tools that count them.
answers: deque[Answered] = deque(maxlen=1000)
listeners: list[Callable[[Answered], object]] = []


def note(answered: Answered) -> None:
    """Adds to `answers`, and tells `listeners`."""
    answers.append(answered)
    for listener in listeners:
        listener(answered)
