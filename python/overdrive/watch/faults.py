"""Faults that do not block the loop: coroutines nobody awaits, tasks that are lost, exceptions nobody sees."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

from overdrive._overdrive import Watch
from overdrive.watch import origin
from overdrive.watch.stacks import Frame, blame, short, within_loop
from overdrive.watch.telling import MOST_THINGS, Telling, again

# As deep as a coroutine's origin is traced in strict mode: to a line of the user's, through the helpers of libraries.
ORIGIN_DEPTH = 12

logger = logging.getLogger("overdrive.watch")


class Faults:
    """Hears of faults while it is installed. Called on any thread."""

    def __init__(self, watch: Watch, *, traces_origins: bool = False) -> None:
        self._watch = watch
        self._traces_origins = traces_origins
        # Of its own thread's again, as a coroutine may die within: whatever allocates may run the garbage collector.
        self._lock = threading.RLock()
        self._telling = Telling()
        # What is told of faults of one kind.
        self._texts: dict[tuple[str, str | None], str] = {}
        self._restore: list[Callable[[], object]] = []

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listens to Python and to the loop."""
        self._listen_to_warnings()
        if loop.get_exception_handler() is None:
            loop.set_exception_handler(self._handle)
            self._restore.append(lambda: _forget_handler(loop, self._handle))
        collector = self._watch.collector()
        gc.callbacks.append(collector)
        self._restore.append(lambda: _remove(gc.callbacks, collector))
        if self._traces_origins:
            depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(max(depth, ORIGIN_DEPTH))
            self._restore.append(lambda: sys.set_coroutine_origin_tracking_depth(depth))

    def remove(self) -> None:
        """Listens no more."""
        while self._restore:
            self._restore.pop()()

    def note(self, text: str, remedy: str) -> None:
        """Counts a fault."""
        self._watch.note_fault(text, remedy)

    def add(self, what: str, remedy: str, how: str = "", request: origin.Request | None = None) -> None:
        """Counts a fault, and logs it unless it was told of just now.

        how: what the fault has to do with `request`, "in" say.
        """
        # Clients make up as many lines as they like, so only a route tells faults apart; the first line stands for all.
        key = (what, request.text if request is not None and request.is_route else None)
        with self._lock:
            text = self._texts.get(key)
            if text is None:
                text = f"{what}; {how} {request.text}" if request is not None else what
                if len(self._texts) < MOST_THINGS:
                    self._texts[key] = text
            self.note(text, remedy)
            untold = self._telling.due(key)
        if untold is not None:
            logger.warning("%s%s", text, again(untold))

    def _listen_to_warnings(self) -> None:
        # Python calls this function of `warnings`, if it is there, for each coroutine that dies without having begun.
        tell = getattr(warnings, "_warn_unawaited_coroutine", None)
        if tell is None:
            return

        told = self._watch.unawaited(tell, self._unawaited)
        warnings._warn_unawaited_coroutine = told  # type: ignore[attr-defined]

        def restore() -> None:
            if getattr(warnings, "_warn_unawaited_coroutine", None) is told:
                warnings._warn_unawaited_coroutine = tell  # type: ignore[attr-defined]

        self._restore.append(restore)

    def _unawaited(self, coroutine: Any) -> None:
        code = coroutine.cr_code
        place = f"{short(code.co_filename)}:{code.co_firstlineno}"
        text = f"the coroutine {coroutine.__qualname__} ({place}) was never awaited"
        made: list[Frame] = list(coroutine.cr_origin or ())
        if found := blame(within_loop(made), strict=True):
            text += f"; it was made at {found}"
        self.add(text, "await: without it nothing of the coroutine runs", "in", origin.here(self._watch))

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """asyncio's own handling, and then whose task it was."""
        loop.default_exception_handler(context)
        task = context.get("task") or context.get("future")
        if task is None:
            return
        what = _task_text(task)
        request = origin.of_task(self._watch, task)
        if context.get("exception") is None and "destroyed" in context["message"]:
            self.add(
                f"{what} was destroyed while it was pending",
                "a reference to the task that is kept until its end, asyncio.TaskGroup or BackgroundTasks",
                "started by",
                request,
            )
        elif context.get("exception") is not None and "never retrieved" in context["message"]:
            error = type(context["exception"]).__name__
            self.add(
                f"{what} has raised {error}, and nobody asked",
                "asyncio.TaskGroup, or an await of the task",
                "started by",
                request,
            )


def _task_text(task: Any) -> str:
    if not isinstance(task, asyncio.Task):
        return "a future"
    # Not `get_coro()`: until Python 3.12.2 that crashes for a task that has ended in its eager first step.
    coroutine = getattr(task, "_coro", None)
    if coroutine is None:
        return f"the task {task.get_name()}"
    name = getattr(coroutine, "__qualname__", None) or type(coroutine).__name__
    code = getattr(coroutine, "cr_code", None)
    place = f" ({short(code.co_filename)}:{code.co_firstlineno})" if code is not None else ""
    return f"a task of {name}{place}"


def _remove(callbacks: list[Any], callback: Any) -> None:
    if callback in callbacks:
        callbacks.remove(callback)


def _forget_handler(loop: asyncio.AbstractEventLoop, handler: Callable[..., Any]) -> None:
    if not loop.is_closed() and loop.get_exception_handler() == handler:
        loop.set_exception_handler(None)
