"""A digit that somebody has drawn, made as MNIST's were.

Axes: H height (px), W width (px).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convlstm.checks import SettingError, check_number

DIGIT_SIZE = 28  # px; MNIST's
DRAWING_SIDE = 56  # px of a drawing, twice a digit's: smooth edges survive the shrinking
_INK_SIDE = 20  # px; MNIST's digits fill a box of this side
_FAINT = 32  # of 255; what is fainter is no part of a stroke


@dataclass(frozen=True, eq=False)
class Drawing:
    """A digit that somebody has drawn.

    Attributes:
        digit: (28, 28), uint8, as MNIST's are.
        angle: where it goes at first, degrees, 0 to the right and 90 downwards.
    """

    digit: Tensor
    angle: float


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
    from PIL import Image  # it comes with the page; sampling needs none

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
