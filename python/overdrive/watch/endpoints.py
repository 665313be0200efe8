"""What an endpoint is called, where it stands, and how it is written."""

from __future__ import annotations

import functools
import inspect
from typing import Any


def describe(endpoint: Any) -> tuple[str, str, int, str]:
    """Module and qualified name, file, line, and pattern: "async", "def", or "" for what is no function."""
    function = endpoint
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not inspect.isroutine(function) and not inspect.isclass(function):
        function = type(function).__call__
    name = getattr(function, "__qualname__", None) or type(endpoint).__name__
    module = getattr(function, "__module__", None)
    code = getattr(function, "__code__", None)
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    return (
        f"{module}.{name}" if module else name,
        code.co_filename if code is not None else "",
        code.co_firstlineno if code is not None else 0,
        "async" if is_async else "def" if code is not None else "",
    )
