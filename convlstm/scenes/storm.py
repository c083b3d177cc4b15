"""Real weather: the blizzard of January 1996 over North America, a frame every six hours.

Axes: B batch, T time (frames), C channels, H height (px, north first), W width (px). Values in
[0, 1]; `Storm.quantities` says what they stand for. Data: `blizzard/README.md`.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from convlstm.checks import SettingError
from convlstm.networks.config import FrameFormat
from convlstm.scenes.scene import (
    SMALLEST_CROP,
    Clip,
    Look,
    Measure,
    Quantity,
    Scene,
    Split,
    pieces,
)
from convlstm.settings import Choice, Integer, setting

Variable = Literal["all", "pressure", "temperature", "wind"]

_FILE = Path(__file__).parent / "blizzard" / "storm.npz"
_START = datetime(1996, 1, 5)
_TRAINING_FRAMES = 48  # the first; nothing is trained on the 16 after them


class _Variable(NamedTuple):
    """What a channel's values stand for, in the file and on the page."""

    name: str  # in the file
    low: float  # what 0 stands for
    high: float  # what 1 stands for
    unit: str
    scale: float  # the file's units in one of `unit`
    shown: tuple[float, float]  # the ends of its colours, in the file's units


_PRESSURE = _Variable("pressure_pa", 96_000, 107_000, "hPa", 100, (97_000, 104_500))
_TEMPERATURE = _Variable("temperature_k", 200, 350, "K", 1, (240, 305))
_EAST = _Variable("wind_east_ms", -35, 35, "m/s", 1, (-25, 25))
_NORTH = _Variable("wind_north_ms", -35, 35, "m/s", 1, (-25, 25))
_QUANTITIES: dict[Variable, tuple[_Variable, ...]] = {
    "all": (_PRESSURE, _TEMPERATURE, _EAST, _NORTH),
    "pressure": (_PRESSURE,),
    "temperature": (_TEMPERATURE,),
    "wind": (_EAST, _NORTH),
}


@dataclass(frozen=True)
class Storm(Scene):
    """Six-hourly weather maps; the first 48 frames are for training, the last 16 for judging it.

    Points that the grid lacks are in the middle of the range for whoever reads them, and count
    neither in a loss nor in a score; a map that is missing whole repeats the one before it.
    """

    name: ClassVar[str] = "storm"
    size: ClassVar[tuple[int, int]] = (33, 36)
    baselines: ClassVar[tuple[str, ...]] = ("copy_last", "climatology")
    validation_sequences: ClassVar[int] = 16
    samples: ClassVar[int] = 8
    look_ahead: ClassVar[int] = 8
    longest_horizon: ClassVar[int] = 8

    variable: Variable = setting(
        "all",
        Choice(get_args(Variable)),
        "what is read and predicted: pressure, temperature, wind (two channels), or all four; of "
        "all, pressure is shown and scored",
        first=True,
    )
    crop: int = setting(
        0,
        Integer(0, 32, "px", choices=(0, 16, 24, 32)),
        "side of the random piece of each map that training sees, 12 to 32 px; 0 for whole maps",
    )

    def check_together(self) -> None:
        """Refuse a piece that is too small."""
        if 0 < self.crop < SMALLEST_CROP:
            raise SettingError("crop", self.crop, "crop", low=SMALLEST_CROP, high=32)

    @property
    def frames(self) -> FrameFormat:
        """What a network must know of the maps."""
        channels = len(_QUANTITIES[self.variable])
        return FrameFormat(channels, (0.5,) * channels, (0.1,) * channels)

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What each channel stands for."""
        return tuple(
            Quantity(
                each.name.rpartition("_")[0], *(end / each.scale for end in each[1:3]), each.unit
            )
            for each in _QUANTITIES[self.variable]
        )

    @property
    def scored(self) -> slice:
        """The channels that scores are of: of one unit."""
        return slice(0, 1) if self.variable == "all" else slice(None)

    @property
    def measure(self) -> Measure:
        """How the squared error is told: as a root, in physical units."""
        _, low, high, unit, scale, _ = _QUANTITIES[self.variable][0]
        return Measure("rmse", (high - low) / scale, unit, 2, "linear")

    @property
    def look(self) -> Look:
        """How the maps are shown."""
        _, low, high, unit, scale, shown = _QUANTITIES[self.variable][0]
        ends = tuple((end - low) / (high - low) for end in shown)
        return Look("map", shown[0] / scale, shown[1] / scale, unit, ends)

    def sample(
        self, batch_size: int, num_frames: int, generator: torch.Generator, split: Split = "train"
    ) -> Clip:
        """Draw windows of the split's frames on the generator's device; training sees crops."""
        device = generator.device
        first, end = (0, _TRAINING_FRAMES) if split == "train" else (_TRAINING_FRAMES, 64)
        starts = torch.randint(
            end - first - num_frames + 1, (batch_size,), generator=generator, device=device
        )
        clip = self._windows(first + starts, num_frames)
        if not self.crop or split != "train":
            return clip
        return pieces(clip, self.crop, generator)

    def validation(self, context_frames: int, horizon: int) -> Clip:
        """Return every window whose predicted frames are all among the last 16."""
        first = max(0, _TRAINING_FRAMES - context_frames)
        frames = context_frames + horizon
        return self._windows(torch.arange(first, 64 - frames + 1), frames)

    def test(self, context_frames: int, horizon: int, count: int, seed: int) -> Iterator[Clip]:
        """Yield the windows of `validation`: there is no other weather to test with."""
        yield self.validation(context_frames, horizon).part(slice(0, count))

    def shown(self, sample: int, context_frames: int, horizon: int) -> Clip:
        """Return one window, of the last frames as far as they reach."""
        frames = context_frames + horizon
        start = self._shown_start(sample, context_frames, frames)
        return self._windows(torch.tensor([start]), frames)

    def times(self, sample: int, context_frames: int, num_frames: int) -> list[str]:
        """Return the dates and hours (UTC) of a shown window's frames."""
        start = self._shown_start(sample, context_frames, num_frames)
        dates = (_START + timedelta(hours=6 * (start + t)) for t in range(num_frames))
        return [f"{date:%m-%d %H}h" for date in dates]

    def baseline(self, name: str, context: Tensor, truth: Tensor) -> Tensor:
        """Return what a predictor that learnt nothing makes of whole maps.

        "climatology" is the mean over the training frames at each point.
        """
        if name == "climatology":
            return _climatology(self.variable).to(truth.device).expand_as(truth)
        return super().baseline(name, context, truth)

    def _shown_start(self, sample: int, context_frames: int, num_frames: int) -> int:
        last = 64 - num_frames
        first = max(0, min(_TRAINING_FRAMES - context_frames, last))
        return first + sample * (last - first) // (self.samples - 1)

    def _windows(self, starts: Tensor, num_frames: int) -> Clip:
        """Return the frames from each of these numbers on, (B,), where the numbers are."""
        at = starts[:, None] + torch.arange(num_frames, device=starts.device)
        return Clip(*(maps[at] for maps in _maps_on(self.variable, starts.device)))


