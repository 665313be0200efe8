"""Applications mounted below a path: FastAPI's own are compiled at their first request, as their stacks are built then.

The engine goes straight to the plans of a mounted application where nothing of the user's stands before it. Below
middleware, its own or that of the application around it, the plans stand in the place of its router, and the request
gets there as it always does.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from fastapi.applications import FastAPI
from starlette.routing import Mount

from overdrive.compiler.routes import Found, base_entry, convertors, room
from overdrive.compiler.spec import Entry, MountedApplication
from overdrive.compiler.stack import Progress, Scope, Send, Stack, without_first
from overdrive.plans import in_slices

if TYPE_CHECKING:
    from overdrive._overdrive import Plans
    from overdrive.compiler import Compilation

# What `Mounted` says instead of plans when the request meets them on its way.
WITHIN = "plans within a mounted application"

logger = logging.getLogger("overdrive.error")


class Mounts:
    """The mounted applications that are known, whatever compilations they appear in.

    at_once: what has changed is compiled again by the next request, and not beside the requests, as a server does it.
    report: called with a line for the log when an application was compiled.
    """

    def __init__(self, *, at_once: bool = True, report: Callable[[str], object] | None = None) -> None:
        self.at_once = at_once
        self.report = report
        self._known: WeakValueDictionary[int, Mounted] = WeakValueDictionary()

    def of(self, app: FastAPI, path: str) -> Mounted:
        """What is known of `app`, which has been found at `path`."""
        # By identity: an application may have a way of its own to be equal. It lives as long as what is known of it.
        known = self._known.get(id(app))
        if known is None:
            known = self._known[id(app)] = Mounted(app, path, self)
        return known

    def stop(self) -> None:
        """Compiles no more."""
        for mounted in list(self._known.values()):
            mounted.stop()


class Mounted:
    """A mounted FastAPI application.

    path: where it was found first.
    compilation: None before its first request.
    """

    def __init__(self, app: FastAPI, path: str, mounts: Mounts) -> None:
        self.app = app
        self.path = path
        self.compilation: Compilation | None = None
        self._mounts = mounts
        self._is_stale = True
        self._again: asyncio.Task[None] | None = None
        self._lock = threading.Lock()

    def plans(self) -> Plans | str:
        """The plans that may answer a request which nothing stands before, or the reason why there are none."""
        reason = self._prepare()
        if reason is not None:
            return reason
        compilation = self.compilation
        assert compilation is not None
        assert compilation.stack is not None
        assert compilation.plans is not None
        if compilation.has_middleware or self.app.root_path:
            compilation.install()
            return WITHIN
        return compilation.plans

    def install(self) -> str:
        """Puts the plans in the place of the application's router. Gives the reason why a request is handed on."""
        reason = self._prepare()
        if reason is not None:
            return reason
        assert self.compilation is not None
        self.compilation.install()
        return WITHIN

    def compile(self) -> Compilation:
        """Compiles the application, as its first request would."""
        from overdrive import compiler

        with self._lock:
            if self.compilation is None or self._is_stale:
                self._use(compiler.compile_application(self.app, self._changed, mounts=self._mounts, below=self.path))
            assert self.compilation is not None
            return self.compilation

    def stop(self) -> None:
        """Compiles no more."""
        if self._again is not None:
            self._again.cancel()

    def _prepare(self) -> str | None:
        if self._is_stale:
            if self._again is not None and not self._again.done():
                return "the routes have changed"
            if self.app.middleware_stack is None and self.app.user_middleware:
                # Making middleware runs code of the user's, which belongs into the request.
                return "the first request to a mounted application with middleware"
            try:
                self.compile()
            except Exception:
                logger.exception("The application mounted at %s cannot be compiled", self.path)
                self._is_stale = False
                self.compilation = None
        if self.compilation is None:
            return "a mounted application that cannot be compiled"
        return f"a mounted application: {self.compilation.reason}" if self.compilation.reason is not None else None

    def _use(self, compilation: Compilation) -> None:
        self._is_stale = False
        compilation.succeed(self.compilation)
        self.compilation = compilation
        if self._mounts.report is not None:
            self._mounts.report(f"{compilation.summary()} of the application mounted at {self.path or '/'}")

    def _changed(self) -> None:
        """A request has found the routes changed."""
        self._is_stale = True
        if not self._mounts.at_once:
            self._again = asyncio.get_running_loop().create_task(self._compile_again())

    async def _compile_again(self) -> None:
        from overdrive import compiler

        steps = compiler.compile_in_steps(self.app, self._changed, mounts=self._mounts, below=self.path)
        self._use(await in_slices(steps))


def entry(
    found: Found, *, stack: Stack | None, limit: int | None, off: Mapping[str, str], mounts: Mounts, below: str
) -> Entry:
    """The entry of a mount.

    stack: of the application that it belongs to; None if plans cannot stand there.
    limit: of all bodies there, in bytes.
    off: features that are off, with the function that is not known.
    below: the path of the application that it belongs to.
    """
    from overdrive.compiler import is_application

    mount = found.effective
    made = base_entry(mount, f"{mount.path}/{{path:path}}", "a mount", kind="any")
    made.path = mount.path
    if found.own_router or type(mount).matches is not Mount.matches or "matches" in vars(mount):
        # It may match anything.
        made.segments, made.prefix = None, ""
        return made
    is_known = type(mount).handle is Mount.handle and "handle" not in vars(mount) and "mounts" not in off
    is_limited = _limit_around(found) is not None
    if made.segments is None or stack is None or not is_known or is_limited or not is_application(mount.app):
        return made
    made.reason = "a mounted application"
    made.mount = MountedApplication(
        mounted=mounts.of(mount.app, below + mount.path),
        route=mount,
        app=mount.app,
        path_parameters=convertors(mount)[:-1],
        scope=room(found),
        body_limit=limit,
        is_direct=not stack.foreign and not stack.is_observed and not found.form_limits,
        around=functools.partial(_around, stack.own),
    )
    return made


def _limit_around(found: Found) -> int | None:
    """The limit of bodies of the routers around a mount, in bytes."""
    if found.included is None:
        return None
    # There is none before FastAPI 0.165.
    limit: int | None = getattr(found.included.include_context, "max_body_size", None)
    return limit


def _around(own: tuple[Any, ...], application: Any) -> Any:
    """`application` within a copy of an application's own middleware, which is given from the innermost on."""
    for middleware in own:
        link = copy.copy(middleware)
        link.app = application
        application = link
    return application


def raising_below(
    raise_through: Callable[..., Awaitable[None]], arounds: tuple[Callable[[Any], Any], ...]
) -> Callable[..., Awaitable[None]]:
    """The way of an exception out of a mounted application: through its own stack, then through those around it.

    raise_through: of the mounted application.
    arounds: of the mounts that lead to it, the innermost first.
    """

    async def raise_below(
        scope: Scope, receive: Any, send: Send, request: Any, error: Exception, progress: Progress, headers: Any
    ) -> None:
        started, _ = progress

        async def application(scope: Scope, receive: Any, send: Send) -> None:
            if started:
                # For those around, to whom it is news, too.
                await send({"type": "http.response.start", "status": 200, "headers": []})
            await raise_through(scope, receive, send, request, error, progress, headers)

        chain: Any = application
        for around in arounds:
            chain = around(chain)
        await chain(scope, receive, without_first(send) if started else send)

    return raise_below
