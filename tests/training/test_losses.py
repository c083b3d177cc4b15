"""Losses, against scikit-image and their definitions written out in NumPy."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from convlstm.training.losses import LOSSES, MSE_SHARE, SSIM_WINDOW, gaussian_ssim


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_images(*shape: int, noise: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    truth = torch.rand(shape, generator=seeded())
    predicted = truth + noise * torch.randn(shape, generator=seeded(1))
    return predicted.clamp(0, 1), truth


def ssim_of_scikit_image(predicted: np.ndarray, truth: np.ndarray, data_range: float) -> float:
    """The mean over the pixels that an 11x11 window fits around."""
    _, full = structural_similarity(
        predicted,
        truth,
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    edge = SSIM_WINDOW // 2
    return full[edge:-edge, edge:-edge].mean()


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("shape", [(32, 32), (17, 40), (11, 11)])
def test_ssim_equals_scikit_image_s_in_the_interior(shape, noise):
    predicted, truth = two_images(*shape, noise=noise)
    expected = ssim_of_scikit_image(predicted.numpy(), truth.numpy(), 1.0)
    assert gaussian_ssim(predicted, truth).item() == pytest.approx(expected, abs=1e-4)


def test_ssim_is_the_mean_over_frames():
    predicted, truth = two_images(2, 3, 1, 16, 16)
    frames = [
        gaussian_ssim(predicted[b, t], truth[b, t]).item() for b in range(2) for t in range(3)
    ]
    assert gaussian_ssim(predicted, truth).item() == pytest.approx(np.mean(frames), abs=1e-6)
    assert np.std(frames) > 1e-3


def test_ssim_of_equal_frames_is_one_and_of_a_negative_below_zero():
    truth = torch.rand(24, 24, generator=seeded())
    assert gaussian_ssim(truth, truth).item() == pytest.approx(1, abs=1e-6)
    assert gaussian_ssim(1 - truth, truth).item() < -0.5


def test_the_data_range_scales_with_the_intensities():
    predicted, truth = two_images(24, 24)
    ssim = gaussian_ssim(predicted, truth).item()
    scaled = gaussian_ssim(255 * predicted, 255 * truth, data_range=255).item()
    assert scaled == pytest.approx(ssim, abs=1e-4)
    expected = ssim_of_scikit_image(predicted.numpy(), truth.numpy(), 2.0)
    assert gaussian_ssim(predicted, truth, data_range=2).item() == pytest.approx(expected, abs=1e-4)
    assert abs(expected - ssim) > 1e-3


def test_ssim_has_the_gradient_that_its_values_have():
    predicted, truth = two_images(13, 13)
    predicted.requires_grad_()
    gaussian_ssim(predicted, truth).backward()
    step = torch.zeros(13, 13)
    step[6, 7] = 1e-2
    with torch.no_grad():
        up, down = gaussian_ssim(predicted + step, truth), gaussian_ssim(predicted - step, truth)
    numerical = ((up - down) / 2e-2).item()
    assert predicted.grad[6, 7].item() == pytest.approx(numerical, rel=0.02)


@pytest.mark.parametrize(
    ("predicted", "truth"),
    [((16, 16), (16, 17)), ((10, 16), (10, 16)), ((2, 16, 16), (1, 16, 16)), ((16, 10), (16, 10))],
)
def test_ssim_refuses_other_shapes_and_frames_smaller_than_its_window(predicted, truth):
    with pytest.raises(ValueError, match="must have one shape, at least 11 px high and wide"):
        gaussian_ssim(torch.zeros(predicted), torch.zeros(truth))


def losses_of(
    name: str, *shape: int, ssim_weight: float = 0.1
) -> tuple[float, np.ndarray, np.ndarray]:
    """A loss of random logits against binary frames, and both as arrays."""
    logits = 3 * torch.randn(shape, generator=seeded())
    truth = (torch.rand(shape, generator=seeded(1)) < 0.2).float()
    loss = LOSSES[name](logits, logits.sigmoid(), truth, ssim_weight)
    return loss.item(), logits.double().numpy(), truth.double().numpy()


def test_each_loss_is_its_definition():
    shape = (2, 3, 1, 12, 12)
    found, logits, truth = losses_of("mse", *shape)
    frames = 1 / (1 + np.exp(-logits))
    mse = ((frames - truth) ** 2).mean()
    assert found == pytest.approx(mse, rel=1e-5)
    assert losses_of("l1", *shape)[0] == pytest.approx(np.abs(frames - truth).mean(), rel=1e-5)
    bce = -(truth * np.log(frames) + (1 - truth) * np.log(1 - frames)).mean()
    assert losses_of("bce", *shape)[0] == pytest.approx(bce, rel=1e-5)
    ssim = np.mean(
        [
            ssim_of_scikit_image(p[0], t[0], 1.0)
            for p, t in zip(
                frames.reshape(-1, 1, 12, 12), truth.reshape(-1, 1, 12, 12), strict=True
            )
        ]
    )
    expected = 0.7 * mse + 0.3 * (1 - ssim)
    assert losses_of("mse+ssim", *shape)[0] == pytest.approx(expected, abs=1e-4)
    for weight in (0, 0.1, 3):
        found = losses_of("bce+ssim", *shape, ssim_weight=weight)[0]
        assert found == pytest.approx(bce + weight * (1 - ssim), abs=1e-4)
    assert MSE_SHARE == 0.7


def test_bce_stays_finite_however_sure_the_model_is():
    logits = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = LOSSES["bce"](logits, logits.sigmoid(), torch.tensor([0.0, 1.0]), 0.1)
    loss.backward()
    assert loss.item() == 1e4
    assert logits.grad.tolist() == [0.5, -0.5]


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_least_at_the_truth_and_pulls_towards_it(name):
    truth = (torch.rand(1, 1, 1, 16, 16, generator=seeded()) < 0.3).float()
    sure = 30 * (2 * truth - 1)
    assert LOSSES[name](sure, sure.sigmoid(), truth, 0.1).item() == pytest.approx(0, abs=1e-4)
    values = torch.zeros_like(truth, requires_grad=True)
    LOSSES[name](values, values.sigmoid(), truth, 0.1).backward()
    with torch.no_grad():
        nearer = values - 0.1 * values.grad / values.grad.abs().max()
        before, after = (LOSSES[name](v, v.sigmoid(), truth, 0.1) for v in (values, nearer))
    assert after < before
