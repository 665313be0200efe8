"""`overdrive.run`: one call from an import string, or an application, to a running server."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any

from overdrive.config import Config, reject_unknown
from overdrive.errors import IMPORT_FAILURE, StartupError
from overdrive.reload import Reloader
from overdrive.server import Server, fail
from overdrive.supervisor import Supervisor

logger = logging.getLogger("overdrive.error")


def run(app: Any, **options: Any) -> None:
    """Serves `app` until the process is told to stop. `options` are those of `Config`, which are uvicorn's.

    With `reload=True` or `workers=2` and more, `app` must be an import string, as other processes have to import it.
    A failure to start is told in one line on stderr, and ends the process (`SystemExit`).

    Raises:
        TypeError: a name that is no option; for options of uvicorn that mean nothing here, with what to do instead.
    """
    reject_unknown(options)
    try:
        code = _run(Config(app, **options))
    except StartupError as error:
        code = fail(error)
    except KeyboardInterrupt:
        code = 0
    if code:
        sys.exit(code)


def _run(config: Config) -> int:
    if (config.reload or (config.workers or 1) > 1) and not isinstance(config.app, str):
        raise StartupError(
            "Reloading and several workers need the application as an import string, as other processes import it: "
            'run("main:app", …).',
            exit_code=IMPORT_FAILURE,
        )
    try:
        if not config.should_reload and (config.workers or 1) == 1:
            Server(config).run()
            return 0
        sockets = config.bind_sockets()
        config.listen(sockets)
        # The workers take the sockets over; what happens before they are ready waits in the backlog.
        logger.info(
            "Overdrive running on %s (Press CTRL+C to quit)",
            config.address,
            extra={"color_message": "Overdrive running on \x1b[1m%s\x1b[0m (Press CTRL+C to quit)"},
        )
        parent = Reloader(config, sockets) if config.should_reload else Supervisor(config, sockets)
        return parent.run()
    finally:
        if config.uds is not None:
            with contextlib.suppress(OSError):
                os.remove(config.uds)
