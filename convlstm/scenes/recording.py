"""Recordings: frames that somebody brought, from a camera, a video, a picture file or an array.

Axes: T time (frames), S side (px), C channels, 1 for grey or 3 for red, green and blue.
"""

import functools
import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from convlstm.checks import SettingError

MIN_FRAMES, MAX_FRAMES = 20, 600
MIN_SIDE, MAX_SIDE = 16, 96  # px of its square frames; no canvas is larger
_LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
_STILL = 1e-6  # a mean squared change from frame to frame, of values in [0, 1], that nobody sees
_EXAMPLE_KEEPS = 8  # which all runs of a process share
_AT_ONCE = 100  # frames that are scaled in one go


class Recording:
    """Frames that never change, known by what they show.

    Args:
        frames: (T, S, S, C), uint8, of 20 to 600 frames of 16 to 96 px.
        keeps: how many ways in which scenes show it are kept in memory.

    Raises:
        SettingError: there are too few or too many, they are of another kind or size, or nothing
            moves in them.
    """

    def __init__(self, frames: np.ndarray, *, keeps: int = 1) -> None:
        shape = frames.shape
        is_kind = frames.dtype == np.uint8 and len(shape) == 4 and shape[3] in (1, 3)
        if not is_kind or shape[1] != shape[2] or not MIN_SIDE <= shape[1] <= MAX_SIDE:
            raise SettingError("clip", shape, "clip side", low=MIN_SIDE, high=MAX_SIDE)
        check_frames(len(frames))
        self.frames = np.array(frames, order="C")
        self.frames.flags.writeable = False
        changes = (self.frames[1:].astype(np.int16) - self.frames[:-1]) / np.float32(255)
        if np.square(changes).mean() < _STILL:
            raise SettingError("clip", f"{len(frames)} frames", "clip still")
        self._key = shape, hashlib.blake2b(self.frames).digest()
        self._keeps = keeps
        self._scaled: tuple[tuple[tuple[int, int, int], Tensor], ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recording) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, side: int, channels: int, every: int) -> Tensor:
        """Return the frames as a scene shows them.

        Args:
            side: of a frame, px.
            channels: 1 for grey, 3 for colours.
            every: takes the first frame, and each so many frames later.

        Returns:
            (T, channels, side, side), uint8.
        """
        asked = side, channels, every
        for known, scaled in self._scaled:
            if known == asked:
                return scaled
        frames = torch.from_numpy(self.frames[::every].copy()).permute(0, 3, 1, 2)
        scaled = torch.cat([_scaled(part, side, channels) for part in frames.split(_AT_ONCE)])
        # At once, since the page's questions and training come in different threads.
        self._scaled = (*self._scaled[1 - self._keeps :][: self._keeps - 1], (asked, scaled))
        return scaled


def check_frames(count: int) -> None:
    """Refuse a number of frames from which nothing could be learnt and judged, or far too many.

    Raises:
        SettingError: it is such a number.
    """
    if not MIN_FRAMES <= count <= MAX_FRAMES:
        limits = {"low": MIN_FRAMES, "high": MAX_FRAMES}
        raise SettingError("clip", f"{count:,} frames", "clip frames", **limits)


@functools.cache  # a few MiB that never change
def example() -> Recording:
    """Return what the scene shows until somebody brings a clip: a pendulum that swings in a room.

    Its swings grow and shrink, so that no frame is quite like an earlier one.
    """
    side, time = 64, np.arange(MAX_FRAMES)
    y, x = np.mgrid[:side, :side] / (side - 1)
    angle = (0.75 + 0.25 * np.sin(2 * np.pi * time / 173)) * np.sin(2 * np.pi * time / 31)
    pivot, length = (0.5, 0.08), 0.72
    bob_x, bob_y = pivot[0] + length * np.sin(angle), pivot[1] + length * np.cos(angle)
    frames = np.empty((MAX_FRAMES, side, side, 3), np.float32)
    room = np.stack([0.10 + 0.10 * y, 0.12 + 0.10 * y, 0.20 + 0.12 * y], -1)
    string, bob = np.array([0.75, 0.8, 0.85]), np.array([0.95, 0.55, 0.15])
    for t in range(MAX_FRAMES):
        along = np.array([bob_x[t] - pivot[0], bob_y[t] - pivot[1]])
        part = ((x - pivot[0]) * along[0] + (y - pivot[1]) * along[1]) / length**2
        part = part.clip(0, 1)
        beside = np.hypot(x - pivot[0] - part * along[0], y - pivot[1] - part * along[1])
        from_bob = np.hypot(x - bob_x[t], y - bob_y[t])
        line = (1.5 - side * beside).clip(0, 1)[..., None]
        disc = (side * (0.11 - from_bob) + 0.5).clip(0, 1)[..., None]
        frames[t] = (room * (1 - line) + string * line) * (1 - disc) + bob * disc
    return Recording((255 * frames).round().astype(np.uint8), keeps=_EXAMPLE_KEEPS)


def _scaled(frames: Tensor, side: int, channels: int) -> Tensor:
    values = frames.float()
    if channels < frames.shape[1]:
        weights = torch.tensor(_LUMINANCE).view(1, 3, 1, 1)
        values = (weights * values).sum(1, keepdim=True)
    if side != frames.shape[2]:
        values = F.interpolate(values, size=(side, side), mode="bilinear", antialias=True)
    return values.round().clamp(0, 255).byte().expand(-1, channels, -1, -1).contiguous()
