"""What a network errs where a square has just met a wall, and nowhere else.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from convlstm.scenes.scene import MAX_TEST_SEED, Scene
from convlstm.settings import configure
from convlstm.training.metrics import mean_of
from convlstm.training.trainer import Trainer
from convlstm.training.validation import scene_scores

WALL_SEED = MAX_TEST_SEED - 1  # a test's, and so neither training's nor validation's
_DRAWN = 500  # sequences, of which some meet a wall when it is asked for
_SCORED = 40  # of those


def wall_error(trainer: Trainer) -> float | None:
    """Return the mean squared error of the first predicted frame where it is one at a wall.

    Args:
        trainer: a training in a scene in which one square moves, and has walls.

    Returns:
        The mean over the sequences whose square teleports with that very frame where it wraps; the
        same ones where it bounces. None where there are none.
    """
    scene, seen = trainer.config.scene, trainer.config.context_frames
    clip = sequences_at_wall(scene, seen)
    if len(clip) == 0:
        return None
    context, truth = clip[:, :seen], clip[:, seen:]
    predicted = trainer.predict(context.to(trainer.device), 1).cpu()
    return mean_of(scene_scores(scene, predicted, truth, None)).mse


def sequences_at_wall(scene: Scene, context_frames: int) -> Tensor:
    """Return sequences whose last frame, the one after the context, is at a wall: (B, T, C, H, W).

    Which these are does not depend on what the walls do.
    """
    wrapping, own = (
        each.sample(_DRAWN, context_frames + 1, torch.Generator().manual_seed(WALL_SEED), "test")
        for each in (configure({"walls": "wrap"}, scene), scene)
    )
    return own.clean[teleports(wrapping.clean)[:, -1]][:_SCORED]


def teleports(frames: Tensor) -> Tensor:
    """Return in which frames the one thing that moves is more than half a frame from before.

    Args:
        frames: (B, T, C, H, W), with something bright over black in each.

    Returns:
        bool, (B, T); False in the first.
    """
    grey, far = frames[:, :, 0], []
    for side, across in ((-1, -2), (-2, -1)):
        pixel = torch.arange(grey.shape[side], dtype=grey.dtype, device=grey.device)
        place = (grey.sum(across) * pixel).sum(-1) / grey.sum((-1, -2))  # (B, T)
        far.append(place.diff(dim=1).abs() > grey.shape[side] / 2)
    return F.pad(far[0] | far[1], (1, 0))
