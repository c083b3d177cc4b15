"""What the stage shows of a predictor of moving squares: one sequence, and its continuation.

Axes: T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
import torch

from convlstm.data import CONTEXT_FRAMES, sample_squares
from convlstm.metrics import Scores, as_images, copy_last_frame, score_frames
from convlstm.training import HORIZON, Trainer

# Near the held-out set's, where no training sequences are drawn; of those the one whose first four
# samples stay clear of the walls at the default speed, and show what a prediction looks like.
_SAMPLE_SEED = 2**31 - 8


@dataclass(frozen=True)
class Picture:
    """What the stage shows: one sequence, its continuation and the prediction of it.

    Attributes:
        sample: which of the sequences, from 0.
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


class SquaresView:
    """The sequences of a scene that viewers look at, drawn with a seed of their own.

    Args:
        trainer: a run in that scene.
    """

    samples = 8
    farthest = HORIZON  # frames of a look ahead
    seconds = 0.25  # between two pictures of a run that trains

    def __init__(self, trainer: Trainer) -> None:
        generator = torch.Generator(trainer.device).manual_seed(_SAMPLE_SEED)
        frames = CONTEXT_FRAMES + HORIZON
        batch = sample_squares(trainer.config.scene, self.samples, frames, generator)
        self._context = batch.observed[:, :CONTEXT_FRAMES]
        self._truth = batch.clean[:, CONTEXT_FRAMES:]
        truth = as_images(self._truth)
        self._copy_last = score_frames(as_images(copy_last_frame(self._context, HORIZON)), truth)
        self._black = score_frames(np.zeros_like(truth), truth)

    def draw(self, trainer: Trainer, sample: int, look_ahead: int) -> Picture:
        """Predict a sequence with the model as it is now."""
        context = self._context[sample : sample + 1]
        truth = as_images(self._truth[sample : sample + 1, :look_ahead])
        predicted = as_images(trainer.predict(context, look_ahead))
        return Picture(
            sample=sample,
            context=as_images(context)[0],
            truth=truth[0],
            predicted=predicted[0],
            scores=score_frames(predicted, truth)[0],
            copy_last=self._copy_last[sample][:look_ahead],
            black=self._black[sample][:look_ahead],
        )
