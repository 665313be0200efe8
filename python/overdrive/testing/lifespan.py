"""The lifespan of a test client's `with` block: whatever the application raises, the block raises."""

from __future__ import annotations

import asyncio
from typing import Any

from overdrive.interface import ASGI3


class Lifespan:
    """Runs an application's lifespan on the running loop. `state` is the very dict that the application gets."""

    def __init__(self, app: ASGI3, state: dict[str, Any]) -> None:
        self._app = app
        self._scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        self._to_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        # None: the application has ended.
        self._from_application: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Sends `lifespan.startup` and waits for its answer.

        Raises:
            BaseException: what the application raises instead; also if it has no lifespan.
            RuntimeError: the application says that it failed, or ends without an answer.
        """
        self._task = asyncio.get_running_loop().create_task(self._run())
        if not await self._ask("startup"):
            raise RuntimeError("the application's lifespan ended before 'lifespan.startup.complete'")

    async def shutdown(self) -> None:
        """Sends `lifespan.shutdown`, waits for its answer and for the end. Raises as `startup`."""
        await self._ask("shutdown")
        assert self._task is not None
        await asyncio.wait([self._task])
        if self._error is not None:
            raise self._error

    async def _ask(self, phase: str) -> bool:
        """Whether the answer is that all is well; False if the application has ended before."""
        self._to_application.put_nowait({"type": f"lifespan.{phase}"})
        answer = await self._from_application.get()
        failure = answer if answer is not None and answer["type"] == f"lifespan.{phase}.failed" else None
        if failure is not None:
            # It raises what it failed of, usually.
            assert self._task is not None
            await asyncio.wait([self._task])
        if self._error is not None:
            raise self._error
        if failure is not None:
            raise RuntimeError(failure.get("message") or f"the application's {phase} failed")
        if answer is not None and answer["type"] != f"lifespan.{phase}.complete":
            raise RuntimeError(f"Expected 'lifespan.{phase}.complete', but got '{answer['type']}'")
        return answer is not None

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._to_application.get, self._send)
        except BaseException as error:
            self._error = error
        finally:
            self._from_application.put_nowait(None)

    async def _send(self, message: dict[str, Any]) -> None:
        self._from_application.put_nowait(message)