@functools.cache  # a megabyte that never changes, shared by all runs of a process
def _maps(variable: Variable) -> tuple[Tensor, Tensor, Tensor]:
    """Read the maps as they are seen, as they are, and where they are known: (64, C, H, W)."""
    channels = []
    with np.load(_FILE, allow_pickle=False) as file:
        for quantity in _QUANTITIES[variable]:
            maps = torch.from_numpy(file[quantity.name]).flip(1)  # north first
            channels.append((maps - quantity.low) / (quantity.high - quantity.low))
    maps = torch.stack(channels, 1)
    valid = ~maps.isnan()
    clean = torch.where(valid, maps, 0.5)
    observed = clean.clone()
    for channel in range(maps.shape[1]):
        for t in range(1, len(maps)):
            if not valid[t, channel].any():
                observed[t, channel] = observed[t - 1, channel]
    return observed, clean, valid


@functools.cache
def _maps_on(variable: Variable, device: torch.device) -> tuple[Tensor, ...]:
    return tuple(maps.to(device) for maps in _maps(variable))


@functools.cache
def _climatology(variable: Variable) -> Tensor:
    """Return the mean over the training frames at each point, (C, H, W)."""
    _, clean, valid = (maps[:_TRAINING_FRAMES] for maps in _maps(variable))
    mean = (clean * valid).sum(0) / valid.sum(0).clamp(min=1)
    return torch.where(valid.any(0), mean, 0.5)


_BLIZZARD: dict[str, object] = {
    "hidden_channels": 24,
    "kernel_size": 3,
    "num_layers": 2,
    "residual": True,
    "output": "change",
    "context_frames": 6,
    "epochs": 150,
    "batch_size": 2,
    "learning_rate": 3e-3,
    "loss": "l1",
    "weight_decay": 0.01,
    "gradient_clip": 0.1,
    "evaluate_every": 10,
}
PRESETS: dict[str, dict[str, object]] = {
    "blizzard": _BLIZZARD,
    "blizzard-day": {**_BLIZZARD, "horizon": 4, "curriculum": 0.4},
    "blizzard-pressure": {**_BLIZZARD, "variable": "pressure"},
}
