"""Every option of the server, in one place: the command line, the environment and Python code all fill a `Config`."""

from __future__ import annotations

import configparser
import dataclasses
import logging as _logging
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from overdrive import inspection, logging, loops
from overdrive import interface as _interface
from overdrive._overdrive import EngineSettings
from overdrive.errors import ConfigError, StartupError
from overdrive.extras import require
from overdrive.importer import import_from_string, summary, user_traceback
from overdrive.listener import Listener

COMPILE_MODES = ("auto", "off", "strict")
WATCH_MODES = ("on", "strict", "off")
LIFESPANS = ("auto", "on", "off")

# Seconds: the watch looks twice as often, and would itself be what keeps the processor.
SHORTEST_STALL = 0.001

_TLS = "TLS is not served; put a proxy in front that does"
# Options of uvicorn that mean nothing here, with what to do instead.
ELSEWHERE = {
    "http": "there is one HTTP implementation, in Rust; leave it out",
    "ws": "there is one WebSocket implementation, in Rust; leave it out",
    "http2": "HTTP/2 is not served; put a proxy in front that speaks it",
    "h11_max_incomplete_event_size": "use --max-header-size",
    "ssl_keyfile": _TLS,
    "ssl_certfile": _TLS,
    "ssl_keyfile_password": _TLS,
    "ssl_version": _TLS,
    "ssl_cert_reqs": _TLS,
    "ssl_ca_certs": _TLS,
    "ssl_ciphers": _TLS,
}
# Those that uvicorn has in Python alone.
ELSEWHERE_IN_PYTHON = {
    **ELSEWHERE,
    "ssl_context_factory": _TLS,
    "callback_notify": "start a task in the application's lifespan",
    "timeout_notify": "start a task in the application's lifespan",
}

# Least and greatest value of whole numbers.
_WHOLE_NUMBERS = {
    "port": (0, 65535),
    "fd": (0, None),
    "workers": (1, None),
    "backlog": (1, 2**31 - 1),
    "limit_concurrency": (1, None),
    "limit_connections": (1, None),
    "limit_max_requests": (1, None),
    "limit_max_requests_jitter": (0, None),
    "max_header_size": (256, None),
    "max_headers": (1, None),
    "ws_max_size": (1, None),
    "ws_max_queue": (1, None),
}
# Times in seconds, and whether 0 is one.
_TIMES = {
    "timeout_keep_alive": True,
    "timeout_header_read": False,
    "timeout_graceful_shutdown": True,
    "timeout_worker_healthcheck": False,
    "ws_ping_interval": True,
    "ws_ping_timeout": True,
    "reload_delay": True,
    "watch_threshold": False,
}

logger = _logging.getLogger("overdrive.error")


