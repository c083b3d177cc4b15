"""What a scene is: the rule by which sequences of moving things come about.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from convlstm.networks.config import FrameFormat
from convlstm.settings import Settings

Split = Literal["train", "validation", "test"]

# A CPU generator reads only the lower 32 bits of a seed. A person's seeds, which weights are drawn
# from, take the lower half of those, and the sequences of training the upper half, so that no run
# draws weights and data from one stream, or trains on what it is judged by: that has seeds near the
# end of the lower half, and whatever a command tests with has its beginning.
DATA_STREAM = 2**31
VALIDATION_SEED = 2**31 - 1
SMALLEST_CROP = 12  # px; a structural similarity needs 11
MAX_TEST_SEED = 2**30 - 1
_DRAWN_AT_ONCE = 50  # sequences; not an option, or the same seed would give other ones


class Clip(NamedTuple):
    """Sequences: context first, then the frames to predict.

    Attributes:
        observed: what a network sees, (B, T, C, H, W).
        clean: the truth that it is asked for; the same tensor where nothing spoils it.
        valid: where the truth is known, bool, (B, T, C, H, W); None where it is everywhere.
        hidden: whether a frame observed shows nothing of what moves, bool, (B, T); None where the
            scene hides nothing.
    """

    observed: Tensor
    clean: Tensor
    valid: Tensor | None = None
    hidden: Tensor | None = None

    def part(self, sequences: slice) -> "Clip":
        """Return some of the sequences."""
        return Clip(*(None if t is None else t[sequences] for t in self))

    def frames(self, count: int) -> "Clip":
        """Return the first frames."""
        return Clip(*(None if t is None else t[:, :count] for t in self))

    def to(self, device: torch.device | str) -> "Clip":
        """Return the clip on a device."""
        return Clip(*(None if t is None else t.to(device) for t in self))

    def split(self, context_frames: int) -> "tuple[Tensor, Tensor, Tensor | None]":
        """Return the context observed, the truth that follows, and where that is known."""
        valid = None if self.valid is None else self.valid[:, context_frames:]
        return self.observed[:, :context_frames], self.clean[:, context_frames:], valid

    def unseen(self, context_frames: int) -> Tensor | None:
        """Return which sequences show nothing of what moves in their newest frame seen, (B,)."""
        return None if self.hidden is None else self.hidden[:, context_frames - 1]


@dataclass(frozen=True)
class Measure:
    """How a scene's squared error is told to a person.

    Attributes:
        kind: "mse" or "rmse", its root.
        factor: what the mean over pixels (or its root) is multiplied by.
        unit: a key of the page's texts, or empty.
        digits: behind the point; None for two figures.
        axis: of a chart of it.
    """

    kind: Literal["mse", "rmse"] = "mse"
    factor: float = 1.0
    unit: str = ""
    digits: int | None = None
    axis: Literal["log", "linear"] = "log"

    def of(self, mse: float) -> float:
        """Return a mean squared error per pixel, of values in [0, 1], as a person reads it."""
        return self.factor * (mse**0.5 if self.kind == "rmse" else mse)


@dataclass(frozen=True)
class Look:
    """How a page shows a scene's frames.

    Attributes:
        colours: "grey", "colour" for red, green and blue, or "map" for a colour map with a bar.
        low: the physical value at the low end of the colours.
        high: at their high end.
        unit: of both; a key of the page's texts, or empty.
        ends: the values, in [0, 1], that both stand for.
        close_up: whether what moves is so small that a close-up helps.
        drawable: whether a viewer may draw something that moves.
    """

    colours: Literal["grey", "colour", "map"] = "grey"
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    ends: tuple[float, float] = (0.0, 1.0)
    close_up: bool = False
    drawable: bool = False

    def on_scale(self, frames: np.ndarray) -> np.ndarray:
        """Turn values into places on the scale of colours, 0 at its low end and 1 at its high."""
        first, last = self.ends
        return (frames - first) / (last - first)


class Quantity(NamedTuple):
    """What a channel's values stand for.

    Attributes:
        name: for a person.
        low: what 0 stands for.
        high: what 1 stands for.
        unit: of both; empty for none.
    """

    name: str = "intensity"
    low: float = 0.0
    high: float = 1.0
    unit: str = ""


@dataclass(frozen=True)
class Scene(Settings, ABC):
    """A scene: settings, and a sampler of clips.

    Attributes:
        name: by which files, links and the page know it.
        frames: what a network must know of the frames.
        scored: the channels that scores are of.
        measure: how its squared error is told.
        look: how its frames are shown.
        baselines: the predictors that learnt nothing, and that every score stands beside.
        validation_sequences: how many are drawn for the validation set.
        samples: sequences that the page's stage offers.
        look_ahead: frames that the stage predicts at least.
        longest_horizon: frames that a training may predict.
        longest_sequence: frames that a training may read and predict together; None for any.
        brings: whether a person may bring what it shows.
        draws_on_device: whether `sample` keeps to the generator's device, and never waits for it.
    """

    name: ClassVar[str]
    frames: ClassVar[FrameFormat]
    scored: ClassVar[slice] = slice(None)
    measure: ClassVar[Measure] = Measure()
    look: ClassVar[Look] = Look()
    baselines: ClassVar[tuple[str, ...]] = ("copy_last", "black")
    validation_sequences: ClassVar[int]
    samples: ClassVar[int]
    look_ahead: ClassVar[int] = 10
    longest_horizon: ClassVar[int] = 20
    longest_sequence: ClassVar[int | None] = None
    brings: ClassVar[bool] = False
    draws_on_device: ClassVar[bool] = True

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """H and W of a whole frame, px."""

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What each channel stands for: brightness, or of three channels the colours."""
        if self.frames.channels == 3:
            return tuple(map(Quantity, ("red", "green", "blue")))
        return (Quantity(),) * self.frames.channels

    @property
    def hides(self) -> bool:
        """Whether frames observed may show nothing of what moves; `Clip.hidden` says which."""
        return False

    @property
    def pace(self) -> float | None:
        """The fastest that anything moves, px a frame; None where nobody knows."""
        return None

    @property
    def data(self) -> Mapping[str, Tensor]:
        """What a file must hold, besides the settings, to make the scene again, by name."""
        return {}

    @property
    def data_shapes(self) -> Mapping[str, tuple[str, list[int | range]]]:
        """The type, as safetensors names it, and the sizes that each of `data` may have."""
        return {}

    @property
    def mib(self) -> float:
        """Memory that what it shows takes and that no other run shares, MiB."""
        return 0.0

    def holding(self, data: Mapping[str, Tensor]) -> "Scene":
        """Return the scene with the `data` of a file.

        Raises:
            SettingError: they are none of this scene's, or do not go with its settings.
        """
        return self

    def like(self, other: "Scene") -> "Scene":
        """Return the scene with what another of its class shows, and these settings.

        Raises:
            SettingError: that does not go with the settings.
        """
        return self

    def at(self, progress: float) -> "Scene":
        """Return the scene that training sees when that share of the run is done.

        Scores and pictures are always of the scene itself.
        """
        return self

    @abstractmethod
    def sample(
        self, batch_size: int, num_frames: int, generator: torch.Generator, split: Split = "train"
    ) -> Clip:
        """Draw sequences on the generator's device.

        Args:
            batch_size: B, number of sequences.
            num_frames: T, frames of each.
            generator: the only source of randomness.
            split: whose things move: what is judged is never trained on.
        """

    def validation(self, context_frames: int, horizon: int) -> Clip:
        """Return the sequences that a training is judged by, the same ones at every call."""
        generator = torch.Generator().manual_seed(VALIDATION_SEED)
        frames = context_frames + horizon
        return self.sample(self.validation_sequences, frames, generator, "validation")

    def test(self, context_frames: int, horizon: int, count: int, seed: int) -> Iterator[Clip]:
        """Yield sequences that no training draws.

        The first ones of a seed are the same whatever the count, the device and the horizon, up to
        the longest of a training: noise is drawn frame by frame.
        """
        generator = torch.Generator().manual_seed(seed)
        drawn_frames = context_frames + max(horizon, self.longest_horizon)
        for start in range(0, count, _DRAWN_AT_ONCE):
            drawn = self.sample(_DRAWN_AT_ONCE, drawn_frames, generator, "test")
            yield drawn.part(slice(0, count - start)).frames(context_frames + horizon)

    @abstractmethod
    def shown(self, sample: int, context_frames: int, horizon: int) -> Clip:
        """Return one sequence for the page's stage, of `samples`."""

    def times(self, sample: int, context_frames: int, num_frames: int) -> list[str] | None:
        """Return when the frames of a shown sequence were; None where they never were."""
        return None

    def baseline(self, name: str, context: Tensor, truth: Tensor) -> Tensor:
        """Return what a predictor that learnt nothing makes of a context.

        Args:
            name: of `baselines`.
            context: frames seen, (B, T, C, H, W).
            truth: the frames that follow, of whose shape the prediction is.
        """
        if name == "copy_last":
            return context[:, -1:].expand_as(truth)
        return torch.zeros_like(truth)


