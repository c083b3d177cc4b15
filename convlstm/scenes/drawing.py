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
    """Make a digit of what somebody has drawn, as MNIST's were: fitted in a box, centred by mass.

    Args:
        pixels: 56 x 56 grey values, row by row, whole numbers from 0 (black) to 255.
        angle: where it shall go, degrees in [0, 360].

    Raises:
        SettingError: the drawing is none, or empty, or the angle is no such number.
    """
    from PIL import Image  # it comes with the page; sampling needs none

    count = DRAWING_SIDE**2
    is_drawing = (
        isinstance(pixels, Sequence)
        and len(pixels) == count
        and all(type(value) is int and 0 <= value <= 255 for value in pixels)
        and max(pixels) > _FAINT
    )
    if not is_drawing:
        raise SettingError("drawing", "empty or no drawing", "drawing", count=count)
    angle = check_number("angle", angle, 0, 360)
    picture = Image.frombytes("L", (DRAWING_SIDE, DRAWING_SIDE), bytes(pixels))
    ink = picture.crop(picture.point(lambda value: 255 * (value > _FAINT)).getbbox())
    scale = _INK_SIDE / max(ink.size)
    size = [max(1, round(side * scale)) for side in ink.size]
    small = ink.resize(size, Image.Resampling.LANCZOS)
    weights = np.asarray(small, dtype=np.float64) / np.sum(small)
    corner = []
    for axis, side in enumerate(size):
        centre = (weights.sum(axis) * (np.arange(side) + 0.5)).sum()
        corner.append(min(max(round(DIGIT_SIZE / 2 - centre), 0), DIGIT_SIZE - side))
    digit = Image.new("L", (DIGIT_SIZE, DIGIT_SIZE))
    digit.paste(small, tuple(corner))
    return Drawing(torch.from_numpy(np.array(digit)), angle)
