"""`--reload`: a new server process whenever a file of the application changes."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

from overdrive.config import Config
from overdrive.errors import STALLED, ConfigError
from overdrive.extras import require
from overdrive.workers import Worker

DEFAULT_INCLUDES = ("*.py",)
DEFAULT_EXCLUDES = (".*", ".py[cod]", ".sw.*", "~*")
# Milliseconds between two looks of watchfiles at what the kernel has told it, and at whether to stop.
STEP = 50

logger = logging.getLogger("overdrive.error")


class Reloader:
    """Runs one server process and replaces it when files change.

    A process that ends by itself (an error in the user's file, say) is left alone: the next change starts another.
    """

    def __init__(self, config: Config, sockets: Sequence[socket.socket]) -> None:
        self.config = config
        self._sockets = sockets
        self._counts = FileFilter(config)
        self._watch = require("watchfiles", "watchfiles", "--reload").watch
        self._stop = _Stop()
        self._worker: Worker | None = None

    def run(self) -> int:
        """Runs until told to end; gives the exit code."""
        logger.info("Will watch for changes in these directories: %s", [str(path) for path in self._counts.folders])
        logger.info("Started reloader process [%d] using WatchFiles", os.getpid())
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        if hasattr(signal, "SIGUSR1"):
            before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._report_wanted)
        code = 0
        try:
            self._supervise()
        finally:
            if self._end() == STALLED and self.config.watch == "strict":
                code = STALLED
            for number, handler in before.items():
                signal.signal(number, handler)
        logger.info("Stopping reloader process [%d]", os.getpid())
        return code

    def _supervise(self) -> None:
        changed: set[str] = set()
        quiet_since = 0.0
        for changes in self._watch(
            *self._counts.folders,
            watch_filter=lambda _, path: self._counts(Path(path)),
            stop_event=self._stop,
            step=STEP,
            rust_timeout=STEP,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            now = time.monotonic()
            if self._worker is None:
                # Only now: what is saved while the process starts is seen by a watch that is there already.
                self._worker = Worker(self.config, self._sockets)
            if changes:
                changed.update(path for _, path in changes)
                quiet_since = now
            if changed and now - quiet_since >= self.config.reload_delay:
                names = ", ".join(f"'{_shown(path)}'" for path in sorted(changed))
                logger.warning("WatchFiles detected changes in %s. Reloading...", names)
                changed.clear()
                self._end()
                self._worker = Worker(self.config, self._sockets)

    def _end(self) -> int | None:
        """Ends the process, if there is one; gives its exit code."""
        if self._worker is None:
            return None
        self._worker.terminate()
        self._worker.join()
        code = self._worker.exit_code
        self._worker.close()
        self._worker = None
        return code

    def _report_wanted(self, number: int, frame: FrameType | None) -> None:
        if self._worker is not None:
            self._worker.report()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        # The second time there is no patience with a server that still waits for its connections.
        if self._stop.is_set() and self._worker is not None:
            self._worker.kill()
        self._stop.set()


class _Stop:
    """As much of an event as watchfiles asks for; a `threading.Event` could deadlock in a signal handler."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True


class FileFilter:
    """Which files count, by `reload_dirs`, `reload_includes` and `reload_excludes`.

    The last two are glob patterns or folders. A file counts when it matches an include and no exclude, and does not lie
    in an excluded folder; the defaults stay in force beside the user's patterns, unless one of his names them.
    `folders` are what is to be watched.
    """

    def __init__(self, config: Config) -> None:
        include_folders, includes = _split(config.reload_includes or ())
        self._excluded_folders, excludes = _split(config.reload_excludes or ())
        self._includes = [*includes, *(pattern for pattern in DEFAULT_INCLUDES if pattern not in excludes)]
        self._excludes = [*excludes, *(pattern for pattern in DEFAULT_EXCLUDES if pattern not in includes)]
        named = [Path(folder) for folder in config.reload_dirs or ()]
        for folder in named:
            if not folder.is_dir():
                raise ConfigError(f"--reload-dir {folder}: there is no such folder.")
        watched = [folder.resolve() for folder in (*named, *include_folders)] or [Path.cwd()]
        watched = [folder for folder in watched if folder not in self._excluded_folders]
        # A folder within another is watched with that.
        self.folders = [
            folder for folder in dict.fromkeys(watched) if not any(other in folder.parents for other in watched)
        ]

    def __call__(self, path: Path) -> bool:
        # Who names a file itself, ".env" for one, means it in spite of all patterns.
        if any(path.match(pattern) and str(path).endswith(pattern) for pattern in self._includes):
            return True
        if any(folder in path.parents for folder in self._excluded_folders):
            return False
        return any(path.match(pattern) for pattern in self._includes) and not any(
            path.match(pattern) for pattern in self._excludes
        )


def _split(entries: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Folders, those that a pattern matches among them, and patterns."""
    folders: list[Path] = []
    patterns: list[str] = []
    for entry in entries:
        if Path(entry).is_dir():
            folders.append(Path(entry).resolve())
            continue
        patterns.append(entry)
        if not Path(entry).is_absolute() and entry not in DEFAULT_EXCLUDES:
            try:
                folders += [path.resolve() for path in Path.cwd().glob(entry) if path.is_dir()]
            except ValueError as error:
                raise ConfigError(f"--reload-include or --reload-exclude {entry}: {error}.") from None
    return folders, patterns


def _shown(path: str) -> str:
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
