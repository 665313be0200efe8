"""Lets a test client hear who answers a request where the engine does not know it: below middleware of the user's."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

# Called with "plan", or "asgi: " and a reason. Set in the context of a test client's request only.
answering: ContextVar[Callable[[str], None] | None] = ContextVar("overdrive.answering", default=None)
