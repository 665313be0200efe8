"""The event loop a server runs on."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable

from overdrive.errors import ConfigError
from overdrive.extras import require
from overdrive.importer import import_from_string

LOOPS = ("auto", "asyncio", "uvloop")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory(name: str) -> LoopFactory:
    """What makes the loop `name`: one of `LOOPS`, or `module:factory` of a loop of the user's.

    "auto" takes uvloop when it is installed.

    Raises:
        ConfigError: uvloop is asked for and not installed, or there is no such loop.
    """
    if name == "auto":
        name = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"
    if name == "asyncio":
        return asyncio.new_event_loop
    if name == "uvloop":
        factory: LoopFactory = require("uvloop", "uvloop", "--loop uvloop").new_event_loop
        return factory
    if ":" not in name:
        raise ConfigError(f"--loop {name}: must be one of {', '.join(LOOPS)}, or a factory as module:attribute.")
    found: LoopFactory = import_from_string(name)
    if not callable(found):
        raise ConfigError(f"--loop {name}: must name a callable that makes an event loop.")
    return found
