"""The watch: what the event loop does, and who blocks it."""

from __future__ import annotations

from overdrive._overdrive import Watch
from overdrive.watch.endpoints import describe
from overdrive.watch.stalls import Stalls


class LoopWatch:
    """Watches one event loop. `threshold` is in seconds: from there on a silence of the loop is a stall."""

    def __init__(self, threshold: float) -> None:
        self.stalls = Stalls()
        self.engine = Watch(threshold=threshold, describe=describe, on_stall=self.stalls.add)
