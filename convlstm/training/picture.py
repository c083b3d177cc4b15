"""One sequence, its continuation, and what a network makes of it, as a person looks at it.

Axes: T time (frames), H height (px), W width (px). Values in [0, 1]. What is shown in colour has
a last axis of 3 for red, green and blue.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from convlstm.scenes.scene import Clip, Scene
from convlstm.training.metrics import Scores, by_lead_time
from convlstm.training.validation import baseline_tables, scene_scores

# By name, the scores of a scene's baselines for each lead time from 1.
BaselineScores = dict[str, list[Scores]]


@dataclass(frozen=True)
class Picture:
    """A sequence and its prediction; of the scene's first channel, or in its colours.

    Attributes:
        name: what the sequence is called.
        context: frames seen, (T, H, W).
        truth: frames that followed, (horizon, H, W).
        predicted: the network's, likewise, on its own output after the first.
        known: where there was something to see, bool, (T + horizon, H, W); None for everywhere.
        times: when the frames were, or None.
        scores: of the network, for each lead time from 1.
        baselines: of the predictors that learnt nothing, likewise, by name.
    """

    name: str
    context: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    known: np.ndarray | None
    times: tuple[str, ...] | None
    scores: list[Scores]
    baselines: BaselineScores


def make_picture(
    name: str,
    scene: Scene,
    clip: Clip,
    context_frames: int,
    predict: Callable[[Tensor, int], Tensor],
    *,
    times: list[str] | None = None,
    baselines: BaselineScores | None = None,
) -> Picture:
    """Predict one sequence.

    Args:
        name: what it is called.
        scene: whose sequence it is.
        clip: the sequence, with B of 1.
        context_frames: how many of its frames are seen.
        predict: continues a context, (1, T, C, H, W), by so many frames.
        times: when its frames were, where they were somewhere.
        baselines: their scores, where they are known by now.
    """
    context, truth, valid = clip.split(context_frames)
    predicted = predict(context, truth.shape[1]).to(truth.device)
    scores = by_lead_time(scene_scores(scene, predicted, truth, valid))
    if baselines is None:
        baselines = baseline_scores(scene, clip, context_frames)
    images = (images_of(scene, part) for part in (context, truth, predicted))
    known = None if clip.valid is None else clip.valid[0, :, 0].cpu().numpy()
    return Picture(name, *images, known, times and tuple(times), scores, baselines)


def baseline_scores(scene: Scene, clip: Clip, context_frames: int) -> BaselineScores:
    """Score what the scene's baselines make of one sequence."""
    tables = baseline_tables(scene, *clip.split(context_frames))
    return {name: by_lead_time(table) for name, table in tables.items()}


def images_of(scene: Scene, frames: Tensor) -> np.ndarray:
    """Turn frames, (1, T, C, H, W) on any device, into what a person sees of a scene.

    Returns:
        The first channel, (T, H, W), or all three in colour, (T, H, W, 3).
    """
    in_colour = scene.look.colours == "colour"
    images = frames[0].permute(0, 2, 3, 1) if in_colour else frames[0, :, 0]
    return images.float().cpu().numpy()
