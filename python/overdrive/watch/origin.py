"""Which request began what runs outside of it: its tasks inherit its context, and that says whose it is."""

from __future__ import annotations

import asyncio
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from overdrive._overdrive import Watch

# Set by the engine: the place of a route, or line, number and clock of a request whose route it did not know yet.
ORIGIN: ContextVar[int | tuple[str, int, object]] = ContextVar("overdrive_request")


class Request(NamedTuple):
    """A request, by its route, or by its line where the route is not known: that is the client's to choose."""

    text: str
    is_route: bool


def here(watch: Watch) -> Request | None:
    """The request in whose context the caller runs."""
    return _name(watch, ORIGIN.get(None))


def of_context(watch: Watch, context: Context | None) -> Request | None:
    """The request to which a context belongs."""
    return _name(watch, context.get(ORIGIN)) if context is not None else None


def of_task(watch: Watch, task: Any) -> Request | None:
    """The request that has started a task. Before Python 3.12 a task does not let its context be seen: None."""
    get_context = getattr(task, "get_context", None)
    return of_context(watch, get_context()) if isinstance(task, asyncio.Task) and get_context is not None else None


def route_text(route: tuple[str, str, str]) -> str:
    """A route as people name it: "GET /items/{number} (main.read_item)"."""
    method, path, endpoint = route
    text = f"{method} {path}".strip()
    # What was found without a route has no other name than its endpoint's.
    return f"{text} ({endpoint})" if endpoint and path != f"({endpoint})" else text


def _name(watch: Watch, value: int | tuple[str, int, object] | None) -> Request | None:
    if value is None:
        return None
    line, place = (None, value) if isinstance(value, int) else (value[0], watch.found_route(value[1]))
    route = watch.route_name(place) if place is not None else None
    if route is not None:
        return Request(route_text(route), is_route=True)
    return Request(line, is_route=False) if line is not None else None
