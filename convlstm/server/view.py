"""What a run's viewers look at: one of the scene's sequences, or a drawing of their own."""

from dataclasses import dataclass

from convlstm.scenes.drawing import Drawing
from convlstm.scenes.scene import Clip
from convlstm.training.picture import BaselineScores, Picture, baseline_scores, make_picture
from convlstm.training.trainer import Trainer


@dataclass(frozen=True)
class StagePicture(Picture):
    """A picture that says which sequence it is of: meanwhile viewers may have chosen another.

    Attributes:
        sample: which of the view's, from 0; None for a drawing.
    """

    sample: int | None


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

    def draw(self, trainer: Trainer, shown: int | Drawing) -> StagePicture:
        """Predict a sequence, or how a drawing moves on, with the network as it is now."""
        if self._newest is None or self._newest[0] != shown:
            clip = self.clip(shown)
            self._newest = shown, clip, baseline_scores(self._scene, clip, self.context_frames)
        _, clip, baselines = self._newest
        is_drawing = isinstance(shown, Drawing)
        frames = self.context_frames + self.horizon
        picture = make_picture(
            "drawing" if is_drawing else f"sample {shown + 1}",
            self._scene,
            clip,
            self.context_frames,
            lambda context, horizon: trainer.predict(context.to(trainer.device), horizon),
            times=None if is_drawing else self._scene.times(shown, self.context_frames, frames),
            baselines=baselines,
        )
        return StagePicture(**vars(picture), sample=None if is_drawing else shown)

    def clip(self, shown: int | Drawing) -> Clip:
        """Return a sequence: what was seen, and as much as is predicted."""
        if isinstance(shown, Drawing):
            return self._scene.drawn(shown, self.context_frames + self.horizon)
        return self._scene.shown(shown, self.context_frames, self.horizon)
