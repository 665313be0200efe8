"""What a route's ASGI application really uses: the values in the closure of FastAPI's request handler.

Attributes of a route can be set after it was made without any effect, and integrations wrap what they find; the code
objects and their closures tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from fastapi import params, routing
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies import models
from pydantic_core import SchemaSerializer
from starlette.responses import JSONResponse

from overdrive.compiler import fields
from overdrive.compiler.limits import limited_inside
from overdrive.compiler.spec import Answer, NotCompiled, Stream

# What `SchemaSerializer.to_json` does without being told.
SERIALIZER_DEFAULTS = {
    "include": None,
    "exclude": None,
    "exclude_unset": False,
    "exclude_defaults": False,
    "exclude_none": False,
}


@dataclass(frozen=True, slots=True)
class Handler:
    """The values of one request handler, by the names that FastAPI gives them, and the body limit around it."""

    values: dict[str, Any]
    max_body_size: int | None

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise NotCompiled(f"a request handler without {name}") from None

    def answer(self, *, native_json: bool) -> Answer:
        """How the endpoint's value becomes a response; `native_json`: our JSON can stand in for FastAPI's."""
        placeholder = isinstance(self.response_class, DefaultPlaceholder)
        class_ = self.response_class.value if placeholder else self.response_class
        stream = self._stream()
        field = self.response_field if stream is None else self.stream_item_field
        options = {
            "include": self.response_model_include,
            "exclude": self.response_model_exclude,
            "by_alias": self.response_model_by_alias,
            "exclude_unset": self.response_model_exclude_unset,
            "exclude_defaults": self.response_model_exclude_defaults,
            "exclude_none": self.response_model_exclude_none,
        }
        kind, serialize = "class", None
        if field is not None and (placeholder or stream is not None):
            kind, serialize = "model", field.serialize_json
            serializer = field._type_adapter.serializer
            if type(serializer) is SchemaSerializer:
                serialize = serializer.to_json
                options = {
                    name: given for name, given in options.items() if given != SERIALIZER_DEFAULTS.get(name, ...)
                }
        elif field is not None:
            serialize = field.serialize
        elif class_ is JSONResponse and native_json:
            kind = "json"
        return Answer(
            kind=kind,
            status=self.status_code,
            class_=class_,
            field=field,
            validate=None if field is None else fields.validator(field),
            serialize=serialize,
            options=options,
            in_thread=field is not None and not self.is_coroutine,
            stream=stream,
        )

    def _stream(self) -> Stream | None:
        call = self.dependant.call
        is_async = models._is_async_gen_callable(call)
        if not is_async and not models._is_gen_callable(call):
            if self.is_sse_stream or self.is_json_stream:
                raise NotCompiled("a streaming endpoint that is no generator")
            return None
        if self.is_sse_stream:
            return Stream("events", is_async)
        return Stream("lines" if self.is_json_stream else "raw", is_async)

    @property
    def reads(self) -> str:
        """What the body is read as: "json", "form" or "nothing"."""
        if self.body_field is None:
            return "nothing"
        return "form" if isinstance(self.body_field.field_info, params.Form) else "json"


def unwrap(app: Any) -> Handler:
    """The handler inside a route's application.

    Raises:
        NotCompiled: something else than FastAPI's own code stands around it or in its place.
    """
    max_body_size, app = limited_inside(app)
    inner = closure(app, ENDPOINT_APP, "the route's application is not FastAPI's own")
    values = closure(inner.get("f"), REQUEST_HANDLER, "a request handler of its own (get_route_handler)")
    # Values that the handler does not use are not in its closure.
    return Handler(values, max_body_size)


def closure(function: Any, code: CodeType, reason: str) -> dict[str, Any]:
    """The values that a function with `code` has taken from around it.

    Raises:
        NotCompiled: it is another function; `reason` says so.
    """
    if not isinstance(function, FunctionType) or function.__code__ is not code:
        raise NotCompiled(reason)
    return {
        name: cell.cell_contents
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    }


def inner_code(code: CodeType, name: str) -> CodeType:
    """The code of the function `name` that a function with `code` defines."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and constant.co_name == name:
            return constant
    raise AssertionError(f"{code.co_qualname} defines no {name}")


ENDPOINT_APP = inner_code(routing.request_response.__code__, "app")
REQUEST_HANDLER = inner_code(routing.get_request_handler.__code__, "app")
