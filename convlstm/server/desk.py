"""A folder on which a run lies while another process computes it.

The worker that has lent it writes, whoever computes it reads. What that one finds out goes its own
way back.
"""

import contextlib
import pickle
from pathlib import Path

from convlstm.files.safe_files import CheckpointError, write_atomically
from convlstm.server.shelf import Note

_RUN, _SAMPLE, _END = "run", "sample", "end"


class Desk:
    """One loan's folder.

    Args:
        folder: of this loan alone; whoever borrows makes it and takes it away.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lay(self, note: Note, content: bytes) -> None:
        """Lay the run there.

        Raises:
            CheckpointError: the folder is gone, or nothing can be written there.
        """
        value = pickle.dumps((note, content), pickle.HIGHEST_PROTOCOL)
        write_atomically(self._folder / _RUN, value, durable=False)

    def take(self) -> tuple[Note, bytes] | None:
        """Return the run, or None as long as there is none.

        Pickled, since both ends are this program's own and nobody else writes there.
        """
        path = self._folder / _RUN
        return pickle.loads(path.read_bytes()) if path.exists() else None

    def show(self, sample: int) -> None:
        """Say which sequence its viewers look at now."""
        with contextlib.suppress(CheckpointError):
            write_atomically(self._folder / _SAMPLE, str(sample).encode(), durable=False)

    def shown(self) -> int | None:
        """Return that sequence, or None if it is still the note's."""
        path = self._folder / _SAMPLE
        return int(path.read_text()) if path.exists() else None

    def end(self) -> None:
        """Ask for the run back at once."""
        with contextlib.suppress(OSError):  # whoever has borrowed it is gone, and the folder too
            (self._folder / _END).touch()

    @property
    def is_over(self) -> bool:
        """Whether it is asked for, or nobody waits for it any more."""
        return (self._folder / _END).exists() or not self._folder.exists()