@dataclass
class Config:
    """What to serve and how. Names and defaults are uvicorn's; times are in seconds, sizes in bytes.

    `app` is `"module:attribute"` or the application itself (an import string is needed for `reload` and `workers`).

    Raises:
        ConfigError: an option's value makes no sense. It is a `ValueError`, and its text names the option.
        TypeError: there is no such option; for uvicorn's others, with what to do instead.
    """

    app: Any
    host: str | None = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    fd: int | None = None
    loop: str = "auto"
    lifespan: str = "auto"
    interface: str = "auto"
    compile: str = "auto"
    env_file: str | os.PathLike[str] | None = None
    log_config: Mapping[str, Any] | str | os.PathLike[str] | configparser.RawConfigParser | IO[Any] | None = field(
        default_factory=lambda: logging.LOGGING_CONFIG
    )
    log_level: str | int | None = None
    access_log: bool = True
    use_colors: bool | None = None
    reload: bool = False
    reload_dirs: Sequence[str] | str | None = None
    reload_delay: float = 0.25
    reload_includes: Sequence[str] | str | None = None
    reload_excludes: Sequence[str] | str | None = None
    workers: int | None = None
    proxy_headers: bool = True
    server_header: bool = True
    date_header: bool = True
    forwarded_allow_ips: Sequence[str] | str | None = None
    root_path: str = ""
    limit_concurrency: int | None = None
    limit_connections: int | None = None
    limit_max_requests: int | None = None
    limit_max_requests_jitter: int = 0
    backlog: int = 2048
    timeout_keep_alive: float = 5
    timeout_header_read: float = 30
    timeout_graceful_shutdown: float | None = None
    timeout_worker_healthcheck: float = 5
    max_header_size: int = 65536
    max_headers: int = 100
    headers: Sequence[tuple[str, str]] | None = None
    factory: bool = False
    app_dir: str | None = None
    reset_contextvars: bool = False
    ws_max_size: int = 16777216
    ws_max_queue: int = 32
    ws_ping_interval: float | None = 20.0
    ws_ping_timeout: float | None = 20.0
    ws_per_message_deflate: bool = True
    watch: str = "on"
    watch_threshold: float = 0.1
    report: bool = False
    inspect: str | bool | None = None
    inspect_token: str | None = field(default=None, repr=False)

    inspect_address: tuple[str, int] | None = field(default=None, init=False, repr=False)
    loaded: bool = field(default=False, init=False, repr=False)
    loaded_app: Any = field(default=None, init=False, repr=False)

    def __new__(cls, *args: Any, **options: Any) -> Config:
        """Tells of options that there are not, before the generated `__init__` would, less helpfully."""
        known = {entry.name for entry in dataclasses.fields(cls) if entry.init}
        for name in options:
            if name in ELSEWHERE_IN_PYTHON:
                raise TypeError(f"overdrive has no option {name!r}: {ELSEWHERE_IN_PYTHON[name]}")
            if name not in known:
                raise TypeError(f"overdrive has no option {name!r}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name in ("reload_dirs", "reload_includes", "reload_excludes"):
            value = getattr(self, name)
            setattr(self, name, [value] if isinstance(value, str) else list(value or ()))
        self._check()
        self.configure_logging()
        if self.env_file is not None:
            self._load_env_file(self.env_file)
        # Only now, as these variables may be in that file.
        if self.workers is None:
            self.workers = _workers_from_environment()
        if self.forwarded_allow_ips is None:
            self.forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
        if isinstance(self.forwarded_allow_ips, str):
            self.forwarded_allow_ips = [entry.strip() for entry in self.forwarded_allow_ips.split(",")]
        self.inspect_address = inspection.address(self.inspect)
        if self.inspect_address is not None:
            if self.watch == "off":
                raise ConfigError("--inspect shows what the watch sees: it needs --watch on or strict.")
            # Made here, so that it stays the same over every reload.
            self.inspect_token = inspection.token(self.inspect_token)
        # Made here, too, so that a wrong value is told before anything of the user's runs.
        self.engine_settings()
        if self.reload and self.workers > 1:
            logger.warning('"workers" is ignored when reloading is enabled.')
            self.workers = 1
        if not self.reload and (self.reload_dirs or self.reload_includes or self.reload_excludes):
            logger.warning("What is to be watched is given, but without --reload nothing is.")

    def configure_logging(self) -> None:
        """Sets `logging` up, in this process."""
        logging.configure(self.log_config, self.log_level, self.use_colors, self.access_log)

    def load(self) -> None:
        """Imports the application and finds out how it is called.

        Raises:
            StartupError: it cannot be imported, or is no application.
        """
        self._extend_path()
        app = self._callable(import_from_string(self.app))
        if self.factory:
            app = self._callable(self._call_factory(app))
        elif _interface.is_factory(app):
            logger.warning("ASGI app factory detected. Using it, but please consider setting the --factory flag.")
            app = self._callable(self._call_factory(app))
        self.loaded_app = _interface.adapt(app, self.interface)
        self.loaded = True

    def get_loop_factory(self) -> loops.LoopFactory:
        """What makes the event loop."""
        self._extend_path()
        return loops.loop_factory(self.loop)

    def engine_settings(self, limit_max_requests: int | None = None) -> EngineSettings:
        """What the engine needs of this.

        Raises:
            ConfigError: one of the values makes no sense to it.
        """
        try:
            headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers or ()]
            if self.server_header and not any(name == b"server" for name, _ in headers):
                headers.insert(0, (b"server", b"overdrive"))
            return EngineSettings(
                root_path=self.root_path,
                headers=headers,
                date_header=self.date_header,
                trusted_proxies=list(self.forwarded_allow_ips or ()) if self.proxy_headers else None,
                limit_concurrency=self.limit_concurrency,
                limit_connections=self.limit_connections,
                limit_max_requests=limit_max_requests,
                timeout_keep_alive=self.timeout_keep_alive,
                timeout_header_read=self.timeout_header_read,
                max_header_size=self.max_header_size,
                max_headers=self.max_headers,
                access_log=self.access_log,
                reset_contextvars=self.reset_contextvars,
                ws_max_size=self.ws_max_size,
                ws_max_queue=self.ws_max_queue,
                ws_ping_interval=self.ws_ping_interval,
                ws_ping_timeout=self.ws_ping_timeout,
                ws_per_message_deflate=self.ws_per_message_deflate,
            )
        except UnicodeEncodeError as error:
            raise ConfigError(f"--header: {error.object!r} has characters that a header cannot carry.") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise ConfigError(f"{error}.") from None

    @property
    def should_reload(self) -> bool:
        """Whether a supervisor is to restart the server when files change."""
        return isinstance(self.app, str) and self.reload

    def bind(self) -> Listener:
        """Sockets bound to `fd`, `uds`, or every address of `host` and `port`; not listening yet.

        With port 0 a free one is taken, and `port` is set to it.

        Raises:
            StartupError: the address is in use, not ours, or not allowed; the text says which and what to do.
        """
        if self.fd is not None:
            return Listener.of_descriptor(self.fd)
        if self.uds is not None:
            return Listener.of_path(self.uds)
        listener = Listener.of_host(self.host, self.port)
        self.port = listener.port or self.port
        return listener

    def _check(self) -> None:
        for name, choices in (
            ("lifespan", LIFESPANS),
            ("interface", _interface.INTERFACES),
            ("compile", COMPILE_MODES),
            ("watch", WATCH_MODES),
        ):
            if getattr(self, name) not in choices:
                raise self._wrong(name, f"one of {', '.join(choices)}")
        if not isinstance(self.loop, str) or (self.loop not in loops.LOOPS and ":" not in self.loop):
            raise self._wrong("loop", f"one of {', '.join(loops.LOOPS)}, or a factory as module:attribute")
        level = self.log_level
        if not (level is None or type(level) is int or (isinstance(level, str) and level.lower() in logging.LEVELS)):
            raise self._wrong("log_level", f"one of {', '.join(logging.LEVELS)}")
        if not isinstance(self.root_path, str):
            raise self._wrong("root_path", "text")
        for name, (least, greatest) in _WHOLE_NUMBERS.items():
            value = getattr(self, name)
            if value is None and Config.__dataclass_fields__[name].default is None:
                continue
            if type(value) is not int or value < least or (greatest is not None and value > greatest):
                limit = f"from {least} to {greatest}" if greatest is not None else f"of at least {least}"
                raise self._wrong(name, f"a whole number {limit}")
        for name, may_be_zero in _TIMES.items():
            value = getattr(self, name)
            if value is None and (name.startswith("ws_") or Config.__dataclass_fields__[name].default is None):
                continue
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number or value < 0 or (value == 0 and not may_be_zero):
                raise self._wrong(name, f"a number of seconds, {'0 or more' if may_be_zero else 'more than 0'}")
        if self.watch_threshold < SHORTEST_STALL:
            raise self._wrong("watch_threshold", f"{SHORTEST_STALL} seconds at the least")

    def _wrong(self, name: str, must: str) -> ConfigError:
        return ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be {must}.")

    def _extend_path(self) -> None:
        if self.app_dir is not None:
            app_dir = os.path.abspath(self.app_dir)
            if app_dir != os.path.abspath(sys.path[0]):
                sys.path.insert(0, app_dir)

    def _load_env_file(self, env_file: str | os.PathLike[str]) -> None:
        if not Path(env_file).is_file():
            raise ConfigError(f"--env-file {os.fspath(env_file)}: there is no such file.")
        dotenv = require("dotenv", "python-dotenv", "--env-file")
        logger.info("Loading environment from '%s'", env_file)
        dotenv.load_dotenv(dotenv_path=env_file)

    def _callable(self, app: Any) -> Callable[..., Any]:
        if not callable(app):
            named = f'"{self.app}"' if isinstance(self.app, str) else "The application"
            verb = "gives" if self.factory else "is"
            raise StartupError(
                f"{named} {verb} an object of type {type(app).__name__}, which cannot be called. "
                "An application is a FastAPI instance, or any other ASGI callable."
            )
        found: Callable[..., Any] = app
        return found

    def _call_factory(self, factory: Callable[[], Any]) -> Any:
        try:
            return factory()
        except Exception as error:
            raise StartupError(
                f'The factory "{self.app}" failed: {summary(error)}.',
                traceback=user_traceback(error),
            ) from None


def _workers_from_environment() -> int:
    value = os.environ.get("WEB_CONCURRENCY", "1")
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"WEB_CONCURRENCY={value}: must be a whole number of at least 1.")
    return int(value)
