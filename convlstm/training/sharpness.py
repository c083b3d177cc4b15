"""How sharp predictions are, whether or not they are right.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

import torch
from torch import Tensor

from convlstm.scenes.scene import MAX_TEST_SEED
from convlstm.training.trainer import Trainer

SHARPNESS_SEED = MAX_TEST_SEED - 2  # a test's, and so neither training's nor validation's
_SEQUENCES = 16


def sharpness(trainer: Trainer) -> float:
    """Return how much contrast from pixel to pixel predictions have, as a share of the truth's.

    It is measured on sequences of its own; 1 is as sharp as the truth, and fog is near 0.
    """
    config = trainer.config
    seen, horizon = config.context_frames, config.horizon
    generator = torch.Generator().manual_seed(SHARPNESS_SEED)
    clip = config.scene.sample(_SEQUENCES, seen + horizon, generator, "test")
    context, truth, _ = clip.split(seen)
    predicted = trainer.predict(context.to(trainer.device), horizon).cpu().clamp(0, 1)
    return (contrast(predicted).mean() / contrast(truth).mean()).item()


def contrast(frames: Tensor) -> Tensor:
    """Return the mean difference between neighbouring pixels, (..., H, W) to (...)."""
    return sum(frames.diff(dim=axis).abs().mean((-1, -2)) for axis in (-1, -2))
