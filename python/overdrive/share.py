"""The counters by which workers share the connections of one socket evenly."""

from __future__ import annotations

import os
import tempfile
from multiprocessing import reduction
from typing import Any

# Places for workers, old and new ones of a rolling restart included.
SLOTS = 256
SLOT_SIZE = 8


class SharedCounters:
    """An unnamed file of `SLOTS` places, which the engines of all workers map; see `Engine.share`.

    It travels to a worker when that is spawned, with `slot` being the worker's place.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("overdrive-workers")
        else:
            with tempfile.TemporaryFile() as file:
                self._fd = os.dup(file.fileno())
        os.ftruncate(self._fd, SLOTS * SLOT_SIZE)
        self.slot = 0

    @property
    def place(self) -> tuple[int, int, int]:
        """The arguments of `Engine.share`."""
        return self._fd, self.slot, SLOTS

    def at(self, slot: int) -> SharedCounters:
        """The same file, for the worker of another slot."""
        other = object.__new__(SharedCounters)
        other._fd, other.slot = self._fd, slot
        return other

    def clear(self, slot: int) -> None:
        """Forgets the worker that had `slot`: it is dead."""
        os.pwrite(self._fd, bytes(SLOT_SIZE), slot * SLOT_SIZE)

    def __getstate__(self) -> dict[str, Any]:
        return {"fd": reduction.DupFd(self._fd), "slot": self.slot}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._fd, self.slot = state["fd"].detach(), state["slot"]
