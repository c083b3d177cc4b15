"""Long work cut into pieces: generators that one may leave, and come back to."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from typing import TypeVar

Piece = TypeVar("Piece")
Other = TypeVar("Other")
Result = TypeVar("Result")

# In this thread and no other; what computes asks it in mid-piece.
_is_wanted: ContextVar[Callable[[], bool] | None] = ContextVar("_is_wanted", default=None)


class Cancelled(Exception):  # noqa: N818
    """Nobody wants the piece of work that was under way."""


@contextlib.contextmanager
def cancellable(is_wanted: Callable[[], bool]) -> Iterator[None]:
    """Let a piece of work be left in its middle; where one may be left anyway, also for this.

    Args:
        is_wanted: asked now and then; once it says no, the work ends with `Cancelled`.
    """
    outer = _is_wanted.get()
    token = _is_wanted.set(is_wanted if outer is None else lambda: outer() and is_wanted())
    try:
        yield
    finally:
        _is_wanted.reset(token)


def leave_if_unwanted() -> None:
    """Mark a place where work may be left.

    Raises:
        Cancelled: it may, and nobody wants it any more.
    """
    is_wanted = _is_wanted.get()
    if is_wanted is not None and not is_wanted():
        raise Cancelled


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


def mapped(
    change: Callable[[Piece], Other], pieces: Generator[Piece, None, Result]
) -> Generator[Other, None, Result]:
    """Yield what a function makes of everything that a generator yields; return its result."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return end.value
        yield change(piece)


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
