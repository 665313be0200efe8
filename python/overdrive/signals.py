"""Signals for a loop that waits on descriptors: `signal.signal` alone would not wake it without a race."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import FrameType


class SignalQueue:
    """Signals in the order they came. Its `fileno` is readable while there are any."""

    def __init__(self) -> None:
        self._received: deque[signal.Signals] = deque()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """For `select` and its like."""
        return self._read

    def take(self) -> list[signal.Signals]:
        """Those that came since the last call."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass
        taken = []
        while self._received:
            taken.append(self._received.popleft())
        return taken

    @contextlib.contextmanager
    def collecting(self, numbers: Iterable[signal.Signals]) -> Iterator[None]:
        """Queues these signals meanwhile; in the main thread, as others are never given any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._add) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _add(self, number: int, frame: FrameType | None) -> None:
        self._received.append(signal.Signals(number))
        # A full pipe wakes as well.
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"\0")
