"""Moving digits: handwritten digits over black, made a whole batch at once on the run's device.

The protocol is Moving MNIST's (Srivastava et al. 2015, arXiv:1502.04681, with the mathematics of
OpenSTL's generator). Axes: B batch, N digits, T time (frames), H height (px), W width (px).
Intensities in [0, 1].
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from convlstm.checks import check_choice
from convlstm.networks.config import FrameFormat
from convlstm.scenes.drawing import DIGIT_SIZE, Drawing
from convlstm.scenes.scene import Clip, Look, Measure, Scene, Split
from convlstm.settings import Flag, Integer, Number, setting

_FILES = Path(__file__).parent / "mnist"
_VALIDATION_DIGITS = 5000  # the last of MNIST's 60,000 training digits; nothing is trained on them
_DRAWN_AT_ONCE = 500  # sequences; bounds the memory of a large batch
_SHOWN_SEED = 2**31 - 100  # near the validation set's, where nothing is trained


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


@dataclass(frozen=True)
class Digits(Scene):
    """Handwritten digits that move over black. The defaults are the protocol's.

    Start x, y uniform in [0, 1) of the room that a digit has, direction uniform; a step is taken
    before every frame, the first too. A digit that leaves is put back onto the wall and turns.
    Digits overlap by the maximum.
    """

    name: ClassVar[str] = "digits"
    frames: ClassVar[FrameFormat] = FrameFormat(start_logit=-3.0)
    look: ClassVar[Look] = Look(drawable=True)
    validation_sequences: ClassVar[int] = 128
    samples: ClassVar[int] = 20

    num_digits: int = setting(
        2, Integer(1, 3, choices=(1, 2, 3)), "digits in a sequence", first=True
    )
    speed: float = setting(
        3.6,
        Number(0, 8, "px/frame"),
        "px a frame, in a direction of its own for each digit",
        first=True,
    )
    canvas: int = setting(
        64, Integer(32, 128, "px", choices=(32, 48, 64, 96, 128)), "side of the frame in px"
    )
    flips: bool = setting(
        False, Flag(), "whether sequences are mirrored at random, left to right and top to bottom"
    )

    @property
    def size(self) -> tuple[int, int]:
        """H and W of a frame, px."""
        return self.canvas, self.canvas

    @property
    def pace(self) -> float:
        """How fast a digit moves, px a frame."""
        return self.speed

    @property
    def measure(self) -> Measure:
        """How its squared error is told: summed over a frame, as in the published tables."""
        return Measure("mse", self.canvas**2, "frame", 1, "linear")

    def sample(
        self, batch_size: int, num_frames: int, generator: torch.Generator, split: Split = "train"
    ) -> Clip:
        """Draw sequences on the generator's device, of the split's own handwritten digits.

        Only those of training are mirrored.
        """
        device = generator.device
        digits = _digits_on(split, device)
        shape = (batch_size, self.num_digits)
        chosen = torch.randint(len(digits), shape, generator=generator, device=device)
        # As exact as the protocol's own arithmetic, where the device can.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        uniform = torch.rand(3, *shape, generator=generator, device=device, dtype=dtype)
        flips = torch.rand(2, batch_size, generator=generator, device=device) < 0.5
        start, angle = uniform[:2], 2 * math.pi * uniform[2]
        room = self.canvas - DIGIT_SIZE
        velocity = torch.stack([angle.cos(), angle.sin()]) * (self.speed / room)
        corners = (room * trajectory(start, velocity, num_frames)).int()  # (T, 2, B, N)
        corners = corners.permute(2, 3, 0, 1)
        parts = zip(*(t.split(_DRAWN_AT_ONCE) for t in (digits[chosen], corners)), strict=True)
        frames = torch.cat([paste(pictures, where, self.canvas) for pictures, where in parts])
        if self.flips and split == "train":
            for axis, flip in zip((-1, -2), flips, strict=True):
                frames = torch.where(flip[:, None, None, None], frames.flip(axis), frames)
        return _clip(frames)

    def shown(self, sample: int, context_frames: int, horizon: int) -> Clip:
        """Return one sequence of test digits for the page's stage."""
        generator = torch.Generator().manual_seed(_SHOWN_SEED + sample)
        return self.sample(1, context_frames + horizon, generator, "test")

    def drawn(self, drawing: Drawing, num_frames: int) -> Clip:
        """Set a drawing moving by the scene's rules, alone, from the middle."""
        turn = math.radians(drawing.angle)
        velocity = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
        room = self.canvas - DIGIT_SIZE
        start = torch.full((2,), 0.5, dtype=torch.float64)
        corners = room * trajectory(start, velocity * self.speed / room, num_frames)
        return _clip(paste(drawing.digit[None, None], corners.int()[None, None], self.canvas))


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


