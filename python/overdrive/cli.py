"""The command line: `overdrive main:app`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from overdrive import interface, loops
from overdrive._overdrive import __version__
from overdrive.config import COMPILE_MODES, ELSEWHERE, LIFESPANS, WATCH_MODES
from overdrive.errors import STALLED
from overdrive.inspection import DEFAULT_ADDRESS, is_address
from overdrive.logging import LEVELS
from overdrive.main import run

Command = Callable[..., Any]

EPILOG = """
\b
Examples:
  overdrive main:app                           the application "app" in main.py, on http://127.0.0.1:8000
  overdrive main:app --reload                  start again whenever a file changes
  overdrive main:app --host 0.0.0.0 --port 80 --workers 4
  overdrive main:create_app --factory          "create_app()" makes the application
  overdrive main:app --uds /run/app.sock       behind a proxy, on a Unix socket
  overdrive routes main:app                    which routes are compiled, and why others are not

Every option can also be set in the environment: --log-level as OVERDRIVE_LOG_LEVEL, and so on.
"""


if TYPE_CHECKING:
    # Generic since click 8.2 only.
    HeaderType = click.ParamType[tuple[str, str]]
else:
    HeaderType = click.ParamType


class Header(HeaderType):
    """A response header as `Name:value`."""

    name = "NAME:VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, colon, content = value.partition(":")
        if not colon or not name.strip():
            self.fail(f"{value!r} is not a header; write it as Name:Value.", param, ctx)
        return name.strip(), content.strip()

    def split_envvar_value(self, rv: str) -> list[str]:
        """Several headers stand on lines of their own."""
        return [line for line in rv.splitlines() if line.strip()]


class Commands(click.Command):
    """Serves, unless the first argument names another command. The help groups the options by what they are about."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Runs the command that the arguments name."""
        arguments = list(sys.argv[1:] if args is None else args)
        if arguments[:1] == ["routes"]:
            from overdrive.listing import routes

            return routes.main(arguments[1:], prog_name=f"{prog_name or 'overdrive'} routes", **extra)
        return super().main(args, prog_name, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes what follows `--inspect` for its value only if it is an address: in "--inspect main:app" it is not."""
        arguments = list(args)
        for place, argument in enumerate(arguments):
            if argument == "--inspect" and not is_address("".join(arguments[place + 1 : place + 2])):
                arguments[place] = f"--inspect={DEFAULT_ADDRESS}"
        return super().parse_args(ctx, arguments)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(EPILOG)


class Option(click.Option):
    """An option of a group, with an environment variable of the same name."""

    def __init__(self, *args: Any, group: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group
        if not self.is_eager and self.name is not None:
            # Of the flag, and of the name in Python where that is another ("--reload-dir" and "reload_dirs").
            names = (self.opts[0].removeprefix("--").replace("-", "_"), self.name)
            self.envvar = [f"OVERDRIVE_{name.upper()}" for name in dict.fromkeys(names)]


def option(group: str, *names: str, **attributes: Any) -> Callable[[Command], Command]:
    """`click.option` with its group; the default is shown unless there is none."""
    attributes.setdefault("show_default", attributes.get("default") not in (None, ()))
    return click.option(*names, cls=Option, group=group, **attributes)


def elsewhere(command: Command) -> Command:
    """Has uvicorn's other options answered with what to do instead."""

    def refuse(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is not None and param.name is not None:
            raise click.UsageError(f"There is no option {param.opts[0]} here: {ELSEWHERE[param.name]}.")

    for name in ELSEWHERE:
        flag = "--" + name.replace("_", "-")
        attributes: dict[str, Any] = {"is_flag": True, "default": None} if name == "http2" else {}
        click.option(flag, name, hidden=True, expose_value=False, callback=refuse, **attributes)(command)
    return command


def print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """--version"""
    if value:
        python = f"{platform.python_implementation()} {platform.python_version()}"
        click.echo(f"Running overdrive {__version__} with {python} on {platform.system()}")
        ctx.exit()


WHERE, APP, PROCESSES, RELOAD, HTTP, LIMITS, WEBSOCKET, WATCH, LOG = (
    "Where to listen",
    "The application",
    "Processes",
    "Reloading",
    "HTTP",
    "Limits and timeouts",
    "WebSocket",
    "The watch on the event loop",
    "Logging",
)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("app", envvar="OVERDRIVE_APP")
@option(
    WHERE,
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 for all of IPv4, :: of IPv6.",
)
@option(WHERE, "--port", type=int, metavar="PORT", default=8000, help="Port to listen on; 0 takes a free one.")
@option(WHERE, "--uds", type=click.Path(), help="Unix socket to listen on, instead of host and port.")
@option(WHERE, "--fd", type=int, metavar="N", help="Descriptor of a bound socket to listen on (systemd, circus).")
@option(
    WHERE,
    "--backlog",
    type=int,
    metavar="N",
    default=2048,
    help="Connections that may wait in the kernel to be accepted.",
)
@option(
    APP,
    "--app-dir",
    type=click.Path(exists=True, file_okay=False),
    default=".",
    help="Folder in which APP is looked for.",
)
@option(APP, "--factory", is_flag=True, help="APP makes the application when it is called without arguments.")
@option(
    APP,
    "--interface",
    type=click.Choice(interface.INTERFACES),
    default="auto",
    help="What APP is; auto tells asgi3 from asgi2. wsgi needs the package a2wsgi.",
)
@option(
    APP,
    "--compile",
    type=click.Choice(COMPILE_MODES),
    default="auto",
    help="Whether the routes of a FastAPI application are compiled; with strict, one that cannot be is a failure.",
)
@option(
    APP,
    "--lifespan",
    type=click.Choice(LIFESPANS),
    default="auto",
    help="Whether APP is told of start and stop; with on, an APP that cannot be told does not start.",
)
@option(
    APP,
    "--root-path",
    metavar="PATH",
    default="",
    show_default=False,
    help="Prefix under which a proxy publishes APP.",
)
@option(APP, "--env-file", type=click.Path(exists=True, dir_okay=False), help="File of environment variables for APP.")
@option(APP, "--reset-contextvars", is_flag=True, help="Run each request in an empty context, without lifespan's.")
@option(
    PROCESSES,
    "--workers",
    type=int,
    metavar="N",
    help="Number of worker processes. Default: $WEB_CONCURRENCY, or 1. SIGHUP replaces them one by one.",
)
@option(
    PROCESSES,
    "--loop",
    default="auto",
    metavar=f"[{'|'.join(loops.LOOPS)}]",
    help="Event loop; auto takes uvloop when it is installed. Or a factory of your own as module:attribute.",
)
@option(
    PROCESSES,
    "--timeout-worker-healthcheck",
    type=float,
    metavar="SECONDS",
    default=5,
    help="Seconds a worker may leave a health check unanswered before it is replaced.",
)
@option(RELOAD, "--reload", is_flag=True, help="Start again when a file changes. Needs the package watchfiles.")
@option(
    RELOAD,
    "--reload-dir",
    "reload_dirs",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    help="Folder to watch, instead of the current one. May be repeated.",
)
@option(
    RELOAD,
    "--reload-include",
    "reload_includes",
    multiple=True,
    metavar="GLOB",
    help="Files that count, beside '*.py'.",
)
@option(
    RELOAD,
    "--reload-exclude",
    "reload_excludes",
    multiple=True,
    metavar="GLOB",
    help="Files that do not count, beside '.*', '.py[cod]', '.sw.*' and '~*'.",
)
@option(
    RELOAD,
    "--reload-delay",
    type=float,
    metavar="SECONDS",
    default=0.25,
    help="Quiet time after a change.",
)
@option(
    HTTP,
    "--proxy-headers/--no-proxy-headers",
    default=True,
    help="Believe X-Forwarded-For and X-Forwarded-Proto of trusted proxies.",
)
@option(
    HTTP,
    "--forwarded-allow-ips",
    metavar="LIST",
    help="Trusted proxies: addresses, networks or literals, with commas between; * for all. "
    "Default: $FORWARDED_ALLOW_IPS, or 127.0.0.1,::1.",
)
@option(HTTP, "--server-header/--no-server-header", default=True, help="Send a Server header.")
@option(HTTP, "--date-header/--no-date-header", default=True, help="Send a Date header.")
@option(HTTP, "--header", "headers", multiple=True, type=Header(), help="Header for every response. May be repeated.")
@option(
    LIMITS,
    "--limit-concurrency",
    type=int,
    metavar="N",
    help="Open connections or running requests beyond which the answer is 503.",
)
@option(
    LIMITS,
    "--limit-connections",
    type=int,
    metavar="N",
    help="Open connections beyond which further ones wait in the backlog.",
)
@option(LIMITS, "--limit-max-requests", type=int, metavar="N", help="Requests after which the process ends.")
@option(
    LIMITS,
    "--limit-max-requests-jitter",
    type=int,
    metavar="N",
    default=0,
    help="Up to so many more, by chance, so that workers do not end together.",
)
@option(
    LIMITS,
    "--timeout-keep-alive",
    type=float,
    metavar="SECONDS",
    default=5,
    help="Seconds an idle connection is kept for another request.",
)
@option(
    LIMITS,
    "--timeout-header-read",
    type=float,
    metavar="SECONDS",
    default=30,
    help="Seconds a client may take to send the head of a request.",
)
@option(
    LIMITS,
    "--timeout-graceful-shutdown",
    type=float,
    metavar="SECONDS",
    help="Seconds that running requests get to end when the server stops. Default: as long as they take.",
)
@option(
    LIMITS,
    "--max-header-size",
    type=int,
    metavar="BYTES",
    default=65536,
    help="Bytes of a request's head, beyond which the answer is 431.",
)
@option(
    LIMITS,
    "--max-headers",
    type=int,
    metavar="N",
    default=100,
    help="Header lines of a request, beyond which the answer is 431.",
)
@option(WEBSOCKET, "--ws-max-size", type=int, metavar="BYTES", default=16777216, help="Bytes of the largest message.")
@option(WEBSOCKET, "--ws-max-queue", type=int, metavar="N", default=32, help="Messages that may wait for APP.")
@option(
    WEBSOCKET,
    "--ws-ping-interval",
    type=float,
    metavar="SECONDS",
    default=20.0,
    help="Time between pings; 0 for none.",
)
@option(
    WEBSOCKET,
    "--ws-ping-timeout",
    type=float,
    metavar="SECONDS",
    default=20.0,
    help="Seconds a pong may take before the connection is closed; 0 for ever.",
)
@option(WEBSOCKET, "--ws-per-message-deflate", type=bool, default=True, help="Compress messages if the client can.")
@option(
    WATCH,
    "--watch",
    type=click.Choice(WATCH_MODES),
    default="on",
    help="Log who blocks the event loop, with endpoint, file and line. strict: that is an error, and the server "
    f"ends with code {STALLED}; and it is told where a coroutine was made that nobody awaited.",
)
@option(
    WATCH,
    "--watch-threshold",
    type=float,
    default=0.1,
    help="Seconds from which on a silence of the loop is a stall.",
)
@option(
    WATCH, "--report", is_flag=True, help="At the end, print a verdict on each endpoint. SIGUSR1 prints it any time."
)
@option(
    WATCH,
    "--inspect",
    is_flag=False,
    flag_value=DEFAULT_ADDRESS,
    metavar="[HOST:PORT]",
    help="Serve a live page of what the event loop does, with /metrics and /report, on "
    f"{DEFAULT_ADDRESS} or the address given. It stays alive while the loop is blocked. The log says where, with the "
    "token that it asks for.",
)
@option(
    WATCH,
    "--inspect-token",
    metavar="TEXT",
    help="That token, instead of a random one. Better set in the environment (OVERDRIVE_INSPECT_TOKEN), where no list "
    "of processes shows it.",
)
@option(
    LOG,
    "--log-level",
    type=click.Choice(tuple(LEVELS), case_sensitive=False),
    help="Least level logged. Default: info.",
)
@option(LOG, "--access-log/--no-access-log", default=True, help="Log each request.")
@option(
    LOG, "--use-colors/--no-use-colors", default=None, help="Colour the log lines. Default: when they go to a terminal."
)
@option(
    LOG,
    "--log-config",
    type=click.Path(exists=True, dir_okay=False),
    help="Configuration file for Python's logging: .ini, .json or .yaml.",
)
@option(
    "Other",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Show the version and exit.",
)
@elsewhere
def main(app: str, **options: Any) -> None:
    """Serve the FastAPI application APP, or any other ASGI application, given as "module:attribute"."""
    if options["log_config"] is None:
        # Absent means the default here, while in Python `None` means: leave logging alone.
        del options["log_config"]
    for name in ("reload_dirs", "reload_includes", "reload_excludes", "headers"):
        options[name] = list(options[name]) or None
    run(app, **options)


if __name__ == "__main__":
    main()
