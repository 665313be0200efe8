"""`--reload`: a new server process whenever a file of the application changes."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

from overdrive.config import Config
from overdrive.errors import ConfigError, StartupError
from overdrive.workers import Worker

DEFAULT_INCLUDES = ("*.py",)
DEFAULT_EXCLUDES = (".*", ".py[cod]", ".sw.*", "~*")

logger = logging.getLogger("overdrive.error")


class Reloader:
    """Runs one server process and replaces it when files change.

    A process that ends by itself (an error in the user's file, say) is left alone: the next change starts another.
    """

    def __init__(self, config: Config, sockets: Sequence[socket.socket]) -> None:
        self.config = config
        self._sockets = sockets
        self._filter = FileFilter(config)
        self._stop = threading.Event()
        self._worker: Worker | None = None

    def run(self) -> int:
        """Runs until told to end; gives the exit code."""
        try:
            from watchfiles import watch
        except ImportError:
            raise StartupError("--reload needs the watchfiles package: pip install 'overdrive[standard]'.") from None
        folders = self._filter.folders
        shown = ", ".join(f"'{folder}'" for folder in folders)
        logger.info("Will watch for changes in these directories: [%s]", shown)
        logger.info("Started reloader process [%d] using WatchFiles", os.getpid())
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._start()
            changes = watch(
                *folders,
                watch_filter=lambda _, path: self._filter(Path(path)),
                stop_event=self._stop,
                step=max(1, round(self.config.reload_delay * 1000)),
                raise_interrupt=False,
            )
            for changed in changes:
                names = ", ".join(f"'{_relative(path)}'" for path in sorted({path for _, path in changed}))
                logger.warning("WatchFiles detected changes in %s. Reloading...", names)
                self._end()
                self._start()
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)
        logger.info("Stopping reloader process [%d]", os.getpid())
        return 0

    def _start(self) -> None:
        self._worker = Worker(self.config, self._sockets, None)

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.terminate()
            self._worker.join()
            self._worker.close()
            self._worker = None

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()


class FileFilter:
    """Which files count, by `reload_dirs`, `reload_includes` and `reload_excludes`.

    The last two are glob patterns or folders. A file counts when it matches an include and no exclude, and does not lie in
    an excluded folder; the defaults stay in force beside the user's patterns, unless a pattern of his names them.
    """

    def __init__(self, config: Config) -> None:
        include_folders, includes = _split(config.reload_includes or ())
        self._excluded_folders, excludes = _split(config.reload_excludes or ())
        self._includes = [*includes, *(pattern for pattern in DEFAULT_INCLUDES if pattern not in excludes)]
        self._excludes = [*excludes, *(pattern for pattern in DEFAULT_EXCLUDES if pattern not in includes)]
        folders = [Path(folder) for folder in config.reload_dirs or ()] + include_folders
        for folder in folders:
            if not folder.is_dir():
                raise ConfigError(f"--reload-dir {folder}: there is no such folder.")
        resolved = [folder.resolve() for folder in folders] or [Path.cwd()]
        # A folder within another is watched with that.
        self.folders = [
            folder for folder in dict.fromkeys(resolved) if not any(other in folder.parents for other in resolved)
        ]

    def __call__(self, path: Path) -> bool:
        if any(folder == path or folder in path.parents for folder in self._excluded_folders):
            return False
        return any(path.match(pattern) for pattern in self._includes) and not any(
            path.match(pattern) for pattern in self._excludes
        )


def _split(entries: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Folders that exist, and patterns."""
    folders: list[Path] = []
    patterns: list[str] = []
    for entry in entries:
        path = Path(entry)
        if "*" not in entry and path.is_dir():
            folders.append(path.resolve())
        else:
            patterns.append(entry)
    return folders, patterns


def _relative(path: str) -> str:
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
