"""The board of a class: one short row for each student, made of what the page is told anyway.

No worker is asked for anything, and no run is kept awake: students' own pages look at their runs.
"""

import math
import time
from collections.abc import Callable, Mapping

from convlstm.server.classroom import Classroom, Student
from convlstm.server.notices import Reply

_SECONDS = 1.0  # between two boards, however many look
_MOST_POINTS = 32  # of a row's curve
_MOST_SETTINGS = 4  # that a row names

Presets = Mapping[str, Mapping[str, Mapping[str, object]]]


class Board:
    """The rows of a class.

    Args:
        classroom: whose.
        seen: returns what was told of a run, a new object whenever it has changed; None before.
        clock: tells the time, s.
    """

    def __init__(
        self,
        classroom: Classroom,
        seen: Callable[[str], Reply | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._classroom, self._seen, self._clock = classroom, seen, clock
        # By number: the run that a row is of, what was seen of it, and its summary.
        self._known: dict[int, tuple[str, Reply | None, Reply]] = {}
        self._rows: list[Reply] = []
        self._made_at: float | None = None

    def rows(self, presets: Presets) -> list[Reply]:
        """Return the rows in the order of arrival, at most a second old.

        Args:
            presets: the settings of each scene's presets, by scene and name; the first is what a
                row's own settings are compared with.
        """
        now = self._clock()
        if self._made_at is None or now - self._made_at >= _SECONDS:
            students = self._classroom.students()
            self._rows = [self._row(each, presets) for each in students]
            self._made_at = now
            numbers = {each.number for each in students}
            self._known = {n: known for n, known in self._known.items() if n in numbers}
        return self._rows

    def _row(self, student: Student, presets: Presets) -> Reply:
        run, seen, summary = self._known.get(student.number, ("", None, {}))
        if run != student.run:
            run, seen, summary = student.run, None, {}
        newest = self._seen(run)
        if newest and newest is not seen:
            summary = summarize(newest, presets.get(newest["scene"], {}))
            self._known[student.number] = run, newest, summary
        is_here = self._classroom.is_here(student)
        return {"number": student.number, "name": student.name, "here": is_here, **summary}


def summarize(snapshot: Reply, presets: Mapping[str, Mapping[str, object]]) -> Reply:
    """Say in little what a run does and how good it is.

    Args:
        snapshot: what a viewer is told.
        presets: of its scene.

    Returns:
        scene; preset (a name, or empty) and settings (those that differ from the first preset's);
        state, reason, place, step, steps, epoch, epochs; error (its measure), best (the lowest of
        the validation set so far) and baseline (the better one's name and value), None before;
        curve, "step value;" of some evaluations. No id, and no picture.
    """
    error = snapshot["stage"]["error"]
    points = [] if snapshot["shipped"] else _points(snapshot["curve"]["validation"])
    baselines = (snapshot["scores"] or {}).get("baselines", {}) if points else {}
    errors = {name: each["error"] for name, each in baselines.items() if each["error"] is not None}
    better = min(errors, key=errors.__getitem__, default=None)
    sparse = max(1, -(-len(points) // _MOST_POINTS))
    shown = points[::-1][::sparse][::-1]  # the newest among them
    return {
        **{name: snapshot[name] for name in ("scene", "reason", "place", "step", "steps")},
        **_words(snapshot["settings"], presets),
        "epoch": snapshot["epoch"],
        "epochs": snapshot["epochs"],
        "state": "shipped" if snapshot["shipped"] else snapshot["state"],
        "error": error,
        "best": min((value for _, value in points), default=None),
        "baseline": better and [better, errors[better]],
        "curve": "".join(f"{step} {value:.3g};" for step, value in shown),
    }


def _points(packed: str) -> list[tuple[int, float]]:
    pairs = (pair.split() for pair in packed.split(";") if pair)
    numbers = ((int(step), float(value)) for step, value in pairs)
    return [(step, value) for step, value in numbers if math.isfinite(value)]


def _words(settings: Reply, presets: Mapping[str, Mapping[str, object]]) -> Reply:
    """Name the preset whose settings these are, or what is other than in the first."""
    same = (name for name, preset in presets.items() if preset.items() <= settings.items())
    if (name := next(same, None)) is not None:
        return {"preset": name, "settings": {}}
    first = next(iter(presets.values()), {})
    own = [(n, value) for n, value in settings.items() if n in first and first[n] != value]
    return {"preset": "", "settings": dict(own[:_MOST_SETTINGS])}
