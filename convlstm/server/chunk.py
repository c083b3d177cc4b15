"""A while of a run's training in another process, which may be ended at any moment.

It knows neither a page nor a service: a process that has a GPU for a while calls it, and sends on
what it yields.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convlstm.devices import pick_device
from convlstm.server.desk import Desk
from convlstm.server.keeping import content_of
from convlstm.server.opening import restored
from convlstm.server.run import Run
from convlstm.server.snapshot import Viewer

_SLICE_SECONDS = 0.2  # of computing between two snapshots
_CONTENT_SECONDS = 4.0  # between two contents: no more is lost when the process is killed
_LAY_SECONDS = 15.0  # that the run may take to be laid on the desk
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class News:
    """What has become of a run since the last news.

    Attributes:
        snapshot: what its viewers are told.
        content: its checkpoint, where a new one was made, else empty.
    """

    snapshot: dict[str, object]
    content: bytes = b""


def compute_chunk(folder: str, seconds: float, device: str = "auto") -> Iterator[News | None]:
    """Train the run that is laid on a desk, until the time is over or it is asked for.

    Args:
        folder: the desk; the run is laid there after the first yield.
        seconds: from now on, that the training may last.
        device: where it computes.

    Yields:
        None at once, as a sign that there is somebody to compute; then news some times a second,
        of which the last one holds the content; nothing more if no run is laid there.

    Raises:
        CheckpointError, SettingError: what lies there is damaged.
        ValueError: there is no such device.
    """
    started = time.monotonic()
    yield None
    desk = Desk(Path(folder))
    while (laid := desk.take()) is None:
        if desk.is_over or time.monotonic() - started > _LAY_SECONDS:
            return
        time.sleep(_LOOK_SECONDS)
    note, content = laid
    run = restored(note, content or None, pick_device(device))
    run.resumed = note.resumed  # it has not died
    viewer, told_at = Viewer(run), time.monotonic()
    while run.wants_work and not desk.is_over and time.monotonic() - started < seconds:
        run.advance(_SLICE_SECONDS)
        now = time.monotonic()
        _look(run, desk, now)
        if now - told_at < _CONTENT_SECONDS:
            yield News(viewer.snapshot(1))
        else:
            yield News(viewer.snapshot(1), content_of(run))
            told_at = time.monotonic()
    yield News(viewer.snapshot(1), content_of(run))


def _look(run: Run, desk: Desk, now: float) -> None:
    """Draw what the run's viewers look at."""
    run.looked_at = now
    if (shown := desk.shown()) is not None:
        run.sample = shown
    if run.picture_is_due(now):
        run.draw_picture()
