"""The event loop a server runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from overdrive.errors import ConfigError
from overdrive.importer import import_from_string

LOOPS = ("auto", "asyncio", "uvloop")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory(name: str) -> LoopFactory:
    """What makes the loop `name`: one of `LOOPS`, or `module:factory` of a loop of the user's. "auto" takes uvloop when it
    is installed.

    Raises:
        ConfigError: uvloop is asked for and not installed, or there is no such loop.
    """
    if name == "asyncio":
        return asyncio.new_event_loop
    if name in ("auto", "uvloop"):
        try:
            import uvloop
        except ImportError:
            if name == "auto":
                return asyncio.new_event_loop
            raise ConfigError("--loop uvloop: uvloop is not installed: pip install 'overdrive[standard]'.") from None
        factory: LoopFactory = uvloop.new_event_loop
        return factory
    if ":" not in name:
        raise ConfigError(f"--loop {name}: one of {', '.join(LOOPS)}, or a factory as module:attribute.")
    found: LoopFactory = import_from_string(name)
    return found
