"""A run that another process computes for a while, as the worker has it meanwhile."""

import time
from pathlib import Path

from convlstm.server.desk import Desk

# What a viewer is told of the run itself, wherever it computes.
_OWN = ("state", "reason", "place", "resumed", "study", "pins")


class Loan:
    """One loan of a run.

    Args:
        folder: of the desk on which the run lies; it names the loan.
        sample: which sequence the run's viewers look at.

    Attributes:
        folder: it.
        desk: it, to write to.
        heard_at: when there was the last news, on the monotonic clock.
    """

    def __init__(self, folder: str, sample: int) -> None:
        self.folder, self.desk = folder, Desk(Path(folder))
        self.heard_at = time.monotonic()
        self._snapshot: dict[str, object] | None = None
        self._sample = sample

    def hear(self, snapshot: dict[str, object]) -> None:
        """Take in what the run's viewers are to be told."""
        self._snapshot, self.heard_at = snapshot, time.monotonic()

    def show(self, sample: int) -> None:
        """Pass on which sequence they look at."""
        if sample != self._sample:
            self._sample = sample
            self.desk.show(sample)

    def told(self, own: dict[str, object], *, keeps_picture: bool) -> dict[str, object]:
        """Return what the run's viewers are told.

        Args:
            own: what they would be told of the run as it is here.
            keeps_picture: whether its picture is newer than that of the news.
        """
        if self._snapshot is None:
            return own
        names = (*_OWN, "picture") if keeps_picture else _OWN
        return self._snapshot | {name: own[name] for name in names}
