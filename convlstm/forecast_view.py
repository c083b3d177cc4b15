"""What a forecaster's viewers look at: a sequence of unseen digits, or a digit they have drawn.

Axes: T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convlstm.checks import SettingError, check_number
from convlstm.digits import DIGIT_SIZE, paste, read_digits, sample_digits, trajectory
from convlstm.forecast_config import CONTEXT_FRAMES, HORIZON
from convlstm.forecasting import ForecastTrainer
from convlstm.metrics import as_images, black_frames, copy_last_frame
from convlstm.video_metrics import VideoScores, frame_scores

DRAWING_SIDE = 56  # px of a drawing, twice a digit's: smooth edges survive the shrinking
_SAMPLE_SEED = 2**31 - 100  # near the validation set's, where nothing is trained
_INK_SIDE = 20  # px; MNIST's digits fill a box of this side
_FAINT = 32  # of 255; what is fainter is no part of a stroke


@dataclass(frozen=True)
class ForecastPicture:
    """One sequence, its continuation and the forecast of it.

    Attributes:
        sample: which of the sequences, from 0, or None for a drawing.
        context: frames seen, (10, H, W).
        truth: frames that followed, (10, H, W).
        predicted: the model's, (10, H, W).
        scores: of the model, by lead time, from 1.
        copy_last: of the copied last frame, likewise.
        black: of black frames, likewise.
    """

    sample: int | None
    context: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    scores: list[VideoScores]
    copy_last: list[VideoScores]
    black: list[VideoScores]


@dataclass(frozen=True, eq=False)
class Drawing:
    """A digit that somebody has drawn.

    Attributes:
        digit: (28, 28), uint8, as MNIST's are.
        angle: where it goes at first, degrees, 0 to the right and 90 downwards.
    """

    digit: Tensor
    angle: float


class ForecastView:
    """The sequences of unseen digits that viewers look at, drawn with seeds of their own.

    Args:
        trainer: a run in their scene.
    """

    samples = 20
    farthest = HORIZON
    seconds = 1.5  # between two pictures of a run that trains; one takes about 0.1

    def __init__(self, trainer: ForecastTrainer) -> None:
        self._scene = replace(trainer.config.scene, flips=False)
        self._newest: tuple[object, Tensor, list[list[VideoScores]]] | None = None

    def draw(self, trainer: ForecastTrainer, sample: int, look_ahead: int) -> ForecastPicture:
        """Forecast a sequence with the model as it is now; all of it, however far one looks."""
        return self._picture(trainer, sample)

    def draw_own(self, trainer: ForecastTrainer, drawing: Drawing) -> ForecastPicture:
        """Set a drawing moving by the scene's rules, alone, and forecast how it goes on."""
        return self._picture(trainer, drawing)

    def _picture(self, trainer: ForecastTrainer, shown: int | Drawing) -> ForecastPicture:
        if self._newest is None or self._newest[0] != shown:
            frames = self._own(shown) if isinstance(shown, Drawing) else self._sample(shown)
            context, truth = frames.split((CONTEXT_FRAMES, HORIZON), 1)
            trivial = copy_last_frame(context, HORIZON), black_frames(truth)
            self._newest = shown, frames, [_scores(predicted, truth) for predicted in trivial]
        _, frames, baselines = self._newest
        context, truth = frames.split((CONTEXT_FRAMES, HORIZON), 1)
        predicted = trainer.predict(context.to(trainer.device), HORIZON).cpu()
        images = (as_images(part)[0] for part in (context, truth, predicted))
        sample = None if isinstance(shown, Drawing) else shown
        return ForecastPicture(sample, *images, _scores(predicted, truth), *baselines)

    def _sample(self, sample: int) -> Tensor:
        generator = torch.Generator().manual_seed(_SAMPLE_SEED + sample)
        frames = CONTEXT_FRAMES + HORIZON
        return sample_digits(self._scene, read_digits("test"), 1, frames, generator)

    def _own(self, drawing: Drawing) -> Tensor:
        turn = math.radians(drawing.angle)
        velocity = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
        room = self._scene.canvas - DIGIT_SIZE
        start = torch.full((2,), 0.5, dtype=torch.float64)  # in the middle
        pace = velocity * self._scene.speed / room
        corners = room * trajectory(start, pace, CONTEXT_FRAMES + HORIZON)
        frames = paste(drawing.digit[None, None], corners.int()[None, None], self._scene)
        return frames[:, :, None].float() / 255


def make_drawing(pixels: object, angle: object) -> Drawing:
    """Make a digit of what somebody has drawn, as MNIST's were made: fitted and centred.

    Args:
        pixels: 56 x 56 grey values, row by row, whole numbers from 0 (black) to 255.
        angle: where it shall go, degrees in [0, 360].

    Raises:
        SettingError: the drawing is none, or empty, or the angle is no such number.
    """
    return Drawing(digit_of_drawing(pixels), check_number("angle", angle, 0, 360))


def digit_of_drawing(drawing: object) -> Tensor:
    """Make a digit of a drawing as MNIST's were made: fitted in a box, centred by its mass.

    Args:
        drawing: as `make_drawing` takes it.

    Returns:
        (28, 28), uint8.

    Raises:
        SettingError: the drawing is none, or empty.
    """
    count = DRAWING_SIDE**2
    is_drawing = (
        isinstance(drawing, Sequence)
        and len(drawing) == count
        and all(type(value) is int and 0 <= value <= 255 for value in drawing)
        and max(drawing) > _FAINT
    )
    if not is_drawing:
        raise SettingError("drawing", "empty or no drawing", "drawing", count=count)
    ink = np.array(drawing, dtype=np.uint8).reshape(DRAWING_SIDE, DRAWING_SIDE)
    rows, columns = ((ink > _FAINT).any(axis).nonzero()[0] for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _INK_SIDE / max(ink.shape)
    size = [max(1, round(side * scale)) for side in reversed(ink.shape)]
    small = np.array(Image.fromarray(ink).resize(size, Image.Resampling.LANCZOS))
    weights = small.astype(np.float64) / small.sum()
    digit = np.zeros((DIGIT_SIZE, DIGIT_SIZE), dtype=np.uint8)
    corner = []
    for axis, side in enumerate(small.shape):
        centre = (weights.sum(1 - axis) * (np.arange(side) + 0.5)).sum()
        corner.append(min(max(round(DIGIT_SIZE / 2 - centre), 0), DIGIT_SIZE - side))
    top, left = corner
    digit[top : top + small.shape[0], left : left + small.shape[1]] = small
    return torch.from_numpy(digit)


def _scores(predicted: Tensor, truth: Tensor) -> list[VideoScores]:
    return [VideoScores(*row) for row in frame_scores(predicted, truth)[0].tolist()]
