"""What a network errs where the square has just met a wall, and nowhere else.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

import torch
from torch import Tensor

from convlstm.scenes.scene import MAX_TEST_SEED, Scene
from convlstm.training.metrics import mean_of
from convlstm.training.trainer import Trainer
from convlstm.training.validation import scene_scores

WALL_SEED = MAX_TEST_SEED - 1  # a test's, and so neither training's nor validation's
_DRAWN = 500  # sequences, of which some meet a wall when it is asked for
_SCORED = 40  # of those
_STILL = 0.25  # px: less of a change is rounding


def wall_error(trainer: Trainer) -> float | None:
    """Return the mean squared error of the first predicted frame where it shows a square at a wall.

    Args:
        trainer: a training in a scene in which one thing moves, wraps or bounces.

    Returns:
        The mean over the sequences in which the square has teleported or turned with that very
        frame; None where there are none.
    """
    clip, seen = _sequences(trainer.config.scene, trainer.config.context_frames)
    if not len(clip):
        return None
    context, truth = clip[:, :seen], clip[:, seen:]
    predicted = trainer.predict(context.to(trainer.device), 1).cpu()
    return mean_of(scene_scores(trainer.config.scene, predicted, truth, None)).mse


def met_wall(frames: Tensor) -> Tensor:
    """Return in which frames the one thing that moves has just moved other than before.

    Args:
        frames: (B, T, C, H, W), with something bright over black in each.

    Returns:
        bool, (B, T); False in the first two, which nothing stands before.
    """
    grey = frames[:, :, 0]
    axes = []
    for side, across in ((-1, -2), (-2, -1)):
        pixel = torch.arange(grey.shape[side], dtype=grey.dtype, device=grey.device)
        axes.append((grey.sum(across) * pixel).sum(-1) / grey.sum((-1, -2)))
    turns = torch.stack(axes).diff(dim=2, n=2).abs().amax(0) > _STILL  # (B, T - 2)
    return torch.nn.functional.pad(turns, (2, 0))


def _sequences(scene: Scene, context_frames: int) -> tuple[Tensor, int]:
    """Draw sequences that meet a wall first in the frame after the context."""
    generator = torch.Generator().manual_seed(WALL_SEED)
    clip = scene.sample(_DRAWN, context_frames + 1, generator, "test")
    found = met_wall(clip.clean)[:, -1]
    return clip.observed[found][:_SCORED], context_frames
