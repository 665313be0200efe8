"""`overdrive routes`: which routes of an application are compiled, and why the others are not."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from overdrive.config import Config
from overdrive.errors import StartupError
from overdrive.lifespan import Lifespan
from overdrive.plans import why_not
from overdrive.server import fail

if TYPE_CHECKING:
    from overdrive.compiler import Compilation
    from overdrive.compiler.spec import Entry


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("app")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the time that compiling took.")
@click.option("--with-lifespan", is_flag=True, help="Run the application's start-up first: it may add routes.")
@click.option("--app-dir", type=click.Path(exists=True, file_okay=False), default=".", help="Where APP is looked for.")
@click.option("--factory", is_flag=True, help="APP makes the application when it is called without arguments.")
def routes(app: str, as_json: bool, with_lifespan: bool, app_dir: str, factory: bool) -> None:
    """List the routes of the FastAPI application APP, each with "compiled" or the reason why it is not.

    A route that is not compiled is served by FastAPI's own code. See docs/compiled.md.
    """
    try:
        compilation = _compile(Config(app, app_dir=app_dir, factory=factory, log_level="warning"), with_lifespan)
    except StartupError as error:
        sys.exit(fail(error))
    click.echo(as_document(compilation) if as_json else as_table(compilation))


def as_table(compilation: Compilation) -> str:
    """For people: a line a route, and a total."""
    rows = [
        (", ".join(sorted(entry.methods)) or "any", path or "/", _state(owner, entry))
        for path, owner, entry in compilation.routes()
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines = [f"{methods:<{widths[0]}}  {path:<{widths[1]}}  {state}" for methods, path, state in rows]
    return "\n".join([*lines, compilation.summary()])


def as_document(compilation: Compilation) -> str:
    """For programs: JSON with the same, and the seconds that compiling took, FastAPI's own part apart."""
    return json.dumps(
        {
            "routes": [
                {
                    "path": path,
                    "methods": sorted(entry.methods),
                    "name": entry.name,
                    "is_operation": entry.is_operation,
                    "compiled": owner.is_compiled(entry),
                    "reason": None if owner.is_compiled(entry) else _state(owner, entry),
                }
                for path, owner, entry in compilation.routes()
            ],
            "operations": compilation.operations,
            "compiled": compilation.compiled,
            "seconds": {"overdrive": compilation.own_seconds, "fastapi": compilation.fastapi_seconds},
        },
        indent=2,
    )


def _state(compilation: Compilation, entry: Entry) -> str:
    if compilation.is_compiled(entry):
        return "compiled"
    return compilation.reason or entry.reason or "not compiled"


def _compile(config: Config, with_lifespan: bool) -> Compilation:
    config.load()
    app = config.loaded_app
    if "fastapi" not in sys.modules:
        raise StartupError("The application is not one of FastAPI's: there are no routes to compile.")
    try:
        from overdrive import compiler
    except ImportError as error:
        raise StartupError(f"{why_not(error)}: nothing is compiled.") from error

    if not compiler.is_application(app):
        raise StartupError(
            "The application is not one of FastAPI's, or has a way of its own to handle requests: nothing is compiled."
        )

    def compile_it() -> Compilation:
        try:
            compilation = compiler.compile_application(app, _nothing)
            for _, _, entry in compilation.routes():
                if entry.mount is not None:
                    # Its routes are looked at next.
                    entry.mount.mounted.compile()
            return compilation
        except Exception as error:
            raise StartupError(f"{why_not(error)}: nothing is compiled.") from error

    async def compile_within_lifespan() -> Compilation:
        lifespan = Lifespan(app, "auto")
        await lifespan.startup()
        if lifespan.startup_failed:
            raise StartupError("The application's start-up has failed.")
        try:
            return compile_it()
        finally:
            await lifespan.shutdown()

    return asyncio.run(compile_within_lifespan()) if with_lifespan else compile_it()


def _nothing(*_: Any) -> None:
    pass
