"""Computing time that is given in slices and taken in pieces, which do not end where slices do."""

import time
from collections.abc import Callable


class Credit:
    """What may still be computed of the time that was given."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def spend(self, seconds: float, work: Callable[[float], None]) -> None:
        """Work for so many seconds; what the last piece takes longer is missing later."""
        self._seconds = min(seconds, self._seconds + seconds)
        if self._seconds > 0:
            started = time.perf_counter()
            try:
                work(self._seconds)
            finally:
                self._seconds -= time.perf_counter() - started
