"""FastAPI's own telemetry, as far as plans tell it what they do. Releases without it have nothing to be told."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

_api: ModuleType | None
try:
    from fastapi.telemetry import _api, _asgi
except ImportError:
    # Before FastAPI 0.142.
    _api = None


def is_on(app: Any) -> bool:
    """Whether FastAPI looks at an application's requests. The application has its stack."""
    native = getattr(app, "_native_telemetry", None)
    return native is not None and bool(native.enabled())


def is_left_to_others(stack: Any) -> bool:
    """Whether FastAPI leaves what it would record to OpenTelemetry's own middleware in a built stack."""
    return _api is not None and bool(_asgi._legacy_otel(stack))


def asks(app: Any) -> bool:
    """Whether there is a function of the user's that FastAPI asks first, for each request."""
    return app._native_telemetry.config["exclude"] is not None


def providers() -> list[tuple[dict[str, Any], str, Any]]:
    """The globals that hold OpenTelemetry's providers: setting one begins to observe applications."""
    if _api is None:
        return []
    import opentelemetry._logs._internal as logs
    import opentelemetry.metrics._internal as metrics
    import opentelemetry.trace as trace

    named: list[tuple[ModuleType, str]] = [
        (trace, "_TRACER_PROVIDER"),
        (metrics, "_METER_PROVIDER"),
        (logs, "_LOGGER_PROVIDER"),
    ]
    return [(vars(module), name, getattr(module, name)) for module, name in named]


def function(name: str) -> Callable[..., Any] | None:
    """A function of FastAPI's; None where there is none."""
    found: Callable[..., Any] | None = getattr(_api, name, None)
    return found


def context_variable() -> Any:
    """The variable that OpenTelemetry keeps its context in; None if it keeps it in another way."""
    if _api is None:
        return None
    from opentelemetry import context
    from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

    kept: Any = getattr(context, "_RUNTIME_CONTEXT", None)
    return kept._current_context if type(kept) is ContextVarsRuntimeContext else None


# The context of an operation that nobody traces.
NO_OPERATION: Any = getattr(_api, "_NO_OPERATION", None)
