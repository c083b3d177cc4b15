"""Long work cut into pieces: generators that one may leave, and come back to."""

import time
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def finish(
    pieces: Generator[Piece, None, Result], each: Callable[[Piece], object] = lambda piece: None
) -> Result:
    """Pull a generator to its end; return what it returns.

    Args:
        pieces: the work.
        each: called with everything that it yields.
    """
    while True:
        try:
            each(next(pieces))
        except StopIteration as end:
            return end.value


class Clock:
    """Counts a run's computing time, without what passes while others have their turn."""

    def __init__(self, seconds: float) -> None:
        self._started = time.perf_counter() - seconds

    def seconds(self) -> float:
        """Return the computing time so far, in s."""
        return time.perf_counter() - self._started

    def interruption(self) -> Iterator[None]:
        """Yield once; what passes meanwhile does not count."""
        seconds = self.seconds()
        yield None
        self._started = time.perf_counter() - seconds
