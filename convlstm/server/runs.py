"""The runs of a worker: those in memory, and those put away on its shelf until somebody asks."""

import logging
import time
from collections.abc import Callable

import torch

from convlstm.checks import SettingError
from convlstm.files.safe_files import CheckpointError
from convlstm.server.keeping import Keeper
from convlstm.server.limits import Limits
from convlstm.server.opening import restored
from convlstm.server.pins import Pins, unpacked
from convlstm.server.run import ACTIVE, Run
from convlstm.server.shelf import Note, Shelf

_log = logging.getLogger(__name__)


class ServerFull(RuntimeError):
    """Every run that this server keeps is training or being watched."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"This server is full: all of its {limit} are in use. Try later.")


class Runs:
    """Owns runs: finds them by their ids, keeps them, and forgets them; on the compute thread.

    Args:
        limits: how many there may be, and how much memory they may hold.
        device: where they compute.
        shelf: where they are kept; without one, none is put away or found again.
        kept: told a run's id and the step from which it would go on.
    """

    def __init__(
        self,
        limits: Limits,
        device: torch.device,
        shelf: Shelf | None,
        kept: Callable[[str, int], None],
    ) -> None:
        self.limits = limits
        self._device, self._shelf, self._kept = device, shelf, kept
        self._keeper = Keeper(shelf) if shelf else None
        self._here: dict[str, Run] = {}
        self._away: dict[str, float] = {}  # when each was last watched

    def get(self, run_id: object) -> Run | None:
        """Return the run of that id if it is in memory; from any thread."""
        return self._here.get(run_id) if isinstance(run_id, str) else None

    def is_away(self, run_id: object) -> bool:
        """Whether a run is there, but not in memory; from any thread."""
        return isinstance(run_id, str) and run_id in self._away

    def all(self) -> list[Run]:
        """Return those in memory; from any thread."""
        return list(self._here.values())

    def steps(self) -> dict[str, int]:
        """Return the ids of all runs, and how far those in memory are; from any thread."""
        return dict.fromkeys(list(self._away), 0) | {run.id: run.steps_done for run in self.all()}

    def find(self, blamed: frozenset[str]) -> list[Run]:
        """Find the runs that were kept before, and take up those that trained.

        Args:
            blamed: those that have killed their worker.

        Returns:
            The runs that are to train again.
        """
        notes = self._shelf.notes() if self._shelf else []
        for note in notes:  # nobody could look while there was no server
            if note.state in ACTIVE:
                self._take_up(note)
            else:
                self._away[note.id] = time.monotonic()
        for run in [run for run in self.all() if run.id in blamed]:
            run.state, run.reason = "failed", "worker"
        return [run for run in self.all() if run.state in ACTIVE]

    def bring_back(self, run_id: str) -> Run | None:
        """Return a run that may have been put away; None if it is lost.

        Raises:
            ServerFull: there is no memory for it; it stays where it is.
        """
        if run_id not in self._away:
            return self.get(run_id)
        note = self._shelf.note(run_id)
        run = note and self._take_up(note)
        if run:
            try:
                self.make_room(run.kept_mib, run)
            except ServerFull:
                del self._here[run_id]
                raise
            run.watched_at = time.monotonic()
        del self._away[run_id]
        return run

    def register(self, run: Run) -> Run:
        """Take in a new run.

        Raises:
            ServerFull: there is no place, and none can be made.
        """
        if len(self._here) + len(self._away) >= self.limits.kept_runs:
            self._forget_one()
        self.make_room(run.kept_mib, run)
        self._here[run.id] = run
        return run

    def make_room(self, mib: float, besides: Run) -> None:
        """Put runs away that nobody looks at, until there is memory for one more.

        Args:
            mib: how much it needs; MiB.
            besides: the run that it is for; what it held before will be free.

        Raises:
            ServerFull: all others are in use.
        """
        others = [run for run in self.all() if run is not besides]
        needed = mib + sum(run.kept_mib for run in others)
        if needed <= self.limits.kept_memory_mib:
            return
        for run in sorted(_unused(others), key=lambda run: run.watched_at):
            if needed > self.limits.kept_memory_mib and self._put_away(run):
                needed -= run.kept_mib
        # One run alone is refused by what its own limit says.
        if mib and others and needed > self.limits.kept_memory_mib:
            raise ServerFull(f"{self.limits.kept_memory_mib:g} MiB of memory")

    def keep(self, run: Run, *, at_once: bool = False) -> None:
        """Keep a run, if it has changed and it is time to."""
        if self._keeper and self._keeper.keep(run, at_once=at_once):
            self._kept(run.id, run.trainer.step)

    def forget_old(self) -> list[Run]:
        """Forget the runs that nobody has looked at for long; return those that were in memory."""
        before = time.monotonic() - self.limits.kept_seconds
        for run_id in [run_id for run_id, at in self._away.items() if at < before]:
            self._forget(run_id)
        old = [run for run in self.all() if run.watched_at < before]
        for run in old:
            self._forget(run.id)
        return old

    def close(self) -> None:
        """Write what is waiting for the disk."""
        if self._shelf:
            self._shelf.close()

    def _take_up(self, note: Note) -> Run | None:
        """Make a kept run anew; a file that is damaged costs that run alone."""
        try:
            run = restored(note, self._shelf.content(note.id), self._device)
        except (CheckpointError, SettingError) as error:
            _log.warning("a run is lost: %s", error)
            self._shelf.remove(note.id)
            return None
        if pins := self._shelf.pins(note.id):
            try:
                run.pins = Pins(unpacked(pins.read_bytes()))
            except (CheckpointError, OSError) as error:
                _log.warning("the runs pinned beside a run are lost: %s", error)
        self._here[run.id] = run
        return run

    def _put_away(self, run: Run) -> bool:
        """Leave a run to the shelf; return whether the shelf has it."""
        if not self._shelf:
            return False
        self.keep(run, at_once=True)
        if not self._shelf.has(run.id):  # not yet, or the disk is full
            return False
        self._away[run.id] = run.watched_at
        del self._here[run.id]
        self._keeper.leave(run.id)
        return True

    def _forget_one(self) -> None:
        """Forget the run that nobody has looked at for longest."""
        at = self._away | {run.id: run.watched_at for run in _unused(self.all())}
        if not at:
            raise ServerFull(f"{self.limits.kept_runs} runs")
        self._forget(min(at, key=at.get))

    def _forget(self, run_id: str) -> None:
        self._here.pop(run_id, None)
        self._away.pop(run_id, None)
        if self._keeper:
            self._keeper.forget(run_id)


def _unused(runs: list[Run]) -> list[Run]:
    now = time.monotonic()
    return [
        run
        for run in runs
        if run.state not in ACTIVE and not run.wants_work and not run.is_watched(now)
    ]
