"""A stall as an exception, raised as if from the line that blocked."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from overdrive.errors import EventLoopBlocked
from overdrive.watch.stacks import Frame, is_users
from overdrive.watch.stalls import line, usual_stack


def blocked(stall: dict[str, Any]) -> EventLoopBlocked:
    """The exception of a stall as the engine tells of it, with its traceback."""
    stack = usual_stack([stack for _, stack in stall["samples"]])
    # What lies within the user's line is the library's own.
    first = next((place for place, frame in enumerate(stack) if is_users(frame)), 0)
    users = [frame for frame in stack[first:] if is_users(frame)] or list(stack[:1])
    error = EventLoopBlocked(line(stall, 0), stall["seconds"])
    return error.with_traceback(traceback_of(users))


def traceback_of(stack: Sequence[Frame]) -> TracebackType | None:
    """The traceback of an exception that was raised in the first line of a stack (innermost first)."""
    chain: TracebackType | None = None
    for frame in stack:
        entry = _entry(frame)
        chain = TracebackType(chain, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return chain


def _entry(frame: Frame) -> TracebackType:
    """A traceback of one entry. A traceback needs a frame, so one is made that says it is at this line."""
    file, number, function = frame
    code = compile("raise Exception", file, "exec")
    code = code.replace(co_firstlineno=max(number, 1), co_name=function.rpartition(".")[2], co_qualname=function)
    try:
        exec(code, {"__name__": "__blocked__"})
    except Exception as error:
        # Behind that of this function.
        entry = error.__traceback__.tb_next if error.__traceback__ is not None else None
    if entry is None:
        raise RuntimeError("an exception without a traceback")
    return entry
