"""What a training tells of itself: a small immutable record for every step and change."""

from dataclasses import dataclass
from typing import Literal

from convlstm.settings import Choice, Integer, Number, Settings, setting
from convlstm.training.config import CHANGEABLE, MAX_STEPS
from convlstm.training.metrics import Evaluation

End = Literal["goal", "finished", "patience", "diverged"]


@dataclass(frozen=True, slots=True)  # a run keeps them all
class StepRecord:
    """What one training step did.

    Attributes:
        step: steps done, from 1.
        progress: share of the run that lay before this step, in [0, 1).
        horizon: frames that were predicted.
        loss: the loss that was minimised, in its own unit.
        mse: mean squared error of the batch's future frames, comparable with the validation set's:
            where the frames trained on are smaller, still per pixel of a whole frame.
        learning_rate: the optimiser's rate at this step.
        seconds: computing time since the run began, in s; waiting and pauses do not count.
        validation_loss: the same loss on the validation set, at the steps that have one.
        evaluation: scores on the validation set, likewise.
        ended: why the run ends with this step, or None.
    """

    step: int
    progress: float
    horizon: int
    loss: float
    mse: float
    learning_rate: float
    seconds: float
    validation_loss: float | None = None
    evaluation: Evaluation | None = None
    ended: End | None = None


@dataclass(frozen=True)
class Change(Settings):
    """A setting changed during a run, from the step after `step` on."""

    step: int = setting(0, Integer(0, MAX_STEPS), "steps done before it")
    name: str = setting(CHANGEABLE[0], Choice(CHANGEABLE), "the setting")
    old: float = setting(0.0, Number(0, 8), "its value before")
    new: float = setting(0.0, Number(0, 8), "its value from then on")


@dataclass(frozen=True)
class PastTraining(Settings):
    """What a network has been through, as its file tells."""

    steps: int = setting(0, Integer(0, 10_000_000), "training steps")
    sequences: int = setting(0, Integer(0, 10**11), "sequences learnt from")
    seconds: float = setting(0.0, Number(0, 10**9), "computing time, s")
    device: str = setting("cpu", Choice(("cpu", "cuda", "mps")), "where")
