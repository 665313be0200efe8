"""Every option of the server, in one place: the command line, the environment and Python code all fill a `Config`."""

from __future__ import annotations

import dataclasses
import logging as _logging
import os
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overdrive import interface as _interface
from overdrive import logging, loops
from overdrive._overdrive import EngineSettings
from overdrive.errors import ConfigError, StartupError
from overdrive.importer import import_from_string, user_traceback

LIFESPANS = ("auto", "on", "off")
LOG_LEVELS = ("critical", "error", "warning", "info", "debug", "trace")

# Options of uvicorn that mean nothing here, with what to do instead.
ELSEWHERE = {
    "http": "there is one HTTP implementation, in Rust; leave it out",
    "ws": "there is one WebSocket implementation, in Rust; leave it out",
    "http2": "HTTP/2 is not served; put a proxy in front that speaks it",
    "h11_max_incomplete_event_size": "use --max-header-size",
    **dict.fromkeys(
        (
            "ssl_keyfile",
            "ssl_certfile",
            "ssl_keyfile_password",
            "ssl_version",
            "ssl_cert_reqs",
            "ssl_ca_certs",
            "ssl_ciphers",
        ),
        "TLS is not served; put a proxy in front that does",
    ),
}

logger = _logging.getLogger("overdrive.error")


