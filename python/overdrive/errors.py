"""Errors whose text is all that a user needs to see."""

from __future__ import annotations

# Exit codes. 3 is uvicorn's, for whatever goes wrong between the import and the first request.
IMPORT_FAILURE = 1
USAGE_FAILURE = 2
STARTUP_FAILURE = 3
# With `watch="strict"` the loop was blocked.
STALLED = 4


class StartupError(Exception):
    """The server cannot start. `str(error)` is one line: what is wrong, where, and what to do.

    `traceback` is the user's own, already rendered, for failures inside the user's code. `exit_code` is what the
    process ends with.
    """

    def __init__(self, message: str, *, traceback: str = "", exit_code: int = IMPORT_FAILURE) -> None:
        super().__init__(message)
        self.traceback = traceback
        self.exit_code = exit_code


class ConfigError(StartupError, ValueError):
    """An option has a value that makes no sense; the message names the option."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=USAGE_FAILURE)


class EventLoopBlocked(AssertionError):
    """The event loop was blocked for longer than the threshold, while strictness was asked for.

    Its traceback ends at the line that blocked. seconds: for how long.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds
