"""What a middleware of the user's stands around: in `app`, as Starlette's own keep it, or under a name of its own."""

from __future__ import annotations

from typing import Any

from starlette.middleware.exceptions import ExceptionMiddleware


def within(middleware: Any) -> Any:
    """The next application of the stack; None if the middleware does not say.

    Under another name than `app` it is the one value that leads to Starlette's innermost middleware: two would leave
    open which of them a request takes.
    """
    following = getattr(middleware, "app", None)
    if following is not None:
        return following
    leading = [held for held in _held(middleware) if _leads(held)]
    return leading[0] if len(leading) == 1 else None


def _leads(value: Any) -> bool:
    seen = {id(value)}
    open_ends = [value]
    while open_ends:
        value = open_ends.pop()
        if type(value) is ExceptionMiddleware:
            return True
        following = [held for held in _held(value) if id(held) not in seen]
        seen.update(map(id, following))
        open_ends += following
    return False


def _held(value: Any) -> list[Any]:
    """What can be called among the attributes of an instance, each once."""
    attributes = getattr(value, "__dict__", None)
    if not isinstance(attributes, dict):  # a class's is none
        return []
    return list({id(held): held for held in attributes.values() if callable(held)}.values())
