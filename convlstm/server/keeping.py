"""When a run is kept, so that it goes on after a death, none of it more than a few seconds old."""

import time
from dataclasses import replace

from convlstm.server.pins import Pin, packed
from convlstm.server.run import Run
from convlstm.server.shelf import Note, Shelf
from convlstm.settings import settings_of

_FIRST_SECONDS = 1.0  # after which a new run is kept
_SECONDS = 4.0  # between two contents of a run
_SHARE = 20  # times what making one takes: keeping slows a training by a twentieth
_LONGEST_SECONDS = 8.0
_LOOK_SECONDS = 60.0  # nobody writes a file because somebody looks, but once in a while


class Keeper:
    """Puts runs on a shelf; on the compute thread.

    Args:
        shelf: where to.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._kept: dict[str, tuple[object, Note]] = {}  # what was kept of each run
        self._pinned: dict[str, tuple[Pin, ...]] = {}
        self._due: dict[str, float] = {}
        self._looked: dict[str, tuple[object, ...]] = {}  # what each was like at the last look

    def keep(self, run: Run, *, at_once: bool = False) -> bool:
        """Keep a run if it has changed and it is time to; return whether its content was."""
        looks = run.version, run.sample, run.watched_at // _LOOK_SECONDS
        if self._looked.get(run.id) == looks and not at_once:
            return False
        now, trainer, note = time.monotonic(), run.trainer, note_of(run)
        learnt = trainer, trainer.step, trainer.evaluation_is_due, len(trainer.changes)
        before, noted = self._kept.get(run.id, ((None,), None))
        if noted and abs(note.seen_at - noted.seen_at) < _LOOK_SECONDS:
            note = replace(note, seen_at=noted.seen_at)
        is_new = before[0] is not trainer
        waits = not (is_new or at_once) and run.wants_training and now < self._due[run.id]
        if not waits:
            self._looked[run.id] = looks
        pinned = run.pins.all
        if pinned is not self._pinned.get(run.id, ()):
            self._pinned[run.id] = pinned
            self._shelf.put(note, pins=packed(pinned))
        if learnt == before or waits:
            if note != noted:
                self._kept[run.id] = before, note
                self._shelf.put(note)
            return False
        self._shelf.put(note, content_of(run))
        taken = time.monotonic() - now
        pause = min(max(_SECONDS, _SHARE * taken), _LONGEST_SECONDS)
        self._due[run.id] = now + (_FIRST_SECONDS if is_new else pause)
        self._kept[run.id] = learnt, note
        return True

    def leave(self, run_id: str) -> None:
        """Leave a run to the shelf."""
        self._kept.pop(run_id, None)
        self._pinned.pop(run_id, None)
        self._due.pop(run_id, None)
        self._looked.pop(run_id, None)

    def forget(self, run_id: str) -> None:
        """Take a run off the shelf."""
        self.leave(run_id)
        self._shelf.remove(run_id)


def note_of(run: Run) -> Note:
    """Say what a run is doing."""
    return Note(
        run.id,
        run.config.scene.name,
        settings_of(run.wanted),
        run.state,
        run.reason,
        run.sample,
        run.shipped,
        run.chosen,
        run.resumed,
        time.time() - (time.monotonic() - run.watched_at),
        run.study and run.study.kept(),
        run.facts and run.facts.kept(),
    )


def content_of(run: Run) -> bytes:
    """Make what its trainer can be made of again; empty where its settings, or less, are enough."""
    if run.shipped and not run.chosen:
        return b""
    says_more = run.trainer.step or run.trainer.earlier or run.config.scene.data
    return run.content() if says_more else b""
