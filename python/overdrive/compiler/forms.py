"""Forms: how their fields are looked for, and what our parser of them needs to know."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import get_args

from fastapi import params
from fastapi._compat import (
    ModelField,
    field_annotation_is_sequence,
    get_cached_model_fields,
    is_bytes_or_nonable_bytes_annotation,
    is_bytes_sequence_annotation,
)
from fastapi.dependencies import utils
from starlette.requests import Request

from overdrive.compiler import fields, known
from overdrive.compiler.spec import FormField, FormParameter


def parameters(body_params: Sequence[ModelField], places: Sequence[int]) -> list[FormParameter] | None:
    """How a node's parameters are read from a form, at their places among its arguments; None: by FastAPI's code."""
    found = [_parameter(field, place) for field, place in zip(body_params, places, strict=True)]
    return None if None in found else [parameter for parameter in found if parameter is not None]


def are_known(off: Mapping[str, str]) -> bool:
    """Whether FastAPI looks for fields as our own code does: older releases have other ways."""
    return "forms" not in off and all(known.behaves(name) == known.NEWEST for name in known.FEATURES["forms"])


def limits(router: Mapping[str, int], route: Mapping[str, int] | None) -> tuple[int, int, int] | None:
    """How many files, fields and bytes of a field a form may have; None: not limits as we know them."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(Request.form).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    given = {**defaults, **router, **(route or {})}
    if given.keys() != {"max_files", "max_fields", "max_part_size"}:
        return None
    found = given["max_files"], given["max_fields"], given["max_part_size"]
    return found if all(type(limit) is int and 0 <= limit < 1 << 63 for limit in found) else None


def _parameter(field: ModelField, place: int) -> FormParameter | None:
    models = utils._get_form_models(field)
    if not models:
        if not utils._should_embed_body_fields([field]):
            return None
        single = _field(field)
        return None if single is None else FormParameter(place, [single], None, fields.value(field))
    if len(models) > 1:
        return None
    members = [_field(member) for member in get_cached_model_fields(models[0])]
    keys = [key for member in members if member is not None for key in member.keys]
    if None in members or len(set(keys)) != len(keys):
        return None
    return FormParameter(
        argument=place,
        fields=[member for member in members if member is not None],
        model=(
            type(None) in get_args(field.field_info.annotation),
            models[0].model_config.get("extra") in ("allow", "forbid"),
        ),
        value=fields.value(field),
    )


def _field(field: ModelField) -> FormField | None:
    annotation = field.field_info.annotation
    is_sequence = field_annotation_is_sequence(annotation)
    if is_sequence and utils._is_json_field(field):
        return None
    is_file = isinstance(field.field_info, params.File)
    one = is_bytes_or_nonable_bytes_annotation(annotation)
    if is_file and one and is_sequence:
        return None
    return FormField(
        keys=tuple(alias for alias, _ in utils._get_param_aliases(field)),
        sequence=is_sequence,
        contents=is_file and (is_bytes_sequence_annotation(annotation) if is_sequence else one),
        field=field,
    )
