"""The lifespan protocol (ASGI Lifespan specification)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from overdrive.importer import user_traceback
from overdrive.interface import ASGI3

logger = logging.getLogger("overdrive.error")


class Lifespan:
    """Tells an application that the server starts and that it stops.

    `mode` is "auto" (an application that raises on the lifespan scope has none), "on" (that is a failure) or "off". After
    `startup`, `failed` says whether the server must not start. `state` is what the application has put there for its
    requests.
    """

    def __init__(self, app: ASGI3, mode: str) -> None:
        self.state: dict[str, Any] = {}
        self.failed = False
        self._app = app
        self._mode = mode
        self._task: asyncio.Task[None] | None = None
        self._messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._startup_sent = False
        self._supported = True

    async def startup(self) -> None:
        """Sends `lifespan.startup` and waits for its answer."""
        if self._mode == "off":
            return
        logger.info("Waiting for application startup.")
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._messages.put_nowait({"type": "lifespan.startup"})
        await self._started.wait()
        if self.failed:
            logger.error("Application startup failed. Exiting.")
        else:
            logger.info("Application startup complete.")

    async def shutdown(self) -> None:
        """Sends `lifespan.shutdown` and waits for its answer. `failed` says whether that went wrong."""
        if self._task is None or not self._supported or self._task.done():
            return
        logger.info("Waiting for application shutdown.")
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        await self._stopped.wait()
        if self.failed:
            logger.error("Application shutdown failed. Exiting.")
        else:
            logger.info("Application shutdown complete.")
        # The application may have a last word after its answer; it is not to be lost with the loop.
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._messages.get, self._send)
        except BaseException as error:
            self._supported = False
            if self._started.is_set() or self._mode == "on" or self.failed or not isinstance(error, Exception):
                self.failed = True
                if not self._told:
                    logger.error("Exception in 'lifespan' protocol\n%s", user_traceback(error))
            else:
                logger.info("ASGI 'lifespan' protocol appears unsupported.")
            if not isinstance(error, Exception):
                raise
        else:
            self._supported = False
        finally:
            self._started.set()
            self._stopped.set()

    _told = False

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        allowed = ("lifespan.startup.complete", "lifespan.startup.failed")
        if self._started.is_set():
            allowed = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")
        if kind not in allowed or self._stopped.is_set():
            expected = "no message" if self._stopped.is_set() else " or ".join(f"'{name}'" for name in allowed)
            raise RuntimeError(f"Expected ASGI message {expected}, but got '{kind}'.")
        if kind.endswith(".failed"):
            self.failed = self._told = True
            if message.get("message"):
                logger.error(message["message"])
        (self._stopped if self._started.is_set() else self._started).set()
