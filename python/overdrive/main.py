"""`overdrive.run`: one call from an import string, or an application, to a running server."""

from __future__ import annotations

import sys
from typing import Any

from overdrive.config import Config
from overdrive.errors import STARTUP_FAILURE, StartupError
from overdrive.reload import Reloader
from overdrive.server import Server, fail, log_address
from overdrive.supervisor import Supervisor


def run(app: Any, **options: Any) -> None:
    """Serves `app` until the process is told to stop. `options` are those of `Config`, which are uvicorn's.

    With `reload=True` or `workers=2` and more, `app` must be an import string, as other processes have to import it.
    A failure to start is told in one line on stderr, and ends the process (`SystemExit`).

    Raises:
        TypeError: a name that is no option; for options of uvicorn that mean nothing here, with what to do instead.
    """
    try:
        code = _run(Config(app, **options))
    except StartupError as error:
        code = fail(error)
    except KeyboardInterrupt:
        code = 0
    if code:
        sys.exit(code)


def _run(config: Config) -> int:
    several = (config.workers or 1) > 1
    if not (config.reload or several):
        Server(config).run()
        return 0
    if not isinstance(config.app, str):
        raise StartupError(
            "Reloading and several workers need the application as an import string, as other processes import it: "
            'run("main:app", ...).',
            exit_code=STARTUP_FAILURE,
        )
    listener = config.bind()
    try:
        # What connects before a worker is ready waits in the backlog.
        listener.listen(config.backlog)
        log_address(listener.address)
        supervisor = Reloader(config, listener.sockets) if config.reload else Supervisor(config, listener)
        return supervisor.run()
    finally:
        listener.close()
