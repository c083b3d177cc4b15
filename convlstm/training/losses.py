"""Differentiable losses between predicted and true frames.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Intensities in [0, 1].
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_WINDOW = 11  # px; with SSIM_SIGMA the window of Wang et al. 2004
SSIM_SIGMA = 1.5  # px
MSE_SHARE = 0.7  # of the composite loss, as in "0.7 MSE + 0.3 (1 - SSIM)"


def gaussian_ssim(predicted: Tensor, truth: Tensor, data_range: float = 1.0) -> Tensor:
    """Structural similarity under a Gaussian window, over the pixels that the window fits around.

    Args:
        predicted: frames, (..., H, W), with H and W at least 11.
        truth: frames of the same shape.
        data_range: distance between the smallest and the largest possible intensity.

    Returns:
        The mean over all frames and pixels, in [-1, 1]; differentiable.

    Raises:
        ValueError: the shapes differ, or a frame is smaller than the window.

    Source: Wang et al. 2004; equal to scikit-image's `structural_similarity` with
    `gaussian_weights=True, sigma=1.5, use_sample_covariance=False` in the interior.
    """
    if predicted.shape != truth.shape or min(predicted.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(
            f"predicted {tuple(predicted.shape)} and truth {tuple(truth.shape)}: must have one "
            f"shape, at least {SSIM_WINDOW} px high and wide."
        )
    x = predicted.reshape(-1, 1, *predicted.shape[-2:]).float()
    y = truth.reshape(-1, 1, *truth.shape[-2:]).float()
    offsets = torch.arange(SSIM_WINDOW, device=x.device) - SSIM_WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    window = window / window.sum()

    maps = torch.cat([x, y, x * x, y * y, x * y], 1)  # (N, 5, H, W)
    column = window.view(1, 1, -1, 1).expand(5, 1, -1, 1)
    blurred = F.conv2d(F.conv2d(maps, column, groups=5), column.mT, groups=5)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = blurred.unbind(1)
    variance_x = mean_xx - mean_x**2
    variance_y = mean_yy - mean_y**2
    covariance = mean_xy - mean_x * mean_y

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast_structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * contrast_structure).mean()


def _dissimilarity(intensities: Tensor, truth: Tensor) -> Tensor:
    return 1 - gaussian_ssim(intensities, truth)


# Each takes the head's values, the intensities made of them, the true frames, and what 1 - SSIM
# counts beside the cross-entropy.
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    # Nats per pixel, on the logits, where it is exact however sure the network is.
    "bce": lambda values, intensities, truth, ssim_weight: F.binary_cross_entropy_with_logits(
        values, truth
    ),
    "mse": lambda values, intensities, truth, ssim_weight: F.mse_loss(intensities, truth),
    "l1": lambda values, intensities, truth, ssim_weight: F.l1_loss(intensities, truth),
    "l1+mse": lambda values, intensities, truth, ssim_weight: (
        F.l1_loss(intensities, truth) + F.mse_loss(intensities, truth)
    ),
    "ssim": lambda values, intensities, truth, ssim_weight: _dissimilarity(intensities, truth),
    "mse+ssim": lambda values, intensities, truth, ssim_weight: (
        MSE_SHARE * F.mse_loss(intensities, truth)
        + (1 - MSE_SHARE) * _dissimilarity(intensities, truth)
    ),
    "bce+ssim": lambda values, intensities, truth, ssim_weight: (
        F.binary_cross_entropy_with_logits(values, truth)
        + ssim_weight * _dissimilarity(intensities, truth)
    ),
}
