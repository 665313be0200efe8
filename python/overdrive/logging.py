"""Log lines as uvicorn users know them, through the standard `logging`.

Three loggers: `overdrive` (the parent, with the handler), `overdrive.error` (the server's own lines, whatever their level)
and `overdrive.access`. The records of the last have uvicorn's arguments, `(client, method, path, http_version, status)`, so
that filters and formatters written for uvicorn work.
"""

from __future__ import annotations

import http
import logging
import sys
from copy import copy
from typing import Any, Literal

TRACE = 5

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
        client, method, path, version, status = record.args  # type: ignore[misc]
        line = f"{method} {path} HTTP/{version}"
        record.__dict__.update(
            client_addr=client,
            request_line=f"\x1b[1m{line}{_RESET}" if self.use_colors else line,
            status_code=self._status(int(status)),  # type: ignore[call-overload]
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

    The engine asks this a few times a second, and formats and writes the lines itself while it is not None. It is not when
    the logger or its handler has a filter, another handler or formatter, when the stream is not the process's own, or when
    records are made or passed on in another way than `logging` does by default.
    """
    if len(logger.handlers) != 1 or logger.filters or logger.disabled or logger.propagate:
        return None
    handler = logger.handlers[0]
    if type(handler) is not logging.StreamHandler or handler.filters or handler.level > logging.INFO:
        return None
    formatter = handler.formatter
    if type(formatter) is not AccessFormatter or formatter._fmt != LOGGING_CONFIG["formatters"]["access"]["fmt"]:
        return None
    if not logger.isEnabledFor(logging.INFO) or logging.getLogRecordFactory() is not logging.LogRecord:
        return None
    if type(logger) is not logging.Logger or handler.stream not in (sys.__stdout__, sys.__stderr__):
        return None
    try:
        # Ours come by another way; what was printed before them should stand before them.
        handler.stream.flush()
        return handler.stream.fileno(), formatter.use_colors
    except (OSError, ValueError, AttributeError):
        return None


def configure(config: dict[str, Any] | str | None, level: str | int | None, use_colors: bool | None, access: bool) -> None:
    """Sets logging up as the options say. `config` is a dict for `dictConfig`, or a file: .json, .yaml, else .ini."""
    import logging.config

    logging.addLevelName(TRACE, "TRACE")
    if isinstance(config, dict):
        config = {**config, "formatters": {name: dict(value) for name, value in config.get("formatters", {}).items()}}
        if use_colors in (True, False):
            for name in ("default", "access"):
                if name in config["formatters"]:
                    config["formatters"][name]["use_colors"] = use_colors
        logging.config.dictConfig(config)
    elif isinstance(config, str):
        _configure_from_file(config)
    if level is not None:
        number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
        for name in ("overdrive.error", "overdrive.access", "overdrive.asgi"):
            logging.getLogger(name).setLevel(number)
    if not access:
        logging.getLogger("overdrive.access").handlers = []
        logging.getLogger("overdrive.access").propagate = False


def _configure_from_file(path: str) -> None:
    import json
    import logging.config

    from overdrive.errors import ConfigError

    try:
        if path.endswith(".json"):
            with open(path) as file:
                logging.config.dictConfig(json.load(file))
        elif path.endswith((".yaml", ".yml")):
            try:
                import yaml
            except ImportError:
                raise ConfigError(f"--log-config {path}: pyyaml is not installed: pip install 'overdrive[standard]'.") from None
            with open(path) as file:
                logging.config.dictConfig(yaml.safe_load(file))
        else:
            logging.config.fileConfig(path, disable_existing_loggers=False)
    except FileNotFoundError:
        raise ConfigError(f"--log-config {path}: there is no such file.") from None
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, ImportError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"--log-config {path}: not a logging configuration: {error}") from None
