"""Studies: long questions about a run's network as it is now, answered in pieces.

They are computed in the turns of their run, so that nobody else is slower for them; a run that
trains meanwhile gives half of its turns away.
"""

import logging
import time
from collections.abc import Callable, Generator
from typing import Literal

from convlstm.checks import check_choice
from convlstm.pieces import Cancelled, cancellable
from convlstm.server.knock_out_study import knock_out_study
from convlstm.server.speed_study import speed_study
from convlstm.training.trainer import Trainer

_log = logging.getLogger(__name__)

StudyState = Literal["running", "done", "stopped", "failed"]

# Yields the share that is done, in [0, 1], after each small piece; returns a few kB for JSON.
Answer = Generator[float, None, dict[str, object]]

# By name, functions that check their options as they are called (and raise a `SettingError`), and
# take a copy of the weights, so that training meanwhile does not mix.
STUDIES: dict[str, Callable[[Trainer, object], Answer]] = {
    "speed": speed_study,
    "knock-out": knock_out_study,
}


class Study:
    """One question, and how far its answer is.

    Args:
        kind: of STUDIES.
        step: of the network that is asked.
        pieces: the work.

    Attributes:
        state: how it stands; whoever wants it no more sets it by `stop`, in any thread.
        done: the share that is done, in [0, 1].
    """

    def __init__(self, kind: str, step: int, pieces: Answer) -> None:
        self._kind, self._step, self._pieces = kind, step, pieces
        self._result: dict[str, object] | None = None
        self.state: StudyState = "running"
        self.done = 0.0

    @property
    def is_running(self) -> bool:
        """Whether there is something to compute."""
        return self.state == "running"

    def stop(self) -> None:
        """End it, in mid-piece if need be; what was found so far is lost."""
        if self.is_running:
            self.state = "stopped"

    def advance(self, seconds: float) -> None:
        """Compute for about so many seconds; a fault of its own ends it, and nothing else."""
        started = time.perf_counter()
        try:
            with cancellable(lambda: self.is_running):
                while self.is_running and time.perf_counter() - started < seconds:
                    self.done = next(self._pieces)
        except StopIteration as end:
            self._result, self.done = end.value, 1.0
            self._end("done")
        except Cancelled:
            self._end("stopped")
        except Exception:
            _log.exception("a study failed")
            self._end("failed")
        if not self.is_running:
            self._pieces.close()  # and with it the copy of the weights

    def told(self) -> dict[str, object]:
        """Return what viewers are told of it."""
        return {
            "kind": self._kind,
            "state": self.state,
            "done": round(self.done, 3),
            "step": self._step,
            "result": self._result if self.state == "done" else None,
        }

    def kept(self) -> dict[str, object] | None:
        """Return what a run's note keeps of it: an answer that was found."""
        return self.told() if self.state == "done" else None

    def _end(self, state: StudyState) -> None:
        if self.is_running:
            self.state = state


def begin(kind: str, trainer: Trainer, options: object) -> Study:
    """Begin a study of a run's network as it is now.

    Args:
        kind: of STUDIES.
        trainer: the run.
        options: of that kind, as they arrived.

    Raises:
        SettingError: an option is refused, or the scene has no such study.
    """
    pieces = STUDIES[kind](trainer, options)
    return Study(kind, trainer.step - trainer.evaluation_is_due, pieces)


def answered(kept: dict[str, object]) -> Study:
    """Make a study anew whose answer was kept.

    Raises:
        SettingError: it is of no kind that is known.
    """

    def result() -> Answer:
        yield from ()
        return kept["result"]

    kind = check_choice("kind", kept.get("kind"), STUDIES)
    study = Study(kind, int(kept["step"]), result())
    study.advance(1.0)
    return study
