"""The watch: what the event loop does, and who blocks it."""

from __future__ import annotations

from overdrive._overdrive import Watch
from overdrive.watch.endpoints import describe
from overdrive.watch.report import table
from overdrive.watch.stalls import Stalls
from overdrive.watch.verdict import Verdict, verdicts


class LoopWatch:
    """Watches one event loop. `threshold` is in seconds: from there on a silence of the loop is a stall."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.stalls = Stalls()
        self.engine = Watch(threshold=threshold, describe=describe, on_stall=self.stalls.add)

    def verdicts(self) -> list[Verdict]:
        """The verdict on each endpoint so far."""
        return verdicts(self.engine.routes(), self.stalls.snapshot(), self.threshold)

    def report(self, *, colors: bool = False) -> str:
        """The verdicts as a table."""
        return table(self.verdicts(), colors=colors)
