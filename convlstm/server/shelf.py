"""Files from which runs go on after their worker, or the whole server, has died.

Each run has a note, which says what it was doing, and, once it has learnt something, the content
of its checkpoint; where runs are pinned beside it, those too. A thread of its own writes: nobody
waits for the disk, and what is newer replaces what is not written yet.
"""

import contextlib
import json
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from convlstm.files.safe_files import CheckpointError, write_atomically

_log = logging.getLogger(__name__)

_NOTE, _CONTENT, _PINS = ".json", ".safetensors", ".pins"
_CLOSE_SECONDS = 5.0  # that the disk may take when the server ends


@dataclass(frozen=True)
class Note:
    """What a run was doing when it was last looked at.

    Attributes:
        id: of the run.
        scene: in which it is.
        settings: of the run, where no content says them.
        state: what it was doing.
        reason: why it stopped, or empty.
        sample: which sequence its viewers looked at.
        shipped: whether it shows a model that was trained before, untouched.
        chosen: whether its settings were somebody's choice.
        resumed: steps at which it went on after a death.
        seen_at: when somebody last looked, s since 1970.
        study: the answer to the newest long question about its network, or None.
        lesson: what was done in the lesson that it belongs to, if any.
    """

    id: str
    scene: str
    settings: dict[str, object]
    state: str
    reason: str
    sample: int
    shipped: bool
    chosen: bool
    resumed: tuple[int, ...]
    seen_at: float
    study: dict[str, object] | None = None
    lesson: dict[str, object] | None = None


class Shelf:
    """The notes and contents of one worker's runs, in a folder.

    Args:
        folder: where they are; it is made if it is not there.
        max_bytes: of all contents together; beyond them the runs that nobody has looked at for
            longest lose theirs.
        durable: whether each file is waited for until the disk has it.
    """

    def __init__(self, folder: Path, max_bytes: float, *, durable: bool = False) -> None:
        self._folder, self._max_bytes, self._durable = folder, max_bytes, durable
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.tmp"):  # of a write that a kill has broken off
            leftover.unlink(missing_ok=True)
        self._waiting: dict[str, tuple[Note | None, bytes | None, bytes | None]] = {}
        self._unwritten: set[str] = set()
        self._wake = threading.Condition()
        self._busy = ""  # the run that is being written
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="shelf", daemon=True)
        self._thread.start()

    def notes(self) -> list[Note]:
        """Read all notes; what is no note is left out."""
        found = (self.note(path.stem) for path in sorted(self._folder.glob("*" + _NOTE)))
        return [note for note in found if note]

    def note(self, run_id: str) -> Note | None:
        """Read a run's note; None if there is none."""
        path = self._folder / (run_id + _NOTE)
        try:
            values = json.loads(path.read_text("utf-8"))
            note = Note(**values | {"resumed": tuple(values["resumed"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.warning("%s is no note: %s", path, error)
            return None
        return note if note.id == run_id else None

    def has(self, run_id: str) -> bool:
        """Whether all that was put there of a run is written, and still there."""
        with self._wake:
            if run_id in self._waiting or run_id == self._busy or run_id in self._unwritten:
                return False
        return (self._folder / (run_id + _NOTE)).is_file()

    def content(self, run_id: str) -> Path | None:
        """Return the file of a run's content, or None if it has none."""
        path = self._folder / (run_id + _CONTENT)
        return path if path.is_file() else None

    def pins(self, run_id: str) -> Path | None:
        """Return the file of the runs pinned beside a run, or None if there are none."""
        path = self._folder / (run_id + _PINS)
        return path if path.is_file() else None

    def put(self, note: Note, content: bytes | None = None, pins: bytes | None = None) -> None:
        """Keep a note, and a content and pins where they are new; empty ones take the old away."""
        with self._wake:
            _, content_before, pins_before = self._waiting.get(note.id, (None, None, None))
            self._waiting[note.id] = (
                note,
                content_before if content is None else content,
                pins_before if pins is None else pins,
            )
            self._wake.notify_all()

    def remove(self, run_id: str) -> None:
        """Forget a run."""
        with self._wake:
            self._waiting[run_id] = None, b"", b""
            self._wake.notify_all()

    def settle(self, seconds: float = _CLOSE_SECONDS) -> bool:
        """Wait until everything is written; return whether it is."""
        with self._wake:
            return self._wake.wait_for(lambda: not (self._waiting or self._busy), seconds)

    def close(self) -> None:
        """Write what is waiting, and end."""
        self.settle()
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(_CLOSE_SECONDS)

    def _write(self) -> None:
        while True:
            with self._wake:
                self._busy = ""
                self._wake.notify_all()
                self._wake.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                run_id = next(iter(self._waiting))
                note, content, pins = self._waiting.pop(run_id)
                self._busy = run_id
            try:
                self._write_one(run_id, note, content, pins)
                self._unwritten.discard(run_id)
                self._make_room(run_id)
            except (CheckpointError, OSError) as error:  # a full disk: the run goes on, unkept
                self._unwritten.add(run_id)
                _log.warning("a run could not be kept: %s", error)

    def _write_one(
        self, run_id: str, note: Note | None, content: bytes | None, pins: bytes | None
    ) -> None:
        for suffix, data in ((_CONTENT, content), (_PINS, pins)):
            path = self._folder / (run_id + suffix)
            if data == b"":
                path.unlink(missing_ok=True)
            elif data is not None:
                write_atomically(path, data, durable=self._durable)
        path = self._folder / (run_id + _NOTE)
        if note is None:
            path.unlink(missing_ok=True)
        else:
            write_atomically(path, json.dumps(asdict(note)).encode(), durable=self._durable)

    def _make_room(self, newest: str) -> None:
        """Drop the runs whose contents or pins were written longest ago."""
        found: dict[str, tuple[float, int]] = {}  # by run, when it was written and its bytes
        for suffix in (_CONTENT, _PINS):
            for path in self._folder.glob("*" + suffix):
                with contextlib.suppress(OSError):  # gone meanwhile
                    at, size = found.get(path.stem, (0.0, 0))
                    found[path.stem] = max(at, path.stat().st_mtime), size + path.stat().st_size
        total = sum(size for _, size in found.values())
        for run_id in sorted(found, key=found.__getitem__):
            if total <= self._max_bytes:
                return
            if run_id != newest:
                for suffix in (_CONTENT, _PINS, _NOTE):
                    (self._folder / (run_id + suffix)).unlink(missing_ok=True)
                total -= found[run_id][1]
