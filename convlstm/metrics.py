"""Reported metrics, and the trivial baselines that stand beside them.

Axes: B batch, T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
from skimage.metrics import structural_similarity
from torch import Tensor

DATA_RANGE = 1.0  # intensities lie in [0, 1]
_NEARLY_BLACK = 0.05  # intensity that the eye takes for black on a screen
PSNR_CEILING = 100.0  # dB; what a perfect frame is given, so that means stay finite


@dataclass(frozen=True)
class Scores:
    """Mean scores of some predicted frames.

    Attributes:
        mse: mean squared error per pixel.
        mae: mean absolute error per pixel.
        psnr: peak signal-to-noise ratio in dB, mean over frames, at most 100.
        ssim: structural similarity in [-1, 1], scikit-image's default 7x7 window, range 1.
    """

    mse: float
    mae: float
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Evaluation:
    """A model's scores beside those of the trivial baselines, on the same frames.

    Attributes:
        model: scores of the model.
        black: scores of predicting a black frame.
        copy_last: scores of repeating the last frame seen.
        brightest: largest intensity in any of the model's predictions.
    """

    model: Scores
    black: Scores
    copy_last: Scores
    brightest: float

    @property
    def skill(self) -> float:
        """Share of copy-last's squared error that the model removes: 1 - MSE / MSE_copy.

        1 is perfect, 0 is no better than copy-last, negative is worse.
        """
        return 1 - self.model.mse / max(self.copy_last.mse, 1e-12)

    @property
    def is_black(self) -> bool:
        """Whether the model predicts nothing but near-black frames."""
        return self.brightest < _NEARLY_BLACK


def score_frames(predicted: np.ndarray, truth: np.ndarray) -> list[list[Scores]]:
    """Score every frame by itself.

    Args:
        predicted: (B, T, H, W), float32, intensities in [0, 1].
        truth: the same shape and range.

    Returns:
        A list of B lists of T scores.

    Raises:
        ValueError: the shapes differ or are not 4-D.
    """
    if predicted.shape != truth.shape or predicted.ndim != 4:
        raise ValueError(
            f"predicted {predicted.shape} and truth {truth.shape}: must be one shape (B, T, H, W)."
        )
    return [
        [_score_frame(frame, true) for frame, true in zip(*pair, strict=True)]
        for pair in zip(predicted, truth, strict=True)
    ]


def mean_scores(scores: list[Scores]) -> Scores:
    """Return the mean of each metric over frames."""
    table = np.array([(s.mse, s.mae, s.psnr, s.ssim) for s in scores], dtype=np.float64)
    return Scores(*(float(value) for value in table.mean(0)))


def score(predicted: Tensor, truth: Tensor) -> Scores:
    """Return the mean scores of predicted frames, (B, T, 1, H, W) in [0, 1]."""
    frames = score_frames(as_images(predicted), as_images(truth))
    return mean_scores([scores for sequence in frames for scores in sequence])


def score_by_lead_time(predicted: Tensor, truth: Tensor) -> list[Scores]:
    """Return the mean scores of each lead time 1..T of predictions, (B, T, 1, H, W) in [0, 1]."""
    frames = score_frames(as_images(predicted), as_images(truth))
    return [mean_scores(list(lead)) for lead in zip(*frames, strict=True)]


def black_frames(truth: Tensor) -> Tensor:
    """Return the prediction that every frame is black, in the shape of the truth."""
    return truth.new_zeros(truth.shape)


def copy_last_frame(context: Tensor, horizon: int) -> Tensor:
    """Return the prediction that nothing moves: the last context frame, horizon times."""
    return context[:, -1:].expand(-1, horizon, -1, -1, -1)


def as_images(frames: Tensor) -> np.ndarray:
    """Turn frames, (B, T, 1, H, W) on any device, into an array (B, T, H, W) of float32."""
    return frames[:, :, 0].float().cpu().numpy()


def _score_frame(predicted: np.ndarray, truth: np.ndarray) -> Scores:
    difference = predicted - truth
    mse = float(np.mean(difference**2, dtype=np.float64))
    psnr = PSNR_CEILING if mse == 0 else 10 * np.log10(DATA_RANGE**2 / mse)
    return Scores(
        mse=mse,
        mae=float(np.mean(np.abs(difference), dtype=np.float64)),
        psnr=float(min(psnr, PSNR_CEILING)),
        ssim=float(structural_similarity(predicted, truth, data_range=DATA_RANGE)),
    )
