"""Log lines as uvicorn users know them, through the standard `logging`.

Three loggers: `overdrive` (the parent, with the handler), `overdrive.error` (the server's own lines, whatever their
level) and `overdrive.access`. The records of the last have uvicorn's arguments, `(client, method, path, http_version,
status)`, so that filters and formatters written for uvicorn work.
"""

from __future__ import annotations

import configparser
import functools
import http
import io
import json
import logging
import logging.config
import os
import sys
from collections.abc import Mapping
from copy import copy
from typing import IO, Any, Literal, cast

from overdrive.errors import ConfigError
from overdrive.extras import require

TRACE = 5
LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}

LOGGING_CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {
            "()": "overdrive.logging.DefaultFormatter",
            "fmt": "%(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "access": {
            "()": "overdrive.logging.AccessFormatter",
            "fmt": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
            "use_colors": None,
        },
    },
    "handlers": {
        "default": {"class": "logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"},
        "access": {"class": "logging.StreamHandler", "formatter": "access", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "overdrive": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "overdrive.error": {"level": "INFO"},
        "overdrive.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}

_RESET = "\x1b[0m"
_COLORS = {
    TRACE: "\x1b[34m",
    logging.DEBUG: "\x1b[36m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[91m",
}
_STATUS_COLORS = {1: "\x1b[97m", 2: "\x1b[32m", 3: "\x1b[33m", 4: "\x1b[31m", 5: "\x1b[91m"}


class DefaultFormatter(logging.Formatter):
    """Adds `%(levelprefix)s`: the level and a colon, padded, coloured when `use_colors` says so.

    `use_colors=None` means: when the stream of the default handler is a terminal.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        use_colors: bool | None = None,
    ) -> None:
        self.use_colors = self.stream_is_terminal() if use_colors is None else use_colors
        super().__init__(fmt=fmt, datefmt=datefmt, style=style)

    def stream_is_terminal(self) -> bool:
        """Whether what the default handler writes to is a terminal."""
        return sys.stderr is not None and sys.stderr.isatty()

    def formatMessage(self, record: logging.LogRecord) -> str:
        record = copy(record)
        padding = " " * (8 - len(record.levelname))
        level = record.levelname
        if self.use_colors:
            level = f"{_COLORS.get(record.levelno, '')}{level}{_RESET}"
            if "color_message" in record.__dict__:
                record.msg = record.__dict__["color_message"]
                record.__dict__["message"] = record.getMessage()
        record.__dict__["levelprefix"] = f"{level}:{padding}"
        return super().formatMessage(record)


class AccessFormatter(DefaultFormatter):
    """Adds `%(client_addr)s`, `%(request_line)s` and `%(status_code)s` (with its phrase) of an access record."""

    def stream_is_terminal(self) -> bool:
        return sys.stdout is not None and sys.stdout.isatty()

    def formatMessage(self, record: logging.LogRecord) -> str:
        record = copy(record)
        client, method, path, version, status = cast("tuple[str, str, str, str, int]", record.args)
        line = f"{method} {path} HTTP/{version}"
        record.__dict__.update(
            client_addr=client,
            request_line=f"\x1b[1m{line}{_RESET}" if self.use_colors else line,
            status_code=self._status(status),
        )
        return super().formatMessage(record)

    def _status(self, code: int) -> str:
        try:
            phrase = http.HTTPStatus(code).phrase
        except ValueError:
            phrase = ""
        text = f"{code} {phrase}"
        return f"{_STATUS_COLORS.get(code // 100, '')}{text}{_RESET}" if self.use_colors else text


def fast_access_stream(logger: logging.Logger) -> tuple[int, bool] | None:
    """Where access lines go when nothing but the default can happen to them: (descriptor, colours), else None.

    The engine asks this a few times a second, and formats and writes the lines itself while it is not None. It is None
    when the logger or its handler has a filter, another handler or formatter, when the stream is not the process's own,
    and when records are made, handled or passed on in another way than `logging` does by itself.
    """
    if type(logger) is not logging.Logger or len(logger.handlers) != 1 or logger.filters or logger.propagate:
        return None
    handler = logger.handlers[0]
    if type(handler) is not logging.StreamHandler or handler.filters or handler.level > logging.INFO:
        return None
    formatter = handler.formatter
    if type(formatter) is not AccessFormatter or formatter._fmt != LOGGING_CONFIG["formatters"]["access"]["fmt"]:
        return None
    if handler.stream is None or handler.stream not in (sys.__stdout__, sys.__stderr__):
        return None
    if not logger.isEnabledFor(logging.INFO) or not _logging_is_untouched(logger, handler):
        return None
    try:
        # Ours come by another way; what was printed before them should stand before them.
        handler.stream.flush()
        return handler.stream.fileno(), formatter.use_colors
    except (OSError, ValueError):
        return None


def _logging_is_untouched(*instances: object) -> bool:
    """Whether nobody has put functions of his own in the way of a record, as error trackers do."""
    if logging.getLogRecordFactory() is not logging.LogRecord:
        return False
    if any(name in vars(instance) for instance in instances for name in _METHODS):
        return False
    classes = (logging.Logger, logging.Handler, logging.StreamHandler, logging.Formatter, logging.LogRecord)
    return all(
        getattr(vars(owner)[name], "__globals__", None) is vars(logging)
        for owner in classes
        for name in _METHODS
        if name in vars(owner)
    )


# The methods on a record's way from `Logger.info` to the stream.
_METHODS = ("info", "_log", "makeRecord", "handle", "callHandlers", "emit", "format", "getMessage")


def configure(
    config: Mapping[str, Any] | str | os.PathLike[str] | configparser.RawConfigParser | IO[Any] | None,
    level: str | int | None,
    use_colors: bool | None,
    access_log: bool,
) -> None:
    """Sets `logging` up as the options say.

    `config` is for `logging.config`: a dict, a file (.json or .yaml with a dict, else .ini), or None to change nothing.

    Raises:
        ConfigError: `config` is no logging configuration; the text says where it goes wrong.
    """
    logging.addLevelName(TRACE, "TRACE")
    # In this order: a RawConfigParser is a mapping, too.
    if isinstance(config, (configparser.RawConfigParser, io.IOBase)):
        source = cast("configparser.RawConfigParser | IO[str]", config)
        _apply("log_config", functools.partial(logging.config.fileConfig, source, disable_existing_loggers=False))
    elif isinstance(config, Mapping):
        _apply("log_config", functools.partial(logging.config.dictConfig, _with_colors(config, use_colors)))
    elif isinstance(config, (str, os.PathLike)):
        _apply_file(os.fspath(config))
    elif config is not None:
        raise ConfigError(f"log_config: must be a dict or a file, not {type(config).__name__}.")
    if level is not None:
        number = LEVELS[level.lower()] if isinstance(level, str) else level
        for name in ("overdrive.error", "overdrive.access", "overdrive.asgi"):
            logging.getLogger(name).setLevel(number)
    if not access_log:
        access = logging.getLogger("overdrive.access")
        access.handlers = []
        access.propagate = False


def _with_colors(config: Mapping[str, Any], use_colors: bool | None) -> dict[str, Any]:
    """A copy that says so in the formatters that have the default's names."""
    formatters = {name: dict(formatter) for name, formatter in config.get("formatters", {}).items()}
    if use_colors is not None:
        for name in ("default", "access"):
            if name in formatters:
                formatters[name]["use_colors"] = use_colors
    return {**config, "formatters": formatters}


def _apply_file(path: str) -> None:
    option = f"--log-config {path}"
    if not os.path.isfile(path):
        raise ConfigError(f"{option}: there is no such file.")
    if path.endswith(".json"):

        def apply() -> None:
            with open(path, encoding="utf-8") as file:
                logging.config.dictConfig(json.load(file))

    elif path.endswith((".yaml", ".yml")):
        yaml = require("yaml", "pyyaml", option)

        def apply() -> None:
            with open(path, encoding="utf-8") as file:
                try:
                    content = yaml.safe_load(file)
                except yaml.YAMLError as error:
                    raise ValueError(str(error)) from None
            logging.config.dictConfig(content)

    else:
        apply = functools.partial(logging.config.fileConfig, path, disable_existing_loggers=False)
    _apply(option, apply)


def _apply(option: str, apply: Any) -> None:
    try:
        apply()
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, ImportError, OSError) as error:
        # `logging.config` says where it was, and keeps what went wrong there as the cause.
        reasons = [f"missing {error}" if isinstance(error, KeyError) else str(error)]
        if error.__cause__ is not None:
            reasons.append(str(error.__cause__))
        said = " ".join(": ".join(reasons).split())
        raise ConfigError(f"{option}: not a configuration for logging: {said}.") from None
