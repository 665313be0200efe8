"""The lifespan protocol (ASGI Lifespan specification 2.0)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from overdrive.importer import summary, user_traceback
from overdrive.interface import ASGI3

logger = logging.getLogger("overdrive.error")


class Lifespan:
    """Tells an application that the server starts and that it stops.

    `mode` is "auto" (an application that raises on the lifespan scope does without), "on" (that is a failure) or "off".
    `state` is what the application has put there for its requests. After `startup`, `startup_failed` says whether the
    server must not start.

    Two events hold the protocol's whole state: `_started` and `_stopped` are set by the application's answer to each
    message, or by its end, whichever is first; an answer is legal only while its event waits.
    """

    def __init__(self, app: ASGI3, mode: str) -> None:
        self.state: dict[str, Any] = {}
        self.startup_failed = False
        self.shutdown_failed = False
        self._app = app
        self._mode = mode
        self._task: asyncio.Task[None] | None = None
        self._messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()

    async def startup(self) -> None:
        """Sends `lifespan.startup` and waits for its answer."""
        if self._mode == "off":
            return
        logger.info("Waiting for application startup.")
        # In a task of its own, so that what the application sets in its context stays there, as under uvicorn.
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._messages.put_nowait({"type": "lifespan.startup"})
        await self._started.wait()
        if self.startup_failed:
            logger.error("Application startup failed. Exiting.")
        else:
            logger.info("Application startup complete.")

    async def shutdown(self) -> None:
        """Sends `lifespan.shutdown` and waits for its answer; does nothing when the application has left already."""
        if self._task is None or self._task.done():
            return
        logger.info("Waiting for application shutdown.")
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        await self._stopped.wait()
        if self.shutdown_failed:
            logger.error("Application shutdown failed. Exiting.")
        else:
            logger.info("Application shutdown complete.")
        # What it still does after its answer is not to be lost with the loop.
        await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Ends an application that is not to be waited for."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._messages.get, self._send)
        except asyncio.CancelledError:
            self._fail()
        except BaseException as error:
            # `SystemExit`, too, is a failure to start or stop, and ends the server with that failure's code.
            if not self._started.is_set() and self._mode == "auto" and isinstance(error, Exception):
                logger.info("ASGI 'lifespan' protocol appears unsupported.")
            elif not (self.startup_failed or self.shutdown_failed):
                # Otherwise the application has told of it, and raises it for those around it.
                self._fail()
                logger.error("Exception in 'lifespan' protocol\n%s", user_traceback(error) or summary(error))
        finally:
            self._started.set()
            self._stopped.set()

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        phase = "shutdown" if self._started.is_set() else "startup"
        if self._stopped.is_set() or kind not in (f"lifespan.{phase}.complete", f"lifespan.{phase}.failed"):
            expected = f"'lifespan.{phase}.complete' or 'lifespan.{phase}.failed'"
            raise RuntimeError(
                f"Expected ASGI message {'no more' if self._stopped.is_set() else expected}, but got '{kind}'."
            )
        if kind.endswith(".failed"):
            self._fail()
            if message.get("message"):
                logger.error(message["message"])
        (self._started if phase == "startup" else self._stopped).set()

    def _fail(self) -> None:
        if self._started.is_set():
            self.shutdown_failed = True
        else:
            self.startup_failed = True
