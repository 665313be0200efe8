"""httpx's way to the engine: a connection for each request, and its record beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from overdrive.testing import headers as header_lines
from overdrive.testing.library import httpx
from overdrive.testing.records import Answered, Record, Records, note
from overdrive.testing.request import send
from overdrive.testing.websocket import WebSocketTestSession
from overdrive.testing.wire import Broken, Connection, read_body, read_head

if TYPE_CHECKING:
    from types import TracebackType

    from overdrive.testing.compiled import CompiledApplication
    from overdrive.testing.serving import Serving

DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class ServingFactory(Protocol):
    """Gives the engine for the request of a record. `is_websocket`: others may join it as long as this one is open."""

    def __call__(self, record: Record, /, *, is_websocket: bool) -> contextlib.AbstractContextManager[Serving]: ...


class Upgrade(Exception):
    """Takes a WebSocket out through httpx, which knows responses only."""

    def __init__(self, session: WebSocketTestSession) -> None:
        self.session = session


class EngineTransport(httpx.BaseTransport):
    """Sends requests to the engine that `serving` gives."""

    def __init__(
        self,
        app: Any,
        serving: ServingFactory,
        records: Records,
        *,
        raise_server_exceptions: bool,
        root_path: str,
        client: tuple[str, int],
        state: dict[str, Any],
        compiled: CompiledApplication | None,
    ) -> None:
        self._app = app
        self._serving = serving
        self._records = records
        self._raise_server_exceptions = raise_server_exceptions
        self._root_path = root_path
        self._client = client
        self._state = state
        self._compiled = compiled
        self._open: set[_Exchange] = set()

    def close(self) -> None:
        """Cancels the requests whose responses were not read to their ends."""
        with contextlib.ExitStack() as exits:
            while self._open:
                exits.callback(self._open.pop().abort)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The response, as far as its head; its stream reads the rest.

        Raises:
            BaseException: what the application raised, if `raise_server_exceptions` is set.
            AssertionError: the application ended without a response.
        """
        lines = header_lines.seen(request)
        if request.url.scheme in ("ws", "wss"):
            record = self._record("websocket", request)
            serving_them = self._serving(record, is_websocket=True)
            raise Upgrade(WebSocketTestSession(serving_them, self._records, record, request.url.raw_path, lines))
        record = self._record("http", request)
        record.extensions["http.response.debug"] = {}
        with contextlib.ExitStack() as exits:
            serving = exits.enter_context(self._serving(record, is_websocket=False))
            exchange = _Exchange(serving, self._records, record, raises=self._raise_server_exceptions)
            exits.push(exchange.leave)
            try:
                method = send(exchange.connection, request, lines, record, exchange.name)
                head = read_head(exchange.connection)
            except Broken:
                if not record.reached:
                    raise httpx.RemoteProtocolError("the engine closed the connection", request=request) from None
                head = None
            if head is None or (record.reached and not record.has_started):
                exchange.is_complete = True
                exits.close()
                if self._raise_server_exceptions:
                    raise AssertionError("TestClient did not receive any response.")
                return httpx.Response(500, stream=httpx.ByteStream(b""), request=request)
            exchange.body = read_body(exchange.connection, method, head)
            exits.callback(self._open.discard, exchange)
            self._open.add(exchange)
            exchange.exits = exits.pop_all()
        # What only frames the body is no part of the application's answer.
        headers = [line for line in head.headers if line[0] not in record.framing]
        response = httpx.Response(head.status, headers=headers, stream=exchange, request=request)
        if record.trailers is not None:
            response.extensions["http.response.trailers"] = record.trailers
        if record.debug is not None:
            response.extensions["http.response.debug"] = record.debug
            for name in ("template", "context"):
                if name in record.debug:
                    setattr(response, name, record.debug[name])
        return response

    def _record(self, kind: str, request: httpx.Request) -> Record:
        url = request.url
        method, path = request.method, url.path
        port = url.port if url.port is not None else DEFAULT_PORTS[url.scheme]
        scope = {
            "client": self._client,
            "server": [url.raw_host.decode("ascii"), port],
            "scheme": url.scheme,
            "root_path": self._root_path,
            "state": self._state.copy(),
        }

        def on_end(answered_by: str) -> None:
            note(Answered(self._app, kind, method, path, answered_by))

        def not_compiled() -> str | None:
            return self._compiled.reason if self._compiled is not None else None

        return Record(scope, {}, self._root_path, not_compiled=not_compiled, on_end=on_end)


class _Exchange(httpx.SyncByteStream):
    """A request under way, and the body of its response."""

    def __init__(self, serving: Serving, records: Records, record: Record, *, raises: bool) -> None:
        self.connection = Connection(serving.address)
        self.name = records.add(record)
        self.is_complete = False
        self.body: Iterator[bytes] = iter(())
        self.exits = contextlib.ExitStack()
        self._portal = serving.portal
        self._records = records
        self._record = record
        self._raises = raises

    def __iter__(self) -> Iterator[bytes]:
        # If it is broken off, the application's exception tells why.
        with contextlib.suppress(Broken):
            yield from self.body
        self.is_complete = True
        self.close()

    def close(self) -> None:
        """Waits until the application is done with the request; cancels it if the response was not read to its end."""
        self.exits.close()

    def abort(self) -> None:
        """Cancels the application, whatever it still does for the request."""
        self._portal.call(self._record.cancel)
        self.close()

    def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the request, as the way out of a `with` block does."""
        record = self._record
        try:
            # Otherwise the application has never heard of the request.
            if not self._records.discard(self.name):
                if not self.is_complete and not record.is_complete:
                    self._portal.call(record.cancel)
                    self.connection.close()
                record.done.wait()
        finally:
            self.connection.close()
        if kind is None and self._raises and record.error is not None:
            raise record.error
