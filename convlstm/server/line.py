"""A line between the page's process and a worker: whole values, one after the other.

Both ends are this program's own, and nobody else writes to the pipes; so values are pickled.
"""

import contextlib
import pickle
import threading
from typing import BinaryIO, Protocol


class Line(Protocol):
    """One end of it, whatever it is made of."""

    def send(self, *value: object) -> None:
        """Send a value; from any thread.

        Raises:
            OSError: the other end is gone.
        """

    def receive(self) -> tuple:
        """Wait for a value; from one thread.

        Raises:
            EOFError: the other end is gone.
        """

    def close(self) -> None:
        """Send nothing more, which the other end hears; what it still says is received."""


class PipeLine:
    """One end of a line over pipes.

    Args:
        reading: where the other end's values come from.
        writing: where this end's values go.
    """

    def __init__(self, reading: BinaryIO, writing: BinaryIO) -> None:
        self._reading, self._writing = reading, writing
        self._sending = threading.Lock()

    def send(self, *value: object) -> None:
        """Send a value; from any thread.

        Raises:
            OSError: the other end is gone.
        """
        content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        with self._sending:
            self._writing.write(content)
            self._writing.flush()

    def receive(self) -> tuple:
        """Wait for a value; from one thread.

        Raises:
            EOFError: the other end is gone.
        """
        try:
            return pickle.load(self._reading)
        except (OSError, ValueError, pickle.UnpicklingError) as error:  # cut in mid-value
            raise EOFError from error

    def close(self) -> None:
        """Send nothing more, which the other end hears; what it still says is received."""
        with contextlib.suppress(OSError):
            self._writing.close()
