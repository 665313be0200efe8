"""An application that does with `logging` what `CLI_LOGGING` says, as users' modules do when they are imported."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from cli_probe import app as probe

access = logging.getLogger("overdrive.access")


def hides_health_checks(record: logging.LogRecord) -> bool:
    """uvicorn's users write such filters on the record's arguments."""
    return isinstance(record.args, tuple) and record.args[2] != "/health"


class Shouting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).upper()


match os.environ.get("CLI_LOGGING", ""):
    case "logger filter":
        access.addFilter(hides_health_checks)
    case "handler filter":
        access.handlers[0].addFilter(hides_health_checks)
    case "second handler":
        second = logging.StreamHandler(sys.stdout)
        second.setFormatter(logging.Formatter("second: %(name)s %(levelname)s %(args)r"))
        access.addHandler(second)
    case "formatter":
        access.handlers[0].setFormatter(Shouting("%(message)s"))
    case "record factory":
        factory = logging.getLogRecordFactory()
        logging.setLogRecordFactory(lambda *args, **kwargs: factory(*args, **kwargs))
    case "replaced handle":
        handle = access.handle
        access.handle = lambda record: handle(record)  # type: ignore[method-assign]
    case "propagation":
        logging.getLogger("overdrive").handlers[0].setFormatter(logging.Formatter("parent: %(message)s"))
        access.propagate = True
    case "level":
        access.setLevel(logging.WARNING)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/filter":
        # From here on, in a server that runs already.
        access.addFilter(hides_health_checks)
    if scope["type"] == "http" and scope["path"] == "/raise":
        raise LookupError("no such order")
    await probe(scope, receive, send)
