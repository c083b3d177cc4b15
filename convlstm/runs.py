"""A run: one person's training, how far it is, and what its viewers look at.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Intensities in [0, 1].
"""

import secrets
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from convlstm.data import CONTEXT_FRAMES, sample_squares
from convlstm.metrics import Scores, as_images, copy_last_frame, score_frames
from convlstm.training import HORIZON, TrainConfig, Trainer

RunState = Literal[
    "idle", "waiting", "training", "paused", "stopped", "goal", "finished", "diverged", "failed"
]
ACTIVE: tuple[RunState, ...] = ("waiting", "training")
_OVER: tuple[RunState, ...] = ("stopped", "goal", "finished", "diverged", "failed")

SAMPLES = 8  # sequences to look at, drawn with a seed of their own
# Near the held-out set's, where no training sequences are drawn; of those the one whose first four
# samples stay clear of the walls at the default speed, and show what a prediction looks like.
_SAMPLE_SEED = 2**31 - 8
_PICTURE_SECONDS = 0.25  # between two pictures of a run that trains
WATCHED_SECONDS = 3.0  # after the last look at a run, its pictures are no longer drawn


@dataclass(frozen=True)
class Picture:
    """What the stage shows: one sequence, its continuation and the prediction of it.

    Attributes:
        sample: which of the SAMPLES sequences, from 0.
        context: frames seen, (T, H, W).
        truth: frames that followed, (look_ahead, H, W).
        predicted: the model's frames, on its own output after the first, (look_ahead, H, W).
        scores: of the model, for each lead time from 1.
        copy_last: of repeating the last frame seen, likewise.
        black: of a black frame, likewise.
    """

    sample: int
    context: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    scores: list[Scores]
    copy_last: list[Scores]
    black: list[Scores]


class Run:
    """One person's run: a trainer, how far it is, and what its viewers look at.

    Attributes:
        id: unguessable name; whoever has it may steer the run.
        trainer: what trains; another one after a reset.
        state: what it is doing.
        reason: why the server stopped or failed it, else empty.
        version: grows with every change that a viewer could see.
        steps_done: records that viewers may read; the trainer's last one may be unfinished.
        place: place in line while waiting, from 1.
        sample: which of the SAMPLES sequences is shown, from 0.
        look_ahead: predicted frames shown, 1 to HORIZON.
        picture: the latest picture, or None before the first.
        shipped: whether it shows the shipped checkpoint, untouched.
    """

    def __init__(self, trainer: Trainer, *, shipped: bool = False) -> None:
        self.id = secrets.token_urlsafe(16)
        self.sample, self.look_ahead = 0, 1
        self.version = 0
        self.watched_at = time.monotonic()
        self.replace_trainer(trainer, shipped=shipped)

    def replace_trainer(self, trainer: Trainer, *, shipped: bool = False) -> None:
        """Begin anew with another trainer; viewers stay."""
        self.trainer, self.shipped = trainer, shipped
        self.state: RunState = trainer.ended or ("paused" if trainer.step else "idle")
        self.reason = ""
        self.place = 0
        self.steps_done = trainer.step
        self.steps_wanted = 0  # by Step: train until so many more records have come
        self.step_seconds: float | None = None
        self.picture: Picture | None = None
        self._pictured: tuple[object, ...] = ()
        self._pictured_at = -_PICTURE_SECONDS
        self._pieces = trainer.pieces()
        self._draw_samples()
        self.version += 1

    @property
    def config(self) -> TrainConfig:
        """The settings the run has now."""
        return self.trainer.config

    @property
    def is_over(self) -> bool:
        """Whether to train here means to begin anew."""
        return self.shipped or self.state in _OVER

    @property
    def wants_work(self) -> bool:
        """Whether the compute thread has something to train here."""
        return self.state == "training" or self.steps_wanted > 0

    def advance(self, seconds: float) -> None:
        """Train for about so many seconds; the last piece is finished."""
        started = time.perf_counter()
        while self.wants_work and time.perf_counter() - started < seconds:
            record = next(self._pieces, None)
            if record is None:
                if self.trainer.ended:  # a pause or a stop crossed the last step
                    self.state, self.steps_wanted = self.trainer.ended, 0
                    self.version += 1
                continue
            before = self.trainer.records[-2].seconds if record.step > 1 else 0.0
            taken = record.seconds - before
            self.step_seconds = (
                taken if self.step_seconds is None else (0.9 * self.step_seconds + 0.1 * taken)
            )
            self.steps_wanted = max(0, self.steps_wanted - 1)
            self.steps_done = record.step
            if record.ended:
                self.state, self.steps_wanted = record.ended, 0
            self.version += 1

    def interrupt(self) -> None:
        """Go back to the last whole step, so that the trainer may be changed, saved or left."""
        self._pieces.close()
        self._pieces = self.trainer.pieces()

    def change(self, **settings: float) -> None:
        """Change speed or learning rate between two steps."""
        self.interrupt()
        self.trainer.change(**settings)
        if "speed" in settings:
            self._draw_samples()
        self.version += 1

    def picture_is_due(self, now: float) -> bool:
        """Whether somebody watches and would see something new."""
        if now - self.watched_at > WATCHED_SECONDS or self._pictured == self._view():
            return False
        waits = self.wants_work and self._pictured[:-1] == self._view()[:-1]
        return not waits or now - self._pictured_at >= _PICTURE_SECONDS

    def draw_picture(self) -> None:
        """Predict the sequence that viewers look at."""
        view = self._view()
        sample, look_ahead = self.sample, self.look_ahead
        context = self._context[sample : sample + 1]
        truth = self._truth[sample : sample + 1, :look_ahead]
        predicted = self.trainer.predict(context, look_ahead)
        predicted_images, truth_images = as_images(predicted), as_images(truth)
        self.picture = Picture(
            sample=sample,
            context=as_images(context)[0],
            truth=truth_images[0],
            predicted=predicted_images[0],
            scores=score_frames(predicted_images, truth_images)[0],
            copy_last=self._copy_last[sample][:look_ahead],
            black=self._black[sample][:look_ahead],
        )
        self._pictured, self._pictured_at = view, time.monotonic()
        self.version += 1

    def _view(self) -> tuple[object, ...]:
        """What the picture depends on; the step comes last."""
        return self.config.scene, self.sample, self.look_ahead, self.trainer.step

    def _draw_samples(self) -> None:
        generator = torch.Generator(self.trainer.device).manual_seed(_SAMPLE_SEED)
        frames = CONTEXT_FRAMES + HORIZON
        batch = sample_squares(self.config.scene, SAMPLES, frames, generator)
        self._context = batch.observed[:, :CONTEXT_FRAMES]
        self._truth = batch.clean[:, CONTEXT_FRAMES:]
        truth = as_images(self._truth)
        self._copy_last = score_frames(as_images(copy_last_frame(self._context, HORIZON)), truth)
        self._black = score_frames(np.zeros_like(truth), truth)
