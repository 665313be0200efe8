"""What a route's ASGI application really uses: the values in the closure of FastAPI's request handler.

Attributes of a route can be set after it was made without any effect, and integrations wrap what they find; the code
objects and their closures tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from fastapi import params
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies import models
from pydantic_core import SchemaSerializer
from starlette.responses import JSONResponse

from overdrive.compiler import fields, instruments, known, sentry
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
    """The values of one request handler, by the names that FastAPI gives them, and what stands around it.

    max_body_size: the body limit around it.
    around: makes a handler of another, with the instruments that stand around this one; None: there are none.
    """

    values: dict[str, Any]
    max_body_size: int | None
    around: instruments.Around | None

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
    handler, wrapped = instruments.unwrapped(inner.get("f"))
    values = closure(handler, REQUEST_HANDLER, "a request handler of its own (get_route_handler)")
    around = instruments.Around(wrapped, sentry.before_handler(wrapped)) if wrapped else None
    # Values that the handler does not use are not in its closure.
    return Handler(values, max_body_size, around)


def closure(function: Any, code: CodeType | None, reason: str) -> dict[str, Any]:
    """The values that a function with `code` has taken from around it.

    Raises:
        NotCompiled: it is another function; `reason` says so.
    """
    if not isinstance(function, FunctionType) or function.__code__ is not code:
        raise NotCompiled(reason)
    return {name: cell.cell_contents for name, cell in instruments.cells(function).items()}


def inner_code(name: str, inner: str) -> CodeType | None:
    """The code of the function `inner` that FastAPI's `name` defines; None if something else is in its place."""
    code = getattr(known.pristine(f"fastapi.routing:{name}"), "__code__", None)
    return None if code is None else instruments.nested(code, inner)


ENDPOINT_APP = inner_code("request_response", "app")
REQUEST_HANDLER = inner_code("get_request_handler", "app")
