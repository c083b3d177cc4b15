"""Small runs, one of each kind of scene, for the tests of what is written to files."""

import functools
import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from convlstm.files.checkpoint import checkpoint_bytes
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.scenes.storm import Storm
from convlstm.settings import configure
from convlstm.training import TrainConfig, Trainer

SMALL = {
    "hidden_channels": 2,
    "kernel_size": 3,
    "epochs": 6,
    "batch_size": 3,
    "evaluate_every": 2,
    "precision": "float32",
}
# Between them the runs use all that a file may hold.
RUNS = {
    "squares": configure(
        {
            **SMALL,
            "canvas": 16,
            "square_size": 3,
            "noise": 0.1,
            "learning_rate": 0.015,
        },
        TrainConfig(Squares()),
    ),
    "digits": configure(
        {
            **SMALL,
            "canvas": 32,
            "num_layers": 2,
            "residual": True,
            "patch_size": 4,
            "context_frames": 4,
            "horizon": 3,
            "loss": "bce+ssim",
            "optimizer": "muon",
            "weight_decay": 0.1,
            "scheduled_sampling": 0.5,
            "curriculum": 0.4,
            "ema": 0.5,
            "patience": 5,
        },
        TrainConfig(Digits()),
    ),
    "storm": configure(
        {
            **SMALL,
            "output": "change",
            "loss": "l1",
            "context_frames": 4,
            "horizon": 2,
            "crop": 16,
        },
        TrainConfig(Storm()),
    ),
}


def pull(trainer: Trainer, steps: int | None) -> Trainer:
    """Train so many steps, or to the end."""
    list(islice((record for record in trainer.pieces() if record), steps))
    return trainer


def trained(name: str, steps: int | None, **settings: object) -> Trainer:
    """A run after so many steps; None trains to its end."""
    return pull(Trainer(configure(settings, RUNS[name])), steps)


def diverged(name: str, at: int, **settings: object) -> Trainer:
    """A run whose loss became NaN in a step."""
    trainer = trained(name, 0, **settings)
    backward = trainer._backward

    def broken(*given: object) -> object:
        sums = backward(*given)
        return sums * math.nan if trainer.step + 1 == at else sums

    trainer._backward = broken
    pull(trainer, None)
    del trainer._backward
    assert trainer.ended == "diverged"
    return trainer


def changed_on_the_way(name: str) -> Trainer:
    """A run of which one setting or two were changed after three of its four steps."""
    trainer = trained(name, 3)
    trainer.change(learning_rate=0.5, **({} if name == "storm" else {"speed": 4}))
    return pull(trainer, 1)


STAGES: dict[str, Callable[[str], Trainer]] = {
    "new": lambda name: trained(name, 0),
    "under way": lambda name: trained(name, 3),
    "finished": lambda name: trained(name, None),
    "at its goal": lambda name: trained(name, None, stop_below=0.9),
    "out of patience": lambda name: trained(name, None, patience=1, learning_rate=1e-6, loss="l1"),
    "diverged": lambda name: diverged(name, 4),
    "diverged at once": lambda name: diverged(name, 1),
    "diverged in its only step": lambda name: diverged(name, 1, epochs=1),
    "changed": changed_on_the_way,
    "with every option": lambda name: trained(
        name,
        2,
        num_layers=2,
        residual=True,
        peephole=True,
        output="linear",
        loss="mse",
        epochs=2,
        ema=0.9,
        augmented=True,
    ),
}


@functools.cache
def at_stage(name: str, stage: str) -> Trainer:
    """A run that is only looked at: tests share it."""
    return STAGES[stage](name)


@functools.cache
def saved(name: str, stage: str = "changed") -> bytes:
    """The content of a run's file."""
    return checkpoint_bytes(at_stage(name, stage))


# The runs, and files of earlier programs.
KINDS = ("squares", "digits", "storm", "squares-run-1", "digits-run-3")
_FROZEN = Path(__file__).parent / "frozen"


@functools.cache
def content_of(kind: str) -> bytes:
    """A sound file: a run that was changed on its way, or one of an earlier program."""
    return saved(kind) if kind in RUNS else (_FROZEN / f"{kind}.safetensors").read_bytes()
