"""Packages that only some options need."""

from __future__ import annotations

import importlib
from typing import Any

from overdrive.errors import ConfigError

INSTALL = "pip install 'overdrive[standard]'"


def require(module: str, package: str, option: str) -> Any:
    """Imports `module` of `package`, which `option` cannot do without.

    Raises:
        ConfigError: it is not installed; the text says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ConfigError(f"{option} needs the package {package}, which is not installed: {INSTALL}") from None
