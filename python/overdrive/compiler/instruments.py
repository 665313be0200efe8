"""The functions that instruments put around FastAPI's and Starlette's own, and how to find what they stand around.

An instrument replaces a function of a library with one of its own that does something before and after and calls the
original. Those named here are known to call it once, with the arguments they were given, and to return what it
returns. So what they wrap can still be known code, and a plan can stand in for it: the instrument's own function is
called, around the plan. They are known by their code, as all that plans rely on (see `known`); a function that does
the same but is not named here is a function that is not known.

What an instrument puts into the middleware stack needs none of this: it runs as any middleware does.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType
from typing import Any

from overdrive.compiler import known


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A function that wraps another.

    instrument: whose it is, for people.
    maker: the function that defines it, as `module:name`.
    path: the names of the functions within one another, from within the maker to the wrapper.
    original: the variable of its closure that holds what it wraps.
    relies: functions of the instrument that it calls and that call the original.
    """

    instrument: str
    maker: str
    path: tuple[str, ...]
    original: str
    relies: tuple[str, ...] = ()


# Functions with what is known of them, the outermost first.
Wrapped = list[tuple[FunctionType, Wrapper]]


@dataclass(frozen=True, slots=True)
class Around:
    """Makes of a function one with the instruments of another around it.

    before: `(request) -> bool`: does what they do before they call a request handler, where that is all they do; false
        if they have to be called.
    """

    wrapped: Wrapped
    before: Callable[[Any], bool] | None = None

    def __call__(self, original: Any) -> Any:
        """The same instruments around `original`."""
        return rewrapped(self.wrapped, original)


SENTRY_FASTAPI = "sentry_sdk.integrations.fastapi"
SENTRY_STARLETTE = "sentry_sdk.integrations.starlette"
LOGFIRE = "logfire._internal.integrations.fastapi"

WRAPPERS = (
    Wrapper(
        "Sentry",
        f"{SENTRY_FASTAPI}:patch_get_request_handler",
        ("_sentry_get_request_handler",),
        "old_get_request_handler",
        (f"{SENTRY_STARLETTE}:_wrap_sync_handler",),
    ),
    Wrapper(
        "Sentry",
        f"{SENTRY_FASTAPI}:patch_get_request_handler",
        ("_sentry_get_request_handler", "_sentry_app"),
        "old_app",
        (f"{SENTRY_FASTAPI}:_wrap_async_handler",),
    ),
    Wrapper("Sentry", f"{SENTRY_STARLETTE}:patch_asgi_app", ("_sentry_patched_asgi_app",), "old_app"),
    Wrapper("Sentry", f"{SENTRY_STARLETTE}:_enable_span_for_middleware", ("_create_span_call",), "old_call"),
    Wrapper(
        "Sentry",
        f"{SENTRY_STARLETTE}:patch_exception_middleware",
        ("_sentry_exceptionmiddleware_call",),
        "old_call",
    ),
    Wrapper(
        "Logfire",
        f"{LOGFIRE}:patch_fastapi",
        ("patched_solve_dependencies",),
        "original_solve_dependencies",
        (f"{LOGFIRE}:FastAPIInstrumentation.solve_dependencies",),
    ),
    Wrapper(
        "Logfire",
        f"{LOGFIRE}:patch_fastapi",
        ("patched_run_endpoint_function",),
        "original_run_endpoint_function",
        (f"{LOGFIRE}:FastAPIInstrumentation.run_endpoint_function",),
    ),
)

# Middleware that instruments put into the built stack, by module and name.
MIDDLEWARE = {
    ("opentelemetry.instrumentation.asgi", "OpenTelemetryMiddleware"): "OpenTelemetry",
    ("prometheus_fastapi_instrumentator.middleware", "PrometheusInstrumentatorMiddleware"): "Prometheus",
}


def in_stack(middleware: Iterable[Any]) -> set[str]:
    """The instruments among the middleware of a stack."""
    kinds = map(type, middleware)
    return {name for kind in kinds if (name := MIDDLEWARE.get((kind.__module__, kind.__qualname__))) is not None}


def around_features(features: Iterable[str]) -> set[str]:
    """The instruments that stand around functions which these features mirror."""
    return {
        wrapper.instrument
        for feature in features
        for name in known.FEATURES[feature]
        for _, wrapper in unwrapped(_find(name))[1]
    }


def around(name: str) -> Around | None:
    """What stands around the function `name` of a library, to be put around another one; None if nothing does."""
    wrapped = unwrapped(_find(name))[1]
    return Around(wrapped) if wrapped else None


def unwrapped(function: Any) -> tuple[Any, Wrapped]:
    """What is left of a function when all that is known to stand around it is taken away, and what that is."""
    found = []
    while (wrapper := _wrapper_of(function)) is not None:
        found.append((function, wrapper))
        function = cells(function)[wrapper.original].cell_contents
    return function, found


def rewrapped(wrapped: Wrapped, original: Any) -> Any:
    """The same wrappers around another function."""
    for function, wrapper in reversed(wrapped):
        held = {**cells(function), wrapper.original: CellType(original)}
        closure = tuple(held[name] for name in function.__code__.co_freevars)
        made = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, closure)
        made.__kwdefaults__ = function.__kwdefaults__
        original = made
    return original


def cells(function: FunctionType) -> dict[str, CellType]:
    """The cells of a function's closure by name."""
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def nested(code: CodeType, name: str) -> CodeType | None:
    """The code of the function `name` that a function with `code` defines."""
    return next((one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name), None)


def _wrapper_of(function: Any) -> Wrapper | None:
    """What is known of `function` as a wrapper; None if it is none that is."""
    if not isinstance(function, FunctionType):
        return None
    for wrapper in WRAPPERS:
        module_name, _, name = wrapper.maker.partition(":")
        # An instrument that nobody has imported has wrapped nothing.
        module = sys.modules.get(module_name)
        if function.__code__.co_name != wrapper.path[-1] or module is None:
            continue
        maker: Any = vars(module).get(name)
        code: CodeType | None = getattr(inspect.unwrap(maker), "__code__", None)
        for inner in wrapper.path:
            code = None if code is None else nested(code, inner)
        if code is function.__code__ and all(known.dialect(name) for name in (wrapper.maker, *wrapper.relies)):
            return wrapper
    return None


def _find(name: str) -> Any:
    try:
        return known.find(name)
    except LookupError:
        return None


known.see_through(lambda found: unwrapped(found)[0])
