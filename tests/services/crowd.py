"""Clients at once, on connections of their own: some read their answers, some leave at any moment."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 120
"""Seconds in which a crowd, or a single request, must have come to its end: one that waits for ever fails its test."""


@dataclass(frozen=True)
class Ask:
    """What is asked of the server."""

    target: str
    method: str = "GET"
    document: object = None
    headers: tuple[str, ...] = ()
    """Lines for its head."""
    body: bytes = b""
    """If there is no document."""

    def sent(self) -> bytes:
        """The request as it goes over the wire."""
        body = self.body if self.document is None else json.dumps(self.document).encode()
        head = f"{self.method} {self.target} HTTP/1.1\r\nhost: test\r\ncontent-length: {len(body)}\r\n"
        head += "".join(f"{line}\r\n" for line in self.headers)
        if self.document is not None:
            head += "content-type: application/json\r\n"
        return head.encode() + b"\r\n" + body


@dataclass
class Crowd:
    """So many clients that make so many requests each, one of `kinds` at a time, and what they were answered.

    A client in `vanishing` (a share) of its requests leaves: in the middle of sending, with the request sent, or in the
    middle of the answer.
    """

    port: int
    kinds: Sequence[Any]
    clients: int = 40
    requests: int = 25
    vanishing: float = 0.25
    seed: int = 0
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By target and status."""
    left: Counter[str] = field(default_factory=Counter)
    """Requests whose client did not wait for the answer, by target."""
    broken: list[str] = field(default_factory=list)
    """Requests that were not answered: the target, and what came instead."""

    async def run(self) -> None:
        """Ends when the last client has. Raises `TimeoutError` when there is one that never does."""
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            for number in range(self.clients):
                group.create_task(self._client(random.Random(f"{self.seed}-{number}")))

    async def _client(self, chance: random.Random) -> None:
        connection = None
        for _ in range(self.requests):
            ask: Ask = chance.choice(self.kinds)(chance)
            if connection is None:
                connection = await asyncio.open_connection("127.0.0.1", self.port)
            if chance.random() < self.vanishing:
                self.left[ask.target] += 1
                await self._leave(*connection, ask, chance)
                connection = None
                continue
            reader, writer = connection
            try:
                writer.write(ask.sent())
                status, _ = await read(reader)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.broken.append(f"{ask.target}: {error!r}")
                writer.transport.abort()
                connection = None
                continue
            self.answers[ask.target, status] += 1
            if status == 500:  # The exception goes on to the server, which may end the connection; uvicorn does.
                writer.close()
                connection = None
        if connection is not None:
            connection[1].close()

    async def _leave(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask: Ask, chance: random.Random
    ) -> None:
        sent = ask.sent()
        match chance.randrange(4):
            case 0:  # with half a request
                writer.write(sent[: chance.randrange(1, len(sent))])
            case 1:  # with a request
                writer.write(sent)
            case 2:  # while it is being answered
                writer.write(sent)
                await asyncio.sleep(chance.random() * 0.03)
            case 3:  # with some of the answer
                writer.write(sent)
                await reader.read(1)
        if chance.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()


async def read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One answer's status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head[9:12])
    if "transfer-encoding: chunked" in head:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return status, body
    _, _, length = head.partition("content-length: ")
    return status, await reader.readexactly(int(length.partition("\r\n")[0]) if length else 0)


async def answered(port: int, ask: Ask) -> tuple[int, Any]:
    """One request on a connection of its own: the status, and the JSON document."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(ask.sent())
        async with asyncio.timeout(PATIENCE):
            status, body = await read(reader)
        return status, json.loads(body)
    finally:
        writer.close()
