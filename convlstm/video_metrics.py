"""The metrics of video prediction as its tables report them, over whole batches and by lead time.

They differ from those of `metrics` in unit: squared and absolute errors are sums over a frame's
pixels, as in OpenSTL. Axes: B batch, T time (frames), H height (px), W width (px). Intensities in
[0, 1].
"""

from dataclasses import astuple, dataclass, fields

import torch
from torch import Tensor

from convlstm.metrics import PSNR_CEILING

SSIM_SIDE = 7  # px; scikit-image's default window
_SCORED_AT_ONCE = 20  # frames; what a cache holds


@dataclass(frozen=True)
class VideoScores:
    """Mean scores of predicted frames.

    Attributes:
        mse: squared error, summed over the pixels of a frame; the prediction is not clipped.
        mae: absolute error, likewise.
        psnr: peak signal-to-noise ratio of the clipped prediction in dB, mean over frames.
        ssim: structural similarity of the clipped prediction in [-1, 1], range 1.
        ssim_openstl: the same with a range of 2, as in OpenSTL's tables; larger.
    """

    mse: float
    mae: float
    psnr: float
    ssim: float
    ssim_openstl: float


SCORE_NAMES = tuple(field.name for field in fields(VideoScores))


def uniform_ssim(predicted: Tensor, truth: Tensor, *data_ranges: float) -> list[Tensor]:
    """Structural similarity of each frame under a uniform 7x7 window.

    Args:
        predicted: frames, (n, H, W), with H and W at least 7.
        truth: frames of the same shape.
        data_ranges: distances between the smallest and the largest possible intensity.

    Returns:
        For each range (n,), float64, in [-1, 1]: what scikit-image's `structural_similarity` gives
        by default.

    Raises:
        ValueError: the shapes differ, or a frame is smaller than the window.
    """
    if predicted.shape != truth.shape or min(predicted.shape[-2:]) < SSIM_SIDE:
        raise ValueError(
            f"predicted {tuple(predicted.shape)} and truth {tuple(truth.shape)}: must have one "
            f"shape, at least {SSIM_SIDE} px high and wide."
        )
    x, y = predicted.double(), truth.double()
    maps = torch.stack([x, y, x * x, y * y, x * y], 1)  # (n, 5, H, W)
    # Means over windows, as products with matrices of bands: five times as fast as pooling.
    down, across = (_window_means(side) for side in x.shape[-2:])
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (down @ maps @ across.T).unbind(1)
    sample = SSIM_SIDE**2 / (SSIM_SIDE**2 - 1)  # a window is a sample: divide by one less
    variance_x = sample * (mean_xx - mean_x**2)
    variance_y = sample * (mean_yy - mean_y**2)
    covariance = sample * (mean_xy - mean_x * mean_y)
    results = []
    for data_range in data_ranges:
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        contrast_structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
        results.append((luminance * contrast_structure).mean((1, 2)))
    return results


def _window_means(side: int) -> Tensor:
    """Return the matrix that takes `side` values to the means of their windows."""
    offset = torch.arange(side) - torch.arange(side - SSIM_SIDE + 1)[:, None]
    return ((offset >= 0) & (offset < SSIM_SIDE)).double() / SSIM_SIDE


def frame_scores(predicted: Tensor, truth: Tensor) -> Tensor:
    """Score every frame by itself.

    Args:
        predicted: (B, T, 1, H, W), not clipped.
        truth: the same shape, in [0, 1].

    Returns:
        (B, T, 5), float64, on the CPU: the fields of `VideoScores` in their order.

    Raises:
        ValueError: the shapes differ or are not 5-D with one channel.
    """
    if predicted.shape != truth.shape or predicted.ndim != 5 or predicted.shape[2] != 1:
        raise ValueError(
            f"predicted {tuple(predicted.shape)} and truth {tuple(truth.shape)}: "
            "must be one shape (B, T, 1, H, W)."
        )
    pairs = zip(
        predicted.flatten(0, 2).split(_SCORED_AT_ONCE),
        truth.flatten(0, 2).split(_SCORED_AT_ONCE),
        strict=True,
    )
    scores = torch.cat([_score(*(part.cpu().double() for part in pair)) for pair in pairs])
    return scores.view(*predicted.shape[:2], -1)


def mean_of(scores: Tensor) -> VideoScores:
    """Return the mean over all frames of `frame_scores`, (..., 5)."""
    return VideoScores(*scores.flatten(0, -2).mean(0).tolist())


def mean_scores_of(scores: list[VideoScores]) -> VideoScores:
    """Return the mean of each metric."""
    return mean_of(torch.tensor([astuple(row) for row in scores], dtype=torch.float64))


@dataclass(frozen=True)
class VideoEvaluation:
    """A model's mean scores beside those of the trivial baselines, on the same frames."""

    model: VideoScores
    black: VideoScores
    copy_last: VideoScores


def _score(predicted: Tensor, truth: Tensor) -> Tensor:
    error = (predicted - truth).flatten(1)
    clipped = predicted.clamp(0, 1)
    mse = (clipped - truth).square().flatten(1).mean(1)
    psnr = (-10 * mse.log10()).clamp(max=PSNR_CEILING)
    return torch.stack(
        [
            error.square().sum(1),
            error.abs().sum(1),
            psnr,
            *uniform_ssim(clipped, truth, 1.0, 2.0),
        ],
        1,
    )
