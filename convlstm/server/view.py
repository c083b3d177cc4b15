"""What a run's viewers look at: a sequence of its scene or of a speed test, or beyond it."""

import math
from dataclasses import dataclass

from convlstm.checks import check_integer
from convlstm.scenes.drawing import Drawing
from convlstm.scenes.scene import Clip
from convlstm.training.picture import BaselineScores, Picture, baseline_scores, make_picture
from convlstm.training.speed_test import SEQUENCES, SPEEDS, at_speed, speed_sequences
from convlstm.training.trainer import Trainer


@dataclass(frozen=True)
class SpeedSample:
    """One of the sequences that a network is tested with at a speed.

    Attributes:
        speed: of all that moves, px a frame.
        sample: which of them, from 0.
    """

    speed: int
    sample: int


@dataclass(frozen=True)
class Beyond:
    """What comes after the end of a person's clip.

    Attributes:
        horizon: frames predicted.
    """

    horizon: int = 50


Shown = int | Drawing | SpeedSample | Beyond


@dataclass(frozen=True)
class StagePicture(Picture):
    """A picture that says which sequence it is of: meanwhile viewers may have chosen another.

    Attributes:
        sample: which of the view's, from 0; None for a drawing, and beyond the end of a clip.
        samples: how many there are of its kind.
        speed: of a speed test, px a frame; None for any other.
        is_beyond: whether it comes after the end of a clip.
    """

    sample: int | None
    samples: int
    speed: int | None
    is_beyond: bool


class View:
    """The sequences of a run's scene that viewers look at.

    Args:
        trainer: a run in that scene.

    Attributes:
        samples: how many there are.
        context_frames: frames seen.
        horizon: frames predicted.
    """

    def __init__(self, trainer: Trainer) -> None:
        config = trainer.config
        self.samples = config.scene.samples
        self.context_frames = config.context_frames
        self.horizon = max(config.horizon, config.scene.look_ahead)
        self._scene = config.scene
        self._newest: tuple[object, Clip, BaselineScores] | None = None

    def draw(self, trainer: Trainer, shown: Shown) -> StagePicture:
        """Predict a sequence, or how a drawing moves on, with the network as it is now."""
        if self._newest is None or self._newest[0] != shown:
            clip = self.clip(shown)
            self._newest = shown, clip, baseline_scores(self._scene, clip, self.context_frames)
        _, clip, baselines = self._newest
        frames = self.context_frames + self.horizon
        is_sample = isinstance(shown, int)
        picture = make_picture(
            name_of(shown),
            self._scene,
            clip,
            self.context_frames,
            lambda context, horizon: trainer.predict(context.to(trainer.device), horizon),
            times=self._scene.times(shown, self.context_frames, frames) if is_sample else None,
            baselines=baselines,
        )
        sample, speed = shown if is_sample else None, None
        if isinstance(shown, SpeedSample):
            sample, speed = shown.sample, shown.speed
        samples = self.samples if speed is None else SEQUENCES
        return StagePicture(
            **vars(picture),
            sample=sample,
            samples=samples,
            speed=speed,
            is_beyond=isinstance(shown, Beyond),
        )

    def choice(self, sample: object, speed: object = None) -> Shown:
        """Return what is asked for, by values that may be anything.

        Args:
            sample: its number, or "beyond".
            speed: of the speed test's sequences; None for any other.

        Raises:
            SettingError: there is none.
        """
        if sample == "beyond" and self._scene.brings:
            return Beyond()
        if speed is not None:
            return self.speed_sample(speed, sample)
        return check_integer("sample", sample, 0, self.samples - 1)

    def speed_sample(self, speed: object, sample: object) -> SpeedSample:
        """Return one of the speed test's sequences, of values that may be anything.

        Raises:
            SettingError: a value is out of range, or nothing in the scene has a speed.
        """
        speed = check_integer("speed", speed, SPEEDS[0], SPEEDS[-1])
        at_speed(self._scene, speed)
        return SpeedSample(speed, check_integer("sample", sample, 0, SEQUENCES - 1))

    def clip(self, shown: Shown) -> Clip:
        """Return a sequence: what was seen, and as much as is predicted."""
        if isinstance(shown, Beyond):
            return self._scene.beyond(self.context_frames, shown.horizon)
        if isinstance(shown, Drawing):
            return self._scene.drawn(shown, self.context_frames + self.horizon)
        seen, horizon = self.context_frames, self.horizon
        if isinstance(shown, SpeedSample):
            clip = speed_sequences(self._scene, shown.speed, seen, horizon, SEQUENCES)
            return clip.part(slice(shown.sample, shown.sample + 1))
        return self._scene.shown(shown, seen, horizon)


def finite(value: float) -> float | None:
    """Return a number as JSON can say it: what is none, or has no end, as None."""
    return value if math.isfinite(value) else None


def name_of(shown: Shown) -> str:
    """Return what a sequence is called in files."""
    if isinstance(shown, Beyond):
        return "after the end"
    if isinstance(shown, Drawing):
        return "drawing"
    if isinstance(shown, SpeedSample):
        return f"speed {shown.speed}, sample {shown.sample + 1}"
    return f"sample {shown + 1}"
