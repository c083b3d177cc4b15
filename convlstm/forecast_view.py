"""One forecast to look at: a sequence of unseen digits, or a digit that somebody has drawn.

Axes: T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convlstm.checks import SettingError, check_integer, check_number
from convlstm.digits import DIGIT_SIZE, DigitsConfig, paste, read_digits, sample_digits, trajectory
from convlstm.forecaster import Forecaster, forecast
from convlstm.forecasting import CONTEXT_FRAMES, HORIZON
from convlstm.metrics import as_images, black_frames, copy_last_frame
from convlstm.video_metrics import VideoScores, frame_scores

SAMPLES = 20  # sequences to look at
DRAWING_SIDE = 56  # px of a drawing, twice a digit's: smooth edges survive the shrinking
_SAMPLE_SEED = 2**31 - 100  # near the validation set's, where nothing is trained
_INK_SIDE = 20  # px; MNIST's digits fill a box of this side
_FAINT = 32  # of 255; what is fainter is no part of a stroke


@dataclass(frozen=True)
class ForecastPicture:
    """One sequence, its continuation and the forecast of it.

    Attributes:
        context: frames seen, (10, H, W).
        truth: frames that followed, (10, H, W).
        predicted: the model's, (10, H, W).
        model: its scores by lead time, from 1.
        copy_last: of the copied last frame, likewise.
        black: of black frames, likewise.
    """

    context: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    model: list[VideoScores]
    copy_last: list[VideoScores]
    black: list[VideoScores]


def sample_picture(
    model: Forecaster, scene: DigitsConfig, sample: int, *, augmented: bool
) -> ForecastPicture:
    """Forecast one of the SAMPLES sequences of unseen digits.

    Raises:
        SettingError: there is no such sample.
    """
    sample = check_integer("sample", sample, 0, SAMPLES - 1)
    generator = torch.Generator().manual_seed(_SAMPLE_SEED + sample)
    digits, frames = read_digits("test"), CONTEXT_FRAMES + HORIZON
    return _picture(model, sample_digits(scene, digits, 1, frames, generator), augmented=augmented)


def drawing_picture(
    model: Forecaster,
    scene: DigitsConfig,
    drawing: object,
    angle: object,
    *,
    augmented: bool,
) -> ForecastPicture:
    """Set a drawing moving by the scene's rules, and forecast how it goes on.

    Args:
        model: the network.
        scene: canvas and speed; there is one digit, the drawn one.
        drawing: 56 x 56 grey values, row by row, whole numbers from 0 (black) to 255.
        angle: where it goes at first, degrees, 0 to the right and 90 downwards.
        augmented: whether to average over mirrored sequences.

    Raises:
        SettingError: the drawing is none, or empty, or the angle is no number in [0, 360].
    """
    digit = digit_of_drawing(drawing)
    turn = math.radians(check_number("angle", angle, 0, 360))
    velocity = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
    room = scene.canvas - DIGIT_SIZE
    start = torch.full((2,), 0.5, dtype=torch.float64)  # in the middle
    corners = room * trajectory(start, velocity * scene.speed / room, CONTEXT_FRAMES + HORIZON)
    frames = paste(digit[None, None], corners.int()[None, None], scene)
    return _picture(model, frames[:, :, None].float() / 255, augmented=augmented)


def digit_of_drawing(drawing: object) -> Tensor:
    """Make a digit of a drawing as MNIST's were made: fitted in a box, centred by its mass.

    Args:
        drawing: as `drawing_picture` takes it.

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


def _picture(model: Forecaster, frames: Tensor, *, augmented: bool) -> ForecastPicture:
    context, truth = frames[:, :CONTEXT_FRAMES], frames[:, CONTEXT_FRAMES:]
    device = next(model.parameters()).device
    predicted = forecast(model, context.to(device), HORIZON, augmented=augmented).cpu()
    candidates = predicted, copy_last_frame(context, HORIZON), black_frames(truth)
    tables = [frame_scores(candidate, truth)[0].tolist() for candidate in candidates]
    rows = [[VideoScores(*row) for row in table] for table in tables]
    return ForecastPicture(*(as_images(part)[0] for part in (context, truth, predicted)), *rows)
