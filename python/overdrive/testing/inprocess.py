"""Loops that the engine cannot live in: the application is called in-process there, by Starlette's own client."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from overdrive.testing.library import StarletteTestClient, testclient

if TYPE_CHECKING:
    import anyio.from_thread

    from overdrive.interface import ASGI3
    from overdrive.testing.library import httpx


class InProcessWarning(UserWarning):
    """A test client does not use the engine."""


class InProcess:
    """Starlette's `TestClient`, for its transport and its loop. `options` are its own."""

    def __init__(self, app: ASGI3, *, backend: str, **options: Any) -> None:
        warnings.warn(
            f"TestClient(backend={backend!r}) calls the application in-process: the engine belongs to asyncio",
            InProcessWarning,
            stacklevel=3,
        )
        self._client: Any = StarletteTestClient(app, backend=backend, **options)
        self.transport: httpx.BaseTransport = self._client._transport
        self.app_state: dict[str, Any] = self._client.app_state

    @contextlib.contextmanager
    def running(self) -> Iterator[anyio.from_thread.BlockingPortal]:
        """The loop of a `with` block, and the lifespan in it."""
        with self._client:
            yield self._client.portal


# What its transport raises with a WebSocket.
InProcessUpgrade: Any = testclient._Upgrade
