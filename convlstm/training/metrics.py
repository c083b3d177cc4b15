"""Reported metrics: of each frame, by lead time, beside those of predictors that learnt nothing.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

import torch
from torch import Tensor

NEARLY_BLACK = 0.05  # intensity that the eye takes for black on a screen
PSNR_CEILING = 100.0  # dB; what a perfect frame is given, so that means stay finite
_SSIM_SIDE = 7  # px; scikit-image's default window
_SCORED_AT_ONCE = 20  # frames; what a cache holds


@dataclass(frozen=True)
class Scores:
    """Mean scores of some predicted frames.

    Attributes:
        mse: mean squared error per pixel; the prediction is not clipped.
        mae: mean absolute error per pixel, likewise.
        psnr: peak signal-to-noise ratio of the clipped prediction in dB, mean over frames, at most
            100.
        ssim: structural similarity of the clipped prediction in [-1, 1], range 1, as
            scikit-image's `structural_similarity` gives it by default.
        ssim_openstl: the same with a range of 2, as in OpenSTL's tables; larger.
    """

    mse: float
    mae: float
    psnr: float
    ssim: float
    ssim_openstl: float


METRICS = tuple(field.name for field in fields(Scores))


@dataclass(frozen=True)
class UnseenScores:
    """Scores of the sequences alone whose newest frame seen shows nothing of what moves.

    Attributes:
        model: scores of the network.
        baselines: scores of the predictors that learnt nothing, by name.
    """

    model: Scores
    baselines: dict[str, Scores]

    @property
    def skill(self) -> float:
        """The share of the better baseline's squared error that is gone."""
        return self.skill_of(self.model)

    def skill_of(self, scores: Scores) -> float:
        """Return the same of other scores: 0 of the better baseline, less of the other one."""
        better = min(self.baselines.values(), key=lambda each: each.mse)
        return skill(scores, better)


@dataclass(frozen=True)
class Evaluation:
    """A network's scores beside those of predictors that learnt nothing, on the same frames.

    Attributes:
        model: scores of the network.
        baselines: scores of the others, by name; "copy_last" is always among them.
        brightest: largest value in any of the network's predictions; NaN where nobody looked.
        unseen: scores of the sequences alone whose newest frame shows nothing of what moves; None
            where there are none.
    """

    model: Scores
    baselines: dict[str, Scores]
    brightest: float
    unseen: UnseenScores | None = None

    @property
    def skill(self) -> float:
        """The network's `skill` over copy-last."""
        return skill(self.model, self.baselines["copy_last"])

    @property
    def is_black(self) -> bool:
        """Whether the network predicts nothing but near-black frames."""
        return self.brightest < NEARLY_BLACK


def skill(scores: Scores, reference: Scores) -> float:
    """Return the share of a reference's squared error that is gone: 1 - MSE / MSE_reference.

    1 is perfect, 0 is no better than the reference (repeating the last frame, where nobody says
    otherwise), negative is worse.
    """
    return 1 - scores.mse / max(reference.mse, 1e-12)


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
    if predicted.shape != truth.shape or min(predicted.shape[-2:]) < _SSIM_SIDE:
        raise ValueError(
            f"predicted {tuple(predicted.shape)} and truth {tuple(truth.shape)}: must have one "
            f"shape, at least {_SSIM_SIDE} px high and wide."
        )
    x, y = predicted.double(), truth.double()
    maps = torch.stack([x, y, x * x, y * y, x * y], 1)  # (n, 5, H, W)
    # Means over windows, as products with matrices of bands: five times as fast as pooling.
    down, across = (_window_means(side) for side in x.shape[-2:])
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (down @ maps @ across.T).unbind(1)
    sample = _SSIM_SIDE**2 / (_SSIM_SIDE**2 - 1)  # a window is a sample: divide by one less
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
    offset = torch.arange(side) - torch.arange(side - _SSIM_SIDE + 1)[:, None]
    return ((offset >= 0) & (offset < _SSIM_SIDE)).double() / _SSIM_SIDE


def frame_scores(predicted: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Score every frame by itself.

    Args:
        predicted: (B, T, C, H, W), not clipped.
        truth: the same shape, in [0, 1].
        valid: where the truth is known, bool, the same shape; None for everywhere. Errors are means
            over those points, and for SSIM the others count as right. A frame without any is NaN.

    Returns:
        (B, T, 5), float64, on the CPU: the fields of `Scores` in their order, mean over channels.

    Raises:
        ValueError: the shapes differ or are not 5-D.
    """
    if predicted.shape != truth.shape or predicted.ndim != 5:
        raise ValueError(
            f"predicted {tuple(predicted.shape)} and truth {tuple(truth.shape)}: "
            "must be one shape (B, T, C, H, W)."
        )
    if valid is None:
        valid = torch.ones((), dtype=torch.bool).expand(truth.shape)
    parts = (t.flatten(0, 2).split(_SCORED_AT_ONCE) for t in (predicted, truth, valid))
    scores = torch.cat([_score(*(t.cpu() for t in part)) for part in zip(*parts, strict=True)])
    return scores.view(*predicted.shape[:3], -1).mean(2)


def mean_of(scores: Tensor) -> Scores:
    """Return the mean over all frames of `frame_scores`, (..., 5), but those that nobody knows."""
    scores = scores.flatten(0, -2)
    unknown = scores.isnan().all(1)  # all of it: a prediction of NaN must not drop out of its mean
    return Scores(*scores[~unknown].mean(0).tolist())


def unseen_scores(tables: Mapping[str, Tensor], unseen: Tensor | None) -> UnseenScores | None:
    """Return the means over the sequences alone whose newest frame shows nothing.

    Args:
        tables: `frame_scores`, (B, T, 5), of the "model" and of each baseline, by name.
        unseen: which sequences these are, bool, (B,); None where the scene hides nothing.

    Returns:
        The scores, or None where there is no such sequence.
    """
    if unseen is None or not unseen.any():
        return None
    means = {name: mean_of(table[unseen]) for name, table in tables.items()}
    return UnseenScores(means.pop("model"), means)


def mean_scores(scores: list[Scores]) -> Scores:
    """Return the mean of each metric, over the scores of something that is known."""
    return mean_of(torch.tensor([astuple(row) for row in scores], dtype=torch.float64))


def by_lead_time(scores: Tensor) -> list[Scores]:
    """Return the mean of `frame_scores`, (B, T, 5), for each lead time from 1."""
    return [mean_of(lead) for lead in scores.unbind(1)]


def _score(predicted: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    predicted, truth = predicted.double(), truth.double()
    predicted = torch.where(valid, predicted, truth)
    known = valid.flatten(1).sum(1)  # 0 of them gives NaN, which nobody counts
    error = (predicted - truth).flatten(1)
    clipped = predicted.clamp(0, 1)
    mse = (clipped - truth).square().flatten(1).sum(1) / known
    psnr = (-10 * mse.log10()).clamp(max=PSNR_CEILING)
    errors = torch.stack([error.square().sum(1) / known, error.abs().sum(1) / known, psnr], 1)
    ssim = torch.stack(uniform_ssim(clipped, truth, 1.0, 2.0), 1)
    ssim = ssim.nan_to_num(nan=-1.0)  # of a prediction of NaN, which nothing is less like
    ssim[known == 0] = math.nan
    return torch.cat([errors, ssim], 1)