def paste(pictures: Tensor, corners: Tensor, canvas: int) -> Tensor:
    """Draw digits onto black frames.

    Args:
        pictures: (B, N, 28, 28), uint8.
        corners: left and top of each in each frame, px, (B, N, T, 2), integer.
        canvas: side of a frame, px.

    Returns:
        (B, T, H, W), uint8.
    """
    B, N, T, _ = corners.shape
    device = pictures.device
    frames = torch.zeros(B, T, canvas * canvas, dtype=torch.uint8, device=device)
    pixel = torch.arange(DIGIT_SIZE, device=device)
    offsets = (pixel[:, None] * canvas + pixel).flatten()  # of a digit's pixels from its corner
    left, top = corners.long().unbind(-1)
    for n in range(N):
        places = (top[:, n] * canvas + left[:, n])[..., None] + offsets  # (B, T, 784)
        picture = pictures[:, n].flatten(1)[:, None].expand(-1, T, -1)
        frames.scatter_(2, places, torch.maximum(frames.gather(2, places), picture))
    return frames.view(B, T, canvas, canvas)


def _clip(frames: Tensor) -> Clip:
    """Make a clip of frames (B, T, H, W), uint8."""
    frames = frames[:, :, None].float().div_(255)
    return Clip(frames, frames)


@functools.cache
def _digits_on(split: Split, device: torch.device) -> Tensor:
    return read_digits(split).to(device)


def _read(name: str) -> Tensor:
    with np.load(_FILES / f"{name}.npz", allow_pickle=False) as file:
        return torch.from_numpy(file["images"])


# Ten frames from ten, learnt on patches of pixels.
_DIGITS: dict[str, object] = {
    "patch_size": 4,
    "hidden_channels": 64,
    "num_layers": 3,
    "kernel_size": 3,
    "residual": True,
    "context_frames": 10,
    "horizon": 10,
    "epochs": 30_000,
    "optimizer": "muon",
    "learning_rate": 6e-3,
    "weight_decay": 0.1,
    "loss": "bce+ssim",
    "curriculum": 0.4,
    "evaluate_every": 500,
}
# Small enough to learn on a CPU: it moves what was there, and need not draw it.
_COMPACT: dict[str, object] = {
    **_DIGITS,
    "patch_size": 8,
    "hidden_channels": 104,
    "output": "transport",
}
_SMALL: dict[str, object] = {
    **_DIGITS,
    "num_digits": 1,
    "hidden_channels": 32,
    "num_layers": 2,
    "epochs": 1000,
    "learning_rate": 0.01,
    "evaluate_every": 100,
}
PRESETS: dict[str, dict[str, object]] = {
    "one-digit": {
        **_SMALL,
        "patch_size": 8,
        "hidden_channels": 64,
        "epochs": 600,
        "learning_rate": 7e-3,
        "output": "transport",
        "ssim_weight": 1.0,
    },
    "two-digits": {**_COMPACT, "epochs": 1500, "evaluate_every": 150},
    "states-only": {**_SMALL, "rollout": "states"},
    "moving-mnist-compact": {
        **_COMPACT,
        "epochs": 24_000,
        "batch_size": 8,
        "curriculum": 0.3,
        "evaluate_every": 1000,
    },
    "moving-mnist-article": {  # three scales, with every technique of the article; for a GPU
        **_DIGITS,
        "architecture": "multiscale",
        "patch_size": 1,
        "kernel_size": 5,
        "attention": True,
        "epochs": 100_000,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 3e-3,
        "warm_up": 0.3,
        "weight_decay": 1e-5,
        "loss": "mse+ssim",
        "targets": "future",
        "curriculum": 0.5,
        "patience": 20,
        "augmented": True,
    },
    "moving-mnist-openstl": {  # the tables' ConvLSTM, but correct; for a GPU
        **_DIGITS,
        "hidden_channels": 128,
        "num_layers": 4,
        "kernel_size": 5,
        "epochs": 125_000,
        "batch_size": 16,
    },
}
