"""Moving digits: a configuration, and whole batches made at once on the run's device.

The protocol is Moving MNIST's (Srivastava et al. 2015, arXiv:1502.04681, with the mathematics of
OpenSTL's generator). Axes: B batch, N digits, T time (frames), H height (px), W width (px).
Intensities in [0, 1].
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from convlstm.checks import check_choice, check_flag, check_integer, check_number, normalise

Split = Literal["train", "validation", "test"]

DIGIT_SIZE = 28  # px
_FILES = Path(__file__).parent / "mnist"
_VALIDATION_DIGITS = 5000  # the last of MNIST's 60,000 training digits; nothing is trained on them
_DRAWN_AT_ONCE = 500  # sequences; bounds the memory of a large batch


@dataclass(frozen=True)
class DigitsConfig:
    """A scene of handwritten digits that move over black. The defaults are the protocol's.

    Attributes:
        canvas: side of the frame in px, 32 to 128.
        num_digits: digits in a sequence, 1 to 3.
        speed: px a frame, in a direction of its own for each digit, 0 to 8.
        flips: whether sequences are mirrored at random, left to right and top to bottom.
    """

    canvas: int = 64
    num_digits: int = 2
    speed: float = 3.6
    flips: bool = False

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: a field is outside its range.
        """
        normalise(
            self,
            canvas=check_integer("canvas", self.canvas, 32, 128),
            num_digits=check_integer("num_digits", self.num_digits, 1, 3),
            speed=check_number("speed", self.speed, 0, 8),
            flips=check_flag("flips", self.flips),
        )


@functools.cache  # 47 MB that never change, shared by all runs of a process
def read_digits(split: Split) -> Tensor:
    """Read the handwritten digits of a split: (n, 28, 28), uint8.

    Train has 55,000 digits, validation the other 5,000 of MNIST's training set, test its 10,000.

    Raises:
        SettingError: there is no such split.
    """
    check_choice("split", split, get_args(Split))
    if split == "test":
        return _read("test")
    digits = torch.cat([_read("train-1"), _read("train-2")])
    if split == "validation":
        return digits[-_VALIDATION_DIGITS:].clone()
    return digits[:-_VALIDATION_DIGITS]


def sample_digits(
    config: DigitsConfig,
    digits: Tensor,
    batch_size: int,
    num_frames: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw sequences of moving digits on the generator's device.

    Start x, y uniform in [0, 1) of the room that a digit has, direction uniform; a step is taken
    before every frame, the first too. A digit that leaves is put back onto the wall and turns.
    Digits overlap by the maximum.

    Args:
        config: the scene.
        digits: the handwritten digits to choose from, (n, 28, 28), uint8, on any device.
        batch_size: B, number of sequences.
        num_frames: T, frames of each.
        generator: the only source of randomness.

    Returns:
        (B, T, 1, H, W), float32 in [0, 1].
    """
    device = generator.device
    shape = (batch_size, config.num_digits)
    chosen = torch.randint(len(digits), shape, generator=generator, device=device)
    # As exact as the protocol's own arithmetic, where the device can.
    dtype = torch.float32 if device.type == "mps" else torch.float64
    uniform = torch.rand(3, *shape, generator=generator, device=device, dtype=dtype)
    flips = torch.rand(2, batch_size, generator=generator, device=device) < 0.5
    start, angle = uniform[:2], 2 * math.pi * uniform[2]
    room = config.canvas - DIGIT_SIZE
    velocity = torch.stack([angle.cos(), angle.sin()]) * (config.speed / room)
    corners = (room * trajectory(start, velocity, num_frames)).int()  # (T, 2, B, N)
    corners = corners.permute(2, 3, 0, 1)
    pictures = digits[chosen.to(digits.device)].to(device)
    frames = torch.cat(
        [
            paste(pictures[at : at + _DRAWN_AT_ONCE], corners[at : at + _DRAWN_AT_ONCE], config)
            for at in range(0, batch_size, _DRAWN_AT_ONCE)
        ]
    )
    if config.flips:
        for axis, flip in zip((-1, -2), flips, strict=True):
            frames[flip] = frames[flip].flip(axis)
    return frames[:, :, None].float().div_(255)


def trajectory(start: Tensor, velocity: Tensor, num_frames: int) -> Tensor:
    """Move points in the unit square, which turn at its walls.

    Args:
        start: positions in [0, 1], any shape.
        velocity: what is added in a frame, the same shape.
        num_frames: T.

    Returns:
        Positions after 1 to T steps, (T, ...).
    """
    position, positions = start, []
    for _ in range(num_frames):
        position = position + velocity
        velocity = torch.where((position <= 0) | (position >= 1), -velocity, velocity)
        position = position.clamp(0, 1)
        positions.append(position)
    return torch.stack(positions)


def paste(pictures: Tensor, corners: Tensor, config: DigitsConfig) -> Tensor:
    """Draw digits onto black frames.

    Args:
        pictures: (B, N, 28, 28), uint8.
        corners: left and top of each in each frame, px, (B, N, T, 2), integer.
        config: the scene.

    Returns:
        (B, T, H, W), uint8.
    """
    B, N, T, _ = corners.shape
    side, device = config.canvas, pictures.device
    canvas = torch.zeros(B, T, side * side, dtype=torch.uint8, device=device)
    pixel = torch.arange(DIGIT_SIZE, device=device)
    offsets = (pixel[:, None] * side + pixel).flatten()  # of a digit's pixels from its corner
    left, top = corners.long().unbind(-1)
    for n in range(N):
        places = (top[:, n] * side + left[:, n])[..., None] + offsets  # (B, T, 784)
        picture = pictures[:, n].flatten(1)[:, None].expand(-1, T, -1)
        canvas.scatter_(2, places, torch.maximum(canvas.gather(2, places), picture))
    return canvas.view(B, T, side, side)


def _read(name: str) -> Tensor:
    with np.load(_FILES / f"{name}.npz", allow_pickle=False) as file:
        return torch.from_numpy(file["images"])
