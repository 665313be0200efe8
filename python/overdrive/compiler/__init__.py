"""Compiles the routes of a FastAPI application into plans that the engine runs.

What is not fully understood is not compiled: such a route is served by FastAPI's own code. FastAPI itself is imported
here, so this package is imported only where an application is one.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi.applications import FastAPI
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRouter
from starlette.exceptions import HTTPException
from starlette.routing import Mount, WebSocketRoute

from overdrive._overdrive import Plans
from overdrive.compiler import instruments, known, limits, opentelemetry, routes, sentry, sockets, telemetry
from overdrive.compiler.mounts import WITHIN
from overdrive.compiler.mounts import Mounts as Mounts
from overdrive.compiler.mounts import entry as mount_entry
from overdrive.compiler.runtime import Runtime
from overdrive.compiler.spec import Entry, NotCompiled
from overdrive.compiler.stack import Stack, examine


@dataclass(frozen=True, slots=True)
class Compilation:
    """What became of an application's routes.

    plans: None if nothing could be compiled.
    entries: all routes in FastAPI's order.
    reason: why nothing could be compiled, if it is one reason for all.
    stack: the application's middleware.
    observers: the instruments that see what plans do.
    unknown: functions that are not the code we know, the first of each feature that is off for it.
    own_seconds: what compiling took.
    fastapi_seconds: what FastAPI took to lay out its included routers, which it otherwise does at the first request.
    """

    plans: Plans | None
    entries: list[Entry]
    reason: str | None
    stack: Stack | None
    observers: list[str]
    unknown: list[str]
    own_seconds: float
    fastapi_seconds: float
    _earlier: Counter[str | None] = field(default_factory=Counter)

    def is_compiled(self, entry: Entry) -> bool:
        """Whether requests to this route are answered by a plan."""
        return self.plans is not None and entry.plan is not None

    @property
    def is_direct(self) -> bool:
        """Whether the engine may ask the plans first: they do what middleware does, or say where it begins."""
        return self.stack is not None and (self.stack.layers is not None or self.stack.outermost is not None)

    @property
    def has_middleware(self) -> bool:
        """Whether requests may have to go through the stack, to plans within it."""
        return self.stack is not None and (bool(self.stack.foreign) or self.stack.is_observed)

    def install(self) -> None:
        """Puts the plans into the application's stack, below the user's middleware."""
        if self.stack is None or self.plans is None:
            return
        self.stack.install(self.plans)

    @property
    def operations(self) -> int:
        """How many path operations there are, as far as what is mounted is compiled."""
        return sum(entry.is_operation for _, _, entry in self.routes())

    @property
    def compiled(self) -> int:
        """How many of them have a plan that is used."""
        return sum(compilation.is_compiled(entry) for _, compilation, entry in self.routes())

    def counts(self) -> tuple[int, dict[str, int]]:
        """How many requests plans have answered, and how many were handed to FastAPI's own code, by reason.

        What is mounted counts as well.
        """
        counted = Counter[str | None]()
        mounted = (_mounted(entry) for _, _, entry in self.routes())
        for compilation in {id(each): each for each in (self, *mounted) if each is not None}.values():
            counted.update(compilation._own_counts())
        answered = counted.pop(None, 0)
        # These are counted where they have gone.
        del counted[WITHIN]
        return answered, {reason: count for reason, count in counted.items() if reason is not None}

    def succeed(self, replaced: Compilation | None) -> None:
        """Counts what `replaced`, in whose place this one is put, has counted so far."""
        if replaced is not None:
            self._earlier.update(replaced._own_counts())

    def _own_counts(self) -> Counter[str | None]:
        # Under None those that plans have answered.
        counted = self._earlier.copy()
        if self.plans is not None:
            answered, handed_over = self.plans.counts()
            counted[None] += answered
            counted.update(handed_over)
        return counted

    def routes(self, below: str = "", around: tuple[Compilation, ...] = ()) -> Iterator[tuple[str, Compilation, Entry]]:
        """All routes, also of mounted applications that are compiled: path, compilation, and the entry there."""
        for entry in self.entries:
            yield below + entry.path, self, entry
            inner = _mounted(entry)
            # An application may be mounted in itself.
            if inner is not None and inner is not self and all(inner is not other for other in around):
                yield from inner.routes(below + entry.path, (*around, self))

    def summary(self) -> str:
        """One line for the log."""
        line = f"Compiled {self.compiled} of {self.operations} routes"
        told = ""
        if self.compiled < self.operations and self.reason is not None:
            told = self.reason
        elif self.compiled < self.operations:
            reasons = Counter(
                compilation.reason or entry.reason
                for _, compilation, entry in self.routes()
                if entry.is_operation and not compilation.is_compiled(entry)
            )
            reason, count = reasons.most_common(1)[0]
            told = f"{count}: {reason}"
        if told:
            line += f" ({told})"
        if self.observers and self.compiled:
            line += f", observed by {_listed(self.observers)}"
        others = [name for name in self.unknown if name not in told and known.is_installed(name)]
        if others:
            line += f"; not the code we know: {_listed(others)}"
        return line


def _mounted(entry: Entry) -> Compilation | None:
    compilation: Compilation | None = entry.mount.mounted.compilation if entry.mount is not None else None
    return compilation


def is_application(app: Any) -> bool:
    """Whether `app` is a FastAPI application whose way of handling requests is FastAPI's own.

    How it builds its stack is its own affair: the stack is looked at as it was built.
    """
    return isinstance(app, FastAPI) and type(app).__call__ is FastAPI.__call__


def compile_application(
    app: FastAPI, on_change: Callable[[], object], *, mounts: Mounts | None = None, below: str = ""
) -> Compilation:
    """Compiles all routes at once; see `compile_in_steps`."""
    steps = compile_in_steps(app, on_change, mounts=mounts, below=below)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Compilation = end.value
            return result


def compile_in_steps(
    app: FastAPI, on_change: Callable[[], object], *, mounts: Mounts | None = None, below: str = ""
) -> Generator[None, None, Compilation]:
    """Compiles all routes, with a pause after each.

    on_change: called, once, when a request finds the routes changed.
    mounts: the mounted applications that are known; what is mounted here is compiled at its first request.
    below: the path where the application is mounted itself.
    """
    if app.middleware_stack is None:
        # As the first request would.
        app.middleware_stack = app.build_middleware_stack()
    started = time.perf_counter()

    def own_seconds() -> float:
        return time.perf_counter() - started - fastapi_seconds

    mounts = mounts or Mounts()
    router = app.router
    # As they are before the first is looked at: what changes between two steps is found by the next request.
    lists = [(router, router.routes, list(router.routes)) for router in routes.routers(router)]
    reason, stack, limit = None, None, None
    off = known.features_off()
    yield
    observers = instruments.around_features(known.FEATURES)
    is_observed = "stack" in off or bool(instruments.around_features(["stack"]))
    is_sentrys = "stack" not in off and sentry.is_alone_around()
    if telemetry.is_on(app):
        if not telemetry.is_left_to_others(app.middleware_stack):
            observers.add("FastAPI's telemetry")
            is_observed = True
        is_observed = is_observed or telemetry.asks(app)
        is_sentrys = False
    try:
        for feature in ("routing", "operations", "dependencies"):
            if feature in off:
                raise NotCompiled(f"not the code we know: {off[feature]}")
        for name in known.unknowns("stack"):
            if not known.is_patched(name):
                raise NotCompiled(f"not the code we know: {name}")
        stack = examine(app.middleware_stack, router, off, is_observed=is_observed)
        if is_sentrys and not stack.limit:
            observer = sentry.Observer(app, stack.inside, stack.raise_outermost)
            stack = replace(stack, observer=observer, raise_outermost=sentry.reraise)
        elif stack.outermost is not None:
            # Below it, the plans are within the stack.
            stack = replace(stack, observer=opentelemetry.observer(stack.outermost, routes.routers(router)))
        limit = limits.least(stack.limit, _examine_router(router))
    except NotCompiled as error:
        reason = str(error)
    entries = []
    fastapi_seconds = 0.0
    walk = routes.walk(router)
    while True:
        before = time.perf_counter()
        found = next(walk, None)
        fastapi_seconds += time.perf_counter() - before
        if found is None:
            break
        if isinstance(found.effective, WebSocketRoute):
            entries.append(sockets.entry(found, off=off))
        elif isinstance(found.effective, Mount):
            entries.append(mount_entry(found, stack=stack, limit=limit, off=off, mounts=mounts, below=below))
        else:
            entries.append(routes.entry(found, limit=limit, off=off))
        yield
    if any(router._low_priority_routes for router, _, _ in lists):
        entries.append(Entry(path="", methods=[], segments=None, reason="a frontend", kind="any"))
    if stack is None or reason is not None:
        return Compilation(None, entries, reason, None, [], list(off.values()), own_seconds(), fastapi_seconds)
    observers |= instruments.in_stack(stack.foreign)
    by_class = stack.handlers[0] if "default handlers" not in off else {}
    plans = Plans(
        runtime=Runtime(
            own_threads="threads" not in off,
            own_streams="streams" not in off,
            own_files="files" not in off,
            own_messages=known.unknown("websocket messages") is None,
        ),
        entries=entries,
        application=app,
        root_path=app.root_path,
        redirects=router.redirect_slashes and "redirects" not in off,
        body_limit=limit,
        router=router,
        handlers=stack.handlers,
        default_http_handler=_if_same(by_class.get(HTTPException), http_exception_handler),
        default_validation_handler=_if_same(by_class.get(RequestValidationError), request_validation_exception_handler),
        raise_through=stack.raise_through,
        raise_within=stack.raise_within,
        raise_outermost=stack.raise_outermost,
        outermost=stack.outermost,
        observer=stack.observer if is_sentrys and not stack.foreign else None,
        layers=stack.layers or [],
        passage=stack.passage,
        route_lists=[(routes, items) for _, routes, items in lists],
        stack=app.middleware_stack,
        globals=[(vars(json), "loads", json.loads, "json.loads was replaced")],
        providers=telemetry.providers(),
        on_change=on_change,
    )
    unknown = list(off.values())
    return Compilation(plans, entries, None, stack, sorted(observers), unknown, own_seconds(), fastapi_seconds)


def _examine_router(router: APIRouter) -> int | None:
    """The limit of bodies that stands around the router, in bytes.

    Raises:
        NotCompiled: it is not FastAPI's alone.
    """
    name = routes.own_method(router)
    if name is not None:
        raise NotCompiled(f"the router's own {name}")
    limit, inside = limits.limited_inside(router.middleware_stack)
    if inside != router.app:
        raise NotCompiled("middleware of the router")
    if router.default != router.not_found or type(router).not_found is not APIRouter.not_found:
        raise NotCompiled("the router's own default")
    return limit


def _if_same(found: Any, known: Any) -> Any:
    return found if found is known else None


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(set(names)))
