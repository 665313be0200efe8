"""Finds the application that `module:attribute` names."""

from __future__ import annotations

import difflib
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
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise StartupError(f'"{target}" names no application. Write module and attribute, as in "main:app".')
    if os.sep in module_name or module_name.endswith(".py"):
        raise StartupError(f'"{target}" names a file. Write the module and its attribute, as in "main:app".')
    value: Any = _import_module(module_name)
    owner, separator = module_name, ":"
    for attribute in path.split("."):
        try:
            value = getattr(value, attribute)
        except AttributeError:
            raise StartupError(f'No attribute "{attribute}" in "{owner}".{_suggestion(value, attribute)}') from None
        owner, separator = owner + separator + attribute, "."
    return value


def user_traceback(error: BaseException) -> str:
    """The traceback of `error` from the first frame of the user's code on: without ours and importlib's.

    Empty when no code of the user's has run; a syntax error then still shows file and line.
    """
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    if frames is None and not isinstance(error, SyntaxError):
        return ""
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip("\n")


def summary(error: BaseException) -> str:
    """One line: the error's type and the first line of its message."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": ")


def _import_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only when the module itself, or a package around it, is missing; a missing import of its own is its error.
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise _failed(name, error) from None
        raise StartupError(
            f'No module "{error.name}" in {os.path.abspath(sys.path[0])} or on the Python path. '
            "Start in the folder of the application, or name that folder with --app-dir."
        ) from None
    except Exception as error:
        raise _failed(name, error) from None


def _failed(name: str, error: Exception) -> StartupError:
    return StartupError(
        f'"{name}" cannot be imported: {summary(error)}. The error is in the application.',
        traceback=user_traceback(error),
    )


def _is_ours(frames: TracebackType) -> bool:
    filename = frames.tb_frame.f_code.co_filename
    return filename.startswith((_OUR_FOLDER, _IMPORTLIB_FOLDER, "<frozen importlib"))


def _suggestion(owner: Any, wanted: str) -> str:
    """What the user may have meant."""
    names = [name for name in dir(owner) if not name.startswith("_")]
    close = difflib.get_close_matches(wanted, names, n=1)
    return f' Did you mean "{close[0]}"?' if close else ' Name the application after the colon, as in "main:app".'


_OUR_FOLDER = os.path.dirname(__file__) + os.sep
_IMPORTLIB_FOLDER = os.path.dirname(importlib.__file__) + os.sep
