"""Fields of FastAPI as values, parameters and body parameters of a plan."""

from __future__ import annotations

import enum
from typing import Any

from fastapi import params
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies import utils
from pydantic_core import SchemaValidator

from overdrive.compiler.spec import BodyParameter, NotCompiled, Parameter, Value

# Copying one gives the same object again, so that all requests may share it.
IMMUTABLE = (type(None), bool, int, float, complex, str, bytes, type, type(...))


def value(field: ModelField) -> Value:
    """How `field` turns what a request holds into an argument."""
    if type(field) is not ModelField:
        raise NotCompiled(f"a field of type {type(field).__name__}")
    info = field.field_info
    required = info.is_required()
    shared = None
    if not required and info.default_factory is None and _is_immutable(info.default):
        shared = (info.default,)
    return Value(
        field=field,
        validate=validator(field),
        required=required,
        shared_default=shared,
        validate_default=bool(info.validate_default),
    )


def validator(field: ModelField) -> Any:
    """The field's `validate_python`, unless a plug-in or a deferred schema stands in its place."""
    found = field._type_adapter.validator
    return found.validate_python if type(found) is SchemaValidator else None


def parameter(field: ModelField, source: str, argument: int) -> Parameter:
    """A parameter outside the body."""
    if not isinstance(field.field_info, params.Param):
        raise NotCompiled("a parameter that is no Param")
    is_model = utils._get_param_model(field) is not None
    keys = () if is_model else tuple(key for _, key in utils._get_param_aliases(field))
    is_sequence = field_annotation_is_sequence(field.field_info.annotation)
    return Parameter(
        argument=argument,
        source=source,
        keys=keys,
        sequence=is_sequence and not utils._is_json_field(field) and source in ("query", "header"),
        empty_is_absent=is_sequence,
        model=is_model,
        value=value(field),
    )


def body_parameter(field: ModelField, argument: int) -> BodyParameter:
    """A parameter of a JSON body."""
    keys = tuple(alias for alias, _ in utils._get_param_aliases(field))
    return BodyParameter(argument=argument, keys=keys, value=value(field))


def _is_immutable(default: Any) -> bool:
    return type(default) in IMMUTABLE or isinstance(default, enum.Enum)
