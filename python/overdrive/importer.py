"""Finds the application that `module:attribute` names."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import TracebackType
from typing import Any

from overdrive.errors import StartupError


def import_from_string(target: Any) -> Any:
    """Imports `"package.module:attribute.nested"`; anything but a string is given back as it is.

    Raises:
        StartupError: the string has another form, there is no such module or attribute, or the module's own code raised
            (then with the traceback of that code alone).
    """
    if not isinstance(target, str):
        return target
    module_name, _, attributes = target.partition(":")
    if not module_name or not attributes:
        raise StartupError(f'Not an import string: "{target}". Name the module and the application: "main:app".')
    value: Any = _import_module(module_name)
    for place, attribute in enumerate(attributes.split(".")):
        try:
            value = getattr(value, attribute)
        except AttributeError:
            owner = ":".join([module_name, *([".".join(attributes.split(".")[:place])] if place else [])])
            raise StartupError(
                f'No attribute "{attribute}" in "{owner}"{_similar(value, attribute)}. '
                f'Name the application after the colon: "{module_name}:app".'
            ) from None
    return value


def user_traceback(error: BaseException) -> str:
    """The traceback of `error` from the first frame of the user's code on: without ours and importlib's."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    # An error without a frame of the user's (a syntax error in the module itself) says all in its last lines.
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip("\n")


def _import_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise _failed(name, error) from None
        searched = os.path.abspath(sys.path[0] or os.getcwd())
        raise StartupError(
            f'No module "{name}" in {searched} or on the Python path. '
            "Run the command in the folder of the application, or name that with --app-dir."
        ) from None
    except Exception as error:
        raise _failed(name, error) from None


def _failed(name: str, error: Exception) -> StartupError:
    return StartupError(
        f'Importing "{name}" failed: {type(error).__name__}: {error}', traceback=user_traceback(error)
    )


def _is_ours(frames: TracebackType) -> bool:
    filename = frames.tb_frame.f_code.co_filename
    here = os.path.dirname(__file__)
    return filename.startswith(here) or "importlib" in filename


def _similar(owner: Any, wanted: str) -> str:
    """What the user may have meant: callables of the module that look like applications."""
    import difflib

    names = [name for name in dir(owner) if not name.startswith("_")]
    close = difflib.get_close_matches(wanted, names, n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""
