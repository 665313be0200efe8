"""Fields of FastAPI as values, parameters and body parameters of a plan."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import params
from fastapi._compat import ModelField, field_annotation_is_sequence, lenient_issubclass
from fastapi.dependencies import utils
from pydantic import BaseModel
from pydantic_core import SchemaValidator

from overdrive.compiler import known
from overdrive.compiler.spec import BodyParameter, NotCompiled, Parameter, Value

UTILS = "fastapi.dependencies.utils"

# Copying one gives the same object again, so that all requests may share it.
IMMUTABLE = (type(None), bool, int, float, complex, str, bytes, type, type(...))
# Copies of these run no code of the user's but that of what they hold.
CONTAINERS = (list, dict, set, tuple)


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A parameter model in a release that reads it together with others of its source.

    names: the keywords of `request_params_to_args` that tell it apart.
    """

    field: ModelField
    names: dict[str, set[str]]

    @property
    def name(self) -> str:
        """Of its argument."""
        return self.field.name

    def read(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        """The model by the name of its argument, and errors; `given`: all of its source."""
        return utils.request_params_to_args([self.field], given, **self.names)


def value(field: ModelField) -> Value:
    """How `field` turns what a request holds into an argument."""
    if type(field) is not ModelField:
        raise NotCompiled(f"a field of type {type(field).__name__}")
    info = field.field_info
    required = info.is_required()
    shared = None
    if not required and info.default_factory is None and _is_immutable(info.default):
        shared = (info.default,)
    validate_default = bool(info.validate_default)
    if known.behaves(f"{UTILS}:_get_multidict_value") == "default-at-once" and not required:
        # The default is copied, twice, and taken for what the request holds.
        if info.default_factory is not None or (shared is None and type(info.default) not in CONTAINERS):
            raise NotCompiled("a default that this release of FastAPI makes twice")
        validate_default = info.default is not None
    return Value(
        field=field,
        validate=validator(field),
        required=required,
        shared_default=shared,
        validate_default=validate_default,
    )


def validator(field: ModelField) -> Any:
    """The field's `validate_python`, unless a plug-in or a deferred schema stands in its place."""
    found = field._type_adapter.validator
    return found.validate_python if type(found) is SchemaValidator else None


def parameter(field: ModelField, source: str, argument: int, *, alone: bool, names: set[str] | None) -> Parameter:
    """A parameter outside the body.

    alone: its node has no other of that source.
    names: of all parameters of the route from that source; None where they do not matter.
    """
    if not isinstance(field.field_info, params.Param):
        raise NotCompiled("a parameter that is no Param")
    is_model = _is_model(field, alone=alone)
    keys = () if is_model else _keys(field, f"{UTILS}:_get_param_aliases")
    is_sequence = field_annotation_is_sequence(field.field_info.annotation)
    return Parameter(
        argument=argument,
        source=source,
        keys=keys,
        sequence=is_sequence and not utils._is_json_field(field) and source in ("query", "header"),
        empty_is_absent=is_sequence,
        model=is_model,
        value=_of_model(field, names) if is_model else value(field),
    )


def body_parameter(field: ModelField, argument: int) -> BodyParameter:
    """A parameter of a JSON body."""
    keys = _keys(field, f"{UTILS}:request_body_to_args")
    return BodyParameter(argument=argument, keys=keys, value=value(field))


def _keys(field: ModelField, reader: str) -> tuple[str, ...]:
    """The names under which a field is looked for; `reader`: the function that does."""
    if known.behaves(reader) == "one-name":
        return (utils.get_validation_alias(field),)
    return tuple(key for _, key in utils._get_param_aliases(field))


def _is_model(field: ModelField, *, alone: bool) -> bool:
    annotation = field.field_info.annotation
    if known.behaves(f"{UTILS}:request_params_to_args") == "sole-model":
        return alone and lenient_issubclass(annotation, BaseModel)
    if known.behaves(f"{UTILS}:_get_param_model") == "plain-models":
        return lenient_issubclass(annotation, BaseModel) and not utils._is_json_field(field)
    return utils._get_param_model(field) is not None


def _of_model(field: ModelField, names: set[str] | None) -> Value:
    """A parameter model: functions of FastAPI's read it."""
    given: Any = field
    match known.behaves(f"{UTILS}:request_params_to_args"):
        case "sole-model":
            given = NamedModel(field, {})
        case "model-names":
            given = NamedModel(field, {} if names is None else {"known_param_names": names})
    return Value(
        field=given, validate=None, required=field.field_info.is_required(), shared_default=None, validate_default=False
    )


def _is_immutable(default: Any) -> bool:
    return type(default) in IMMUTABLE or isinstance(default, enum.Enum)
