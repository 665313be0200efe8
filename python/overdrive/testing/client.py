"""`TestClient`: Starlette's, with the engine between it and the application."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin

from overdrive.interface import adapt
from overdrive.testing.compiled import compiled
from overdrive.testing.inprocess import InProcess, InProcessUpgrade
from overdrive.testing.library import StarletteDeprecationWarning, httpx
from overdrive.testing.lifespan import Lifespan
from overdrive.testing.records import Record, Records
from overdrive.testing.serving import Serving, SharedServing
from overdrive.testing.strictness import Strictness, is_strict
from overdrive.testing.transport import EngineTransport, Upgrade

if TYPE_CHECKING:
    from typing import Self

    import anyio.from_thread

    from overdrive.testing.websocket import WebSocketTestSession


class TestClient(httpx.Client):
    """Starlette's `TestClient`, with every request going through the engine over a real connection.

    app: an ASGI application.
    base_url: what relative URLs stand behind; its host is the `Host` header.
    raise_server_exceptions: raise what the application raises, instead of giving its response.
    root_path: the scope's.
    backend: "trio" calls the application in-process, as the engine belongs to asyncio; a warning says so.
    backend_options: for anyio's loop, `{"use_uvloop": True}` say.
    cookies, headers, follow_redirects: as for `httpx.Client`.
    client: who the scope says has made the request.
    watch: "strict" makes a request fail (`overdrive.EventLoopBlocked`) that blocks the event loop for `watch_threshold`
        seconds or longer, at the line that blocks; a start-up or shutdown fails as well. "off" does not, nor
        does "on", which is for servers. By default what `OVERDRIVE_WATCH` says, or "off".
    compile: "auto" lets compiled routes answer, as the server does; "off" does not.

    Outside of a `with` block each request has a loop of its own (but what is done while a WebSocket is open shares that
    one's), and the application's lifespan does not run. Within a block all requests share a loop, and `portal` calls
    functions on it; the lifespan runs around them, and `app_state` is its state. A request is over when the
    application's coroutine has ended, background tasks included.

    ```python
    from fastapi import FastAPI

    from overdrive.testing import TestClient

    app = FastAPI()


    @app.get("/")
    async def home():
        return {"hello": "world"}


    with TestClient(app) as client:
        assert client.get("/").json() == {"hello": "world"}
    ```
    """

    __test__ = False
    portal: anyio.from_thread.BlockingPortal | None = None

    def __init__(
        self,
        app: Any,
        base_url: str = "http://testserver",
        raise_server_exceptions: bool = True,
        root_path: str = "",
        backend: Literal["asyncio", "trio"] = "asyncio",
        backend_options: dict[str, Any] | None = None,
        cookies: Any = None,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
        client: tuple[str, int] = ("testclient", 50000),
        *,
        compile: Literal["auto", "off"] = "auto",
        watch: Literal["on", "off", "strict"] | None = None,
        watch_threshold: float = 0.1,
    ) -> None:
        self._watch_threshold = watch_threshold if is_strict(watch) else None
        self.async_backend: dict[str, Any] = {"backend": backend, "backend_options": backend_options or {}}
        self.app = adapt(app, "auto")
        self._compiled = compiled(app) if compile == "auto" else None
        self._records = Records()
        self._current: Serving | None = None
        self._shared = SharedServing()
        self._exits = contextlib.ExitStack()
        self._is_failing = False
        self._in_process: InProcess | None = None
        self.app_state: dict[str, Any] = {}
        transport: httpx.BaseTransport
        if backend == "asyncio":
            transport = EngineTransport(
                app,
                self._serving,
                self._records,
                raise_server_exceptions=raise_server_exceptions,
                root_path=root_path,
                client=client,
                state=self.app_state,
                compiled=self._compiled,
            )
        else:
            self._in_process = InProcess(
                app,
                raise_server_exceptions=raise_server_exceptions,
                root_path=root_path,
                client=client,
                **self.async_backend,
            )
            self.app_state = self._in_process.app_state
            transport = self._in_process.transport
        super().__init__(
            base_url=base_url,
            headers={"user-agent": "testclient", **(headers or {})},
            transport=transport,
            follow_redirects=follow_redirects,
            cookies=cookies,
        )

    def request(self, method: str, url: Any, **options: Any) -> httpx.Response:
        """As `httpx.Client.request`; a timeout is of no use here, and warned of."""
        if options.get("timeout", httpx.USE_CLIENT_DEFAULT) is not httpx.USE_CLIENT_DEFAULT:
            message = "You should not use the 'timeout' argument with the TestClient."
            warnings.warn(message, StarletteDeprecationWarning, stacklevel=2)
        return super().request(method, url, **options)

    def websocket_connect(
        self, url: str, subprotocols: Sequence[str] | None = None, **options: Any
    ) -> WebSocketTestSession:
        """A WebSocket, to be used in a `with` block. `options` are those of `get`."""
        headers = httpx.Headers(options.pop("headers", None))
        headers.setdefault("connection", "upgrade")
        headers.setdefault("sec-websocket-key", "testserver==")
        headers.setdefault("sec-websocket-version", "13")
        if subprotocols is not None:
            headers.setdefault("sec-websocket-protocol", ", ".join(subprotocols))
        try:
            super().request("GET", urljoin("ws://testserver", url), headers=headers, **options)
        except (Upgrade, InProcessUpgrade) as upgrade:
            session: WebSocketTestSession = upgrade.session
            return session
        raise RuntimeError("a transport of your own has answered the request for a WebSocket")

    def __enter__(self) -> Self:
        self._is_failing = True
        with contextlib.ExitStack() as exits:
            if self._in_process is not None:
                self.portal = exits.enter_context(self._in_process.running())
                exits.callback(self._set_current, None)
            else:
                serving = exits.enter_context(self._serve())
                self.portal = serving.portal
                exits.callback(self._set_current, None)
                serving.watch_lifespan()
                exits.callback(self._check_end, serving)
                lifespan = serving.portal.call(Lifespan, self.app, self.app_state)
                serving.portal.call(lifespan.startup)
                exits.callback(serving.portal.call, lifespan.shutdown)
                serving.check()
                serving.start()
                self._set_current(serving)
            exits.callback(self._transport.close)
            self._exits = exits.pop_all()
            self._is_failing = False
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: Any) -> None:
        self._is_failing = kind is not None
        self._exits.close()

    def _check_end(self, serving: Serving) -> None:
        # What a block fails of says more than what blocked its end.
        if not self._is_failing:
            serving.check()

    def _set_current(self, serving: Serving | None) -> None:
        self._current = serving
        if serving is None:
            self.portal = None

    def _serve(self) -> Serving:
        watch = Strictness(self._watch_threshold) if self._watch_threshold is not None else None
        return Serving(self.app, self._compiled, self._records, self.async_backend["backend_options"], watch)

    @contextlib.contextmanager
    def _serving(self, record: Record, *, is_websocket: bool) -> Iterator[Serving]:
        """The engine of the `with` block, or else that of the open WebSockets, or else one of its own."""
        if self._current is not None:
            self._current.refresh()
            yield self._current
            self._current.check(record.number)
            return
        with self._shared.joined(self._serve if is_websocket else None) as shared:
            if shared is not None:
                yield shared
                shared.check(record.number)
                return
        with self._serve() as serving:
            serving.start()
            yield serving
            serving.check()