@dataclass
class Config:
    """What to serve and how. Names and defaults are uvicorn's; times are in seconds, sizes in bytes.

    `app` is `"module:attribute"` or the application itself (an import string is needed for `reload` and `workers`).

    Raises:
        ConfigError: an option's value makes no sense. It is a `ValueError`, and its text names the option.
    """

    app: Any
    host: str | None = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    fd: int | None = None
    loop: str = "auto"
    lifespan: str = "auto"
    interface: str = "auto"
    env_file: str | os.PathLike[str] | None = None
    log_config: dict[str, Any] | str | None = field(default_factory=lambda: logging.LOGGING_CONFIG)
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

    loaded: bool = field(default=False, init=False, repr=False)
    loaded_app: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._load_env_file()
        if self.workers is None:
            self.workers = _workers_from_environment()
        if self.forwarded_allow_ips is None:
            self.forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
        for name in ("forwarded_allow_ips", "reload_dirs", "reload_includes", "reload_excludes"):
            value = getattr(self, name)
            if isinstance(value, str):
                entries = value.split(",") if name == "forwarded_allow_ips" else [value]
                setattr(self, name, [entry.strip() for entry in entries])
        self._check()
        # Checked here, so that a wrong value is told before anything of the user's runs.
        self.engine_settings()
        logging.configure(self.log_config, self.log_level, self.use_colors, self.access_log)
        if self.reload and self.workers > 1:
            logger.warning('"workers" is ignored when reloading is enabled.')
            self.workers = 1

    def load(self) -> None:
        """Imports the application and finds out how it is called.

        Raises:
            StartupError: it cannot be imported, or is no application.
        """
        app_dir = os.path.abspath(self.app_dir or ".")
        if self.app_dir is not None and app_dir not in sys.path:
            sys.path.insert(0, app_dir)
        app = import_from_string(self.app)
        if not callable(app):
            raise StartupError(
                f'"{self.app}" is not callable, but {_article(type(app).__name__)}. '
                "An application is a FastAPI instance, or any ASGI callable."
            )
        if self.factory or (not isinstance(app, type) and _interface.is_factory(app)):
            if not self.factory:
                logger.warning("ASGI app factory detected. Using it, but please consider setting the --factory flag.")
            app = self._call_factory(app)
        self.loaded_app = _interface.adapt(app, self.interface)
        self.loaded = True

    def get_loop_factory(self) -> loops.LoopFactory:
        """What makes the event loop."""
        return loops.loop_factory(self.loop)

    def engine_settings(self, limit_max_requests: int | None = None) -> EngineSettings:
        """What the engine needs of this."""
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
        except (ValueError, TypeError, OverflowError) as error:
            raise ConfigError(str(error)) from None

    @property
    def should_reload(self) -> bool:
        """Whether a supervisor is to restart the server when files change."""
        return isinstance(self.app, str) and self.reload

    @property
    def address(self) -> str:
        """Where it is to be reached, as the log says it; `port` as configured."""
        if self.uds is not None:
            return f"unix socket {self.uds}"
        if self.fd is not None:
            return f"socket {self.fd}"
        host = self.host or "0.0.0.0"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def bind_sockets(self) -> list[socket.socket]:
        """Sockets bound to `fd`, `uds`, or every address of `host` and `port`; not listening yet.

        With port 0 a free one is taken, and `port` is set to it.

        Raises:
            StartupError: the address is in use, not ours, or not allowed; the text says which and what to do.
        """
        if self.fd is not None:
            return [self._adopt_descriptor(self.fd)]
        if self.uds is not None:
            return [self._bind_unix(self.uds)]
        return self._bind_tcp()

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Has bound sockets listen.

        Raises:
            StartupError: as `bind_sockets`; two servers may bind one port, but only one of them may listen.
        """
        for sock in sockets:
            try:
                sock.listen(self.backlog)
            except OSError as error:
                raise self._bind_error(error, sock.getsockname()) from None

    def _check(self) -> None:
        def wrong(name: str, must: str) -> ConfigError:
            return ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)!r}: must be {must}.")

        for name, allowed in (("lifespan", LIFESPANS), ("interface", _interface.INTERFACES)):
            if getattr(self, name) not in allowed:
                raise wrong(name, f"one of {', '.join(allowed)}")
        if self.loop not in loops.LOOPS and ":" not in self.loop:
            raise wrong("loop", f"one of {', '.join(loops.LOOPS)}, or a factory as module:attribute")
        if isinstance(self.log_level, str) and self.log_level.lower() not in LOG_LEVELS:
            raise wrong("log_level", f"one of {', '.join(LOG_LEVELS)}")
        if not 0 <= self.port <= 65535:
            raise wrong("port", "a number from 0 to 65535")
        for name in ("workers", "backlog", "limit_concurrency", "limit_connections", "limit_max_requests"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise wrong(name, "at least 1")
        for name in ("limit_max_requests_jitter", "timeout_graceful_shutdown", "timeout_worker_healthcheck", "reload_delay"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise wrong(name, "at least 0")

    def _load_env_file(self) -> None:
        if self.env_file is None:
            return
        if not Path(self.env_file).is_file():
            raise ConfigError(f"--env-file {self.env_file}: there is no such file.")
        try:
            from dotenv import load_dotenv
        except ImportError:
            raise ConfigError("--env-file needs python-dotenv: pip install 'overdrive[standard]'.") from None
        load_dotenv(dotenv_path=self.env_file)

    def _call_factory(self, factory: Callable[[], Any]) -> Any:
        try:
            return factory()
        except Exception as error:
            raise StartupError(
                f'The factory "{self.app}" failed: {type(error).__name__}: {error}', traceback=user_traceback(error)
            ) from None

    def _adopt_descriptor(self, fd: int) -> socket.socket:
        try:
            sock = socket.socket(fileno=os.dup(fd))
        except OSError as error:
            raise StartupError(f"--fd {fd}: not an open socket ({error.strerror}).") from None
        if sock.type != socket.SOCK_STREAM:
            raise StartupError(f"--fd {fd}: not a stream socket.")
        return sock

    def _bind_unix(self, path: str) -> socket.socket:
        # A socket that a server before us has left behind is replaced, anything else is not; its mode is kept.
        mode = 0o666
        try:
            found = os.stat(path).st_mode
            mode = stat.S_IMODE(found)
            if stat.S_ISSOCK(found):
                os.remove(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._bind_error(error, path) from None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            os.chmod(path, mode)
        except OSError as error:
            sock.close()
            raise self._bind_error(error, path) from None
        return sock

    def _bind_tcp(self) -> list[socket.socket]:
        try:
            found = socket.getaddrinfo(self.host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise StartupError(f"--host {self.host}: no such address ({error.strerror}).") from None
        sockets: list[socket.socket] = []
        port = self.port
        # A set that keeps the order: the resolver may name an address twice.
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError:
                # A kernel without this family, IPv6 most often; the others will do.
                continue
            sockets.append(sock)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address[0], port, *address[2:]))
            except OSError as error:
                for opened in sockets:
                    opened.close()
                raise self._bind_error(error, (address[0], port)) from None
            port = sock.getsockname()[1]
        if not sockets:
            raise StartupError(f"--host {self.host}: no address of it can be used on this machine.")
        self.port = port
        return sockets

    def _bind_error(self, error: OSError, address: Any) -> StartupError:
        import errno

        where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        option = "--uds" if isinstance(address, str) else "--port"
        what, remedy = {
            errno.EADDRINUSE: ("the address is in use", f"Stop what listens there, or choose another with {option}."),
            errno.EACCES: ("no permission", f"Choose another with {option}, or run with the rights to it."),
            errno.EPERM: ("no permission", f"Choose another with {option}, or run with the rights to it."),
            errno.EADDRNOTAVAIL: ("not an address of this machine", "Choose one that is with --host."),
            errno.ENOENT: ("there is no such folder", "Create it, or choose another path with --uds."),
        }.get(error.errno or 0, (error.strerror or str(error), "Choose another address."))
        return StartupError(f"Cannot listen on {where}: {what}. {remedy}")


def reject_unknown(options: dict[str, Any]) -> None:
    """Raises a `TypeError` that tells of every name that is no option, and what to do instead of those uvicorn has."""
    known = {entry.name for entry in dataclasses.fields(Config) if entry.init}
    for name in options:
        if name in ELSEWHERE:
            raise TypeError(f"overdrive has no option {name!r}: {ELSEWHERE[name]}")
        if name not in known:
            raise TypeError(f"overdrive has no option {name!r}")


def _workers_from_environment() -> int:
    value = os.environ.get("WEB_CONCURRENCY", "1")
    try:
        return int(value)
    except ValueError:
        raise ConfigError(f"WEB_CONCURRENCY={value}: must be a number.") from None


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
