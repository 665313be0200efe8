"""The compiled routes of a running server: made at its start, and made anew when the application's routes change."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from overdrive.errors import StartupError
from overdrive.interface import ASGI3

if TYPE_CHECKING:
    from overdrive._overdrive import Engine
    from overdrive.compiler import Compilation
    from overdrive.compiler.mounts import Mounts

# Seconds that compiling anew may keep the loop at a time.
SLICE = 0.005

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Result = TypeVar("Result")

logger = logging.getLogger("overdrive.error")


class CompiledRoutes:
    """Keeps the plans of `app` up to date. `mode` is that of `Config.compile`.

    Plans are the engine's where nothing stands before the application's routes; otherwise, and without an engine, they
    stand within the application, in the place of its router.
    """

    def __init__(self, app: Any, engine: Engine | None = None, mode: str = "auto") -> None:
        self.compilation: Compilation | None = None
        self._app = app
        self._engine = engine
        self._mode = mode
        self._mounts: Mounts | None = None
        self._again: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Compiles all routes, and says so.

        Raises:
            StartupError: the mode is "strict" and a route cannot be compiled.
        """
        if self._mode == "off" or not _may_be_fastapi():
            self._refuse("not a FastAPI application")
            return
        try:
            compilation = self._compile()
        except Exception as error:
            # A release may lack anything that the compiler looks at.
            reason = why_not(error)
            self._refuse(reason)
            logger.warning("Compiled no routes: %s", reason)
            logger.debug("The compiler has failed", exc_info=error)
            return
        if compilation is None:
            self._refuse("not a FastAPI application, or one with a way of its own to handle requests")
            return
        self._use(compilation)

    def stop(self) -> None:
        """Compiles no more, and leaves the engine without plans."""
        if self._again is not None:
            self._again.cancel()
        if self._mounts is not None:
            self._mounts.stop()
        if self._engine is not None:
            # They refer to us, as we to the engine, which the garbage collector cannot look into.
            self._engine.set_plans(None)
            self._engine = None

    def _compile(self) -> Compilation | None:
        from overdrive import compiler
        from overdrive.compiler.mounts import Mounts

        if not compiler.is_application(self._app):
            return None
        self._mounts = Mounts(at_once=False, report=logger.info)
        return compiler.compile_application(self._app, self._changed, mounts=self._mounts)

    def _use(self, compilation: Compilation) -> None:
        if self._mode == "strict" and compilation.compiled < compilation.operations:
            self._refuse(compilation.summary())
        self._install(compilation)
        logger.info(compilation.summary())

    def _install(self, compilation: Compilation) -> None:
        compilation.succeed(self.compilation)
        self.compilation = compilation
        if self._engine is not None:
            self._engine.set_plans(compilation.plans if compilation.is_direct else None)
        if self._engine is None or compilation.has_middleware:
            compilation.install()

    def _refuse(self, reason: str) -> None:
        if self._mode == "strict":
            raise StartupError(f"--compile strict: {reason}. `overdrive routes` lists the routes and the reasons.")

    def _changed(self) -> None:
        """A request has found the routes changed; until they are compiled again all take FastAPI's own way."""
        if self._again is None or self._again.done():
            self._again = asyncio.get_running_loop().create_task(self._compile_again())

    async def _compile_again(self) -> None:
        from overdrive import compiler

        steps = compiler.compile_in_steps(self._app, self._changed, mounts=self._mounts)
        compilation = await in_slices(steps)
        self._install(compilation)
        logger.info("The routes have changed. %s", compilation.summary())


def why_not(error: Exception) -> str:
    """What to tell of an error that the compiler did not expect."""
    release = getattr(sys.modules.get("fastapi"), "__version__", "of an unknown release")
    return f"FastAPI {release} is not one that can be read ({type(error).__name__}: {error})"


async def in_slices(steps: Generator[None, None, Result]) -> Result:
    """Takes steps, as many at a time as the loop can spare, and gives what they return."""
    started = time.monotonic()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        if time.monotonic() - started > SLICE:
            await asyncio.sleep(0)
            started = time.monotonic()


def uncompiled(endpoint: Endpoint) -> Endpoint:
    """Marks an endpoint whose route is not to be compiled: FastAPI's own code serves it.

    ```python
    import overdrive
    from fastapi import FastAPI

    app = FastAPI()


    @app.get("/odd")
    @overdrive.uncompiled
    async def odd() -> str:
        return "as FastAPI has it"
    ```
    """
    endpoint.__overdrive_uncompiled__ = True  # type: ignore[attr-defined]
    return endpoint


def _may_be_fastapi() -> bool:
    return "fastapi" in sys.modules


def compile(app: Any) -> ASGI3:
    """`app`, a FastAPI application, as an ASGI application with compiled routes, for any ASGI server on asyncio.

    It compiles at the first request, after the application's start-up. An application that is none of FastAPI's is
    served as it is, as is every application on a loop that is not asyncio's.

    ```python
    from fastapi import FastAPI

    import overdrive

    api = FastAPI()
    app = overdrive.compile(api)  # uvicorn main:app
    ```
    """
    routes = CompiledRoutes(app)
    compiled = False

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal compiled
        if not compiled and scope["type"] == "http" and asyncio._get_running_loop() is not None:
            compiled = True
            routes.start()
        await app(scope, receive, send)

    return application
