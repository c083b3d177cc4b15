"""A training that was thrown away, kept with its run until the next takes its place."""

from dataclasses import dataclass

MOST_MIB = 64.0  # of what is kept; what is larger is gone at once


@dataclass(frozen=True)
class Thrown:
    """What a run was before a reset.

    Attributes:
        content: of its checkpoint file.
        state: what it was doing.
        reason: why, where the server had stopped or failed it.
        resumed: steps at which it had gone on after a worker had died.
    """

    content: bytes
    state: str
    reason: str
    resumed: tuple[int, ...]

    @property
    def mib(self) -> float:
        """The memory that it takes, MiB."""
        return len(self.content) / 2**20