def pieces(clip: Clip, side: int, generator: torch.Generator) -> Clip:
    """Cut a square out of each sequence, at a random place that is the same in all of its frames.

    Args:
        clip: sequences on the generator's device.
        side: of the squares, px.
        generator: draws the places.
    """
    clean, device = clip.clean, generator.device
    corner = torch.rand(len(clean), 2, generator=generator, device=device)
    offset = torch.arange(side, device=device)
    rows, columns = (
        (corner[:, axis] * (sides - side + 1)).long()[:, None] + offset  # (B, side)
        for axis, sides in enumerate(clean.shape[-2:])
    )

    def cut(frames: Tensor | None) -> Tensor | None:
        if frames is None:
            return None
        frames = frames.take_along_dim(rows[:, None, None, :, None], 3)
        return frames.take_along_dim(columns[:, None, None, None, :], 4)

    observed = cut(clip.observed)
    truth = observed if clean is clip.observed else cut(clean)
    return Clip(observed, truth, cut(clip.valid), clip.hidden)


def lossless_bytes(values: Tensor) -> Tensor:
    """Return values in [0, 1] as bytes if they are all whole 255ths, or else as they are.

    A quarter of the memory: each run of a server keeps a validation set of its own.
    """
    as_bytes = (255 * values).round().byte()
    return as_bytes if torch.equal(as_bytes.float() / 255, values) else values
