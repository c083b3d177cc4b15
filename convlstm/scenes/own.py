"""One's own clip: what somebody brought, of which the last fifth is for judging alone.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from convlstm.checks import SettingError
from convlstm.networks.config import FrameFormat
from convlstm.scenes.recording import MAX_FRAMES, MAX_SIDE, MIN_FRAMES, MIN_SIDE, Recording, example
from convlstm.scenes.scene import SMALLEST_CROP, Clip, Look, Scene, Split, pieces
from convlstm.settings import Choice, Integer, setting

Colours = Literal["grey", "colour"]

_HELD_OUT = 5  # one frame of so many is for judging, and they are the last ones
_MOST_JUDGED = 32  # sequences of the validation set
_UNLIKE = 1.0  # a distance between what is trained on and what is judged, in variances of the first


@dataclass(frozen=True)
class Own(Scene):
    """A person's own clip.

    Attributes:
        recording: what they brought; an example until then.
    """

    name: ClassVar[str] = "own"
    baselines: ClassVar[tuple[str, ...]] = ("copy_last", "mean_frame")
    samples: ClassVar[int] = 8
    brings: ClassVar[bool] = True
    draws_on_device: ClassVar[bool] = False

    canvas: int = setting(
        48,
        Integer(32, 96, "px", choices=(32, 48, 64, 96)),
        "side of the square frames that the clip is scaled to, in px",
        first=True,
    )
    colours: Colours = setting(
        "colour", Choice(get_args(Colours)), "whether frames are grey or in colour", first=True
    )
    every: int = setting(
        1, Integer(1, 20), "takes one of so many frames of the clip: what moves is faster then"
    )
    crop: int = setting(
        0,
        Integer(0, 64, "px", choices=(0, 16, 24, 32)),
        "side of the random piece of each frame that training sees, 12 px or more; 0 for whole "
        "frames",
    )
    recording: Recording = field(default_factory=example, repr=False)

    def check_together(self) -> None:
        """Refuse what leaves too little of the clip."""
        if self.count < MIN_FRAMES:
            high = (len(self.recording) - 1) // (MIN_FRAMES - 1)
            raise SettingError("every", self.every, "every", high=high)
        if 0 < self.crop < SMALLEST_CROP or self.crop > self.canvas:
            raise SettingError("crop", self.crop, "piece", low=SMALLEST_CROP, high=self.canvas)

    @property
    def size(self) -> tuple[int, int]:
        """H and W of a whole frame, px."""
        return self.canvas, self.canvas

    @property
    def frames(self) -> FrameFormat:
        """What a network must know of the frames."""
        channels = 1 if self.colours == "grey" else 3
        return FrameFormat(channels, (0.5,) * channels, (0.25,) * channels)

    @property
    def look(self) -> Look:
        """How the frames are shown."""
        return Look(self.colours)

    @property
    def count(self) -> int:
        """The frames of the clip that are taken."""
        return -(-len(self.recording) // self.every)

    @property
    def trained_frames(self) -> int:
        """The frames that training may see, from the first."""
        return self.count - self.count // _HELD_OUT

    @property
    def longest_horizon(self) -> int:
        """Frames that a training may predict: no more than are held out."""
        return min(20, self.count // _HELD_OUT)

    @property
    def look_ahead(self) -> int:
        """Frames that the stage predicts at least."""
        return min(10, self.count // _HELD_OUT)

    @property
    def longest_sequence(self) -> int:
        """Frames that training may see in a row."""
        return self.trained_frames

    @property
    def validation_sequences(self) -> int:
        """How many sequences the validation set has at most."""
        return min(_MOST_JUDGED, self.count // _HELD_OUT)

    @property
    def data(self) -> Mapping[str, Tensor]:
        """The clip, where somebody brought one."""
        if self.recording == example():
            return {}
        return {"recording": torch.from_numpy(self.recording.frames.copy())}

    @property
    def data_shapes(self) -> Mapping[str, tuple[str, list[int | range]]]:
        """The sizes that a clip may have."""
        side = range(MIN_SIDE, MAX_SIDE + 1)
        return {"recording": ("U8", [range(MIN_FRAMES, MAX_FRAMES + 1), side, side, range(1, 4)])}

    @property
    def mib(self) -> float:
        """Memory of the clip, as it was brought and as it is shown, MiB."""
        if self.recording == example():
            return 0.0
        shown = self.count * self.frames.channels * self.canvas**2
        return (self.recording.frames.nbytes + shown) / 2**20

    def holding(self, data: Mapping[str, Tensor]) -> "Own":
        """Return the scene with the clip of a file.

        Raises:
            SettingError: it is no clip, or too short for these settings.
        """
        if not data:
            return self
        return replace(self, recording=Recording(data["recording"].cpu().numpy()))

    def like(self, other: Scene) -> "Own":
        """Return the scene with another's clip."""
        return replace(self, recording=other.recording)

    def is_unlike(self) -> bool:
        """Whether what training is judged by looks unlike all that it sees."""
        frames = self._frames.float() / 255
        seen, judged = frames[: self.trained_frames], frames[self.trained_frames :]
        mean = seen.mean(0)
        return bool(
            (judged.mean(0) - mean).square().mean() > _UNLIKE * (seen - mean).square().mean()
        )

    def sample(
        self, batch_size: int, num_frames: int, generator: torch.Generator, split: Split = "train"
    ) -> Clip:
        """Draw windows on the generator's device: for training of its frames, and pieces of them.

        What is judged may begin among the frames of training, so far as it is only read there.
        """
        device = generator.device
        last = (self.trained_frames if split == "train" else self.count) - num_frames
        first = 0 if split == "train" else max(0, last + 1 - self.count // _HELD_OUT)
        starts = torch.randint(first, last + 1, (batch_size,), generator=generator, device=device)
        clip = self._windows(starts.tolist(), num_frames).to(device)
        if not self.crop or split != "train":
            return clip
        return pieces(clip, self.crop, generator)

    def validation(self, context_frames: int, horizon: int) -> Clip:
        """Return windows whose predicted frames are all held out, evenly spread.

        They begin where those of a shorter horizon begin.
        """
        first = max(0, self.trained_frames - context_frames)
        last = self.count - context_frames - horizon
        step = -(-(self.count // _HELD_OUT) // _MOST_JUDGED)
        return self._windows(list(range(first, last + 1, step)), context_frames + horizon)

    def test(self, context_frames: int, horizon: int, count: int, seed: int) -> Iterator[Clip]:
        """Yield the windows of `validation`: there is no other clip to test with."""
        yield self.validation(context_frames, horizon).part(slice(0, count))

    def shown(self, sample: int, context_frames: int, horizon: int) -> Clip:
        """Return one window, of the frames held out as far as they reach."""
        last = max(0, self.count - context_frames - horizon)
        first = min(last, max(0, self.trained_frames - context_frames))
        start = first + sample * (last - first) // (self.samples - 1)
        return self._windows([start], context_frames + horizon)

    def beyond(self, context_frames: int, horizon: int) -> Clip:
        """Return the end of the clip, and nothing that is known of what comes after it."""
        return self._windows([self.count - context_frames], context_frames + horizon)

    def baseline(self, name: str, context: Tensor, truth: Tensor) -> Tensor:
        """Return what a predictor that learnt nothing makes of whole frames.

        "mean_frame" is the mean over the frames of training.
        """
        if name == "mean_frame":
            mean = self._frames[: self.trained_frames].float().mean(0) / 255
            return mean.to(truth.device).expand_as(truth)
        return super().baseline(name, context, truth)

    @property
    def _frames(self) -> Tensor:
        """(T, C, H, W), uint8."""
        return self.recording.at(self.canvas, self.frames.channels, self.every)

    def _windows(self, starts: list[int], num_frames: int) -> Clip:
        """Return windows; after the end of the clip, its last frame, which counts for nothing."""
        at = torch.tensor([range(start, start + num_frames) for start in starts])
        frames = self._frames[at.clamp(max=self.count - 1)].float() / 255
        if int(at.max()) < self.count:
            return Clip(frames, frames)
        known = (at < self.count)[..., None, None, None].expand_as(frames)
        return Clip(frames, frames, known)


PRESETS: dict[str, dict[str, object]] = {
    "own-clip": {
        "hidden_channels": 16,
        "kernel_size": 5,
        "num_layers": 2,
        "residual": True,
        "output": "change",
        "context_frames": 6,
        "horizon": 3,
        "epochs": 300,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "loss": "mse",
        "gradient_clip": 0.5,
        "evaluate_every": 20,
    },
}
