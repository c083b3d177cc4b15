"""Metrics, against scikit-image and the numbers that are known of the article's scene."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from convlstm.data import SquaresConfig, sample_squares
from convlstm.metrics import (
    Evaluation,
    Scores,
    as_images,
    black_frames,
    copy_last_frame,
    mean_scores,
    score,
    score_by_lead_time,
    score_frames,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_videos(B: int = 2, T: int = 3, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    truth = torch.rand(B, T, 1, size, size, generator=seeded())
    noise = 0.1 * torch.randn(truth.shape, generator=seeded(1))
    return (truth + noise * torch.arange(1, T + 1)[:, None, None, None]).clamp(0, 1), truth


def evaluation(mse: float, copy_mse: float, brightest: float = 1.0) -> Evaluation:
    scores = [Scores(value, 0.0, 0.0, 0.0) for value in (mse, 0.5, copy_mse)]
    return Evaluation(*scores, brightest)


def test_the_scores_of_a_frame_are_scikit_image_s():
    predicted, truth = two_videos()
    table = score_frames(as_images(predicted), as_images(truth))
    assert (len(table), len(table[0])) == (2, 3)
    for b in range(2):
        for t in range(3):
            p, y = predicted[b, t, 0].numpy(), truth[b, t, 0].numpy()
            pixels = [(float(a) - float(c)) for a, c in zip(p.flatten(), y.flatten(), strict=True)]
            found = table[b][t]
            assert found.mse == pytest.approx(sum(d * d for d in pixels) / 256, rel=1e-5)
            assert found.mae == pytest.approx(sum(abs(d) for d in pixels) / 256, rel=1e-5)
            expected = peak_signal_noise_ratio(y, p, data_range=1.0)
            assert found.psnr == pytest.approx(expected, rel=1e-5)
            assert found.ssim == pytest.approx(structural_similarity(p, y, data_range=1.0))


def test_a_score_is_the_mean_over_all_frames_and_by_lead_time_over_one():
    predicted, truth = two_videos()
    table = score_frames(as_images(predicted), as_images(truth))
    for name in ("mse", "mae", "psnr", "ssim"):
        values = np.array([[getattr(s, name) for s in row] for row in table])
        assert getattr(score(predicted, truth), name) == pytest.approx(values.mean())
        leads = [getattr(s, name) for s in score_by_lead_time(predicted, truth)]
        assert leads == pytest.approx(list(values.mean(0)))
    mses = [s.mse for s in score_by_lead_time(predicted, truth)]
    assert mses == sorted(mses)
    assert mses[0] < mses[2]


def test_a_perfect_frame_has_a_finite_psnr():
    truth = two_videos()[1]
    assert score(truth, truth) == Scores(0.0, 0.0, 100.0, 1.0)
    nearly = truth.clone()
    nearly[..., 0, 0] += 1e-7
    assert score(nearly, truth).psnr == 100


def test_a_frame_of_nan_is_not_taken_for_a_perfect_one():
    truth = two_videos()[1]
    found = score(torch.full_like(truth, math.nan), truth)
    assert math.isnan(found.mse)
    assert math.isnan(found.psnr)


def test_the_trivial_baselines_of_the_article_s_scene_score_what_was_measured():
    # guide/field.md, section 1: black 0.0061 and 0.968, copy-last 0.0062 and 0.968.
    frames = sample_squares(SquaresConfig(), 64, 10, seeded()).clean
    context, truth = frames[:, :9], frames[:, 9:]
    black = score(black_frames(truth), truth)
    copied = score(copy_last_frame(context, 1), truth)
    assert black.mse == pytest.approx(25 / 64**2)
    assert black.ssim == pytest.approx(0.968, abs=0.002)
    assert copied.mse == pytest.approx(0.0062, abs=0.0006)
    assert copied.ssim == pytest.approx(0.968, abs=0.004)


def test_copy_last_repeats_the_last_frame_seen():
    context = torch.rand(2, 4, 1, 8, 8, generator=seeded())
    copied = copy_last_frame(context, 3)
    assert copied.shape == (2, 3, 1, 8, 8)
    assert all(torch.equal(copied[:, t], context[:, 3]) for t in range(3))


def test_black_frames_are_black_in_the_shape_of_the_truth():
    truth = torch.rand(2, 3, 1, 8, 8, dtype=torch.float64)
    black = black_frames(truth)
    assert black.shape == truth.shape
    assert black.dtype == truth.dtype
    assert not black.any()


def test_skill_is_the_share_of_copy_last_s_error_that_is_removed():
    assert evaluation(0.0, 0.25).skill == 1
    assert evaluation(0.25, 0.25).skill == 0
    assert evaluation(0.1, 0.4).skill == pytest.approx(0.75)
    assert evaluation(0.5, 0.25).skill == -1
    assert math.isfinite(evaluation(0.1, 0.0).skill)


@pytest.mark.parametrize(("brightest", "is_black"), [(0.0, True), (0.049, True), (0.05, False)])
def test_a_model_that_shows_nothing_is_called_black(brightest, is_black):
    assert evaluation(0.1, 0.2, brightest).is_black is is_black


def test_mean_scores_averages_each_metric():
    assert mean_scores([Scores(1, 2, 3, 4), Scores(3, 2, 1, 0)]) == Scores(2, 2, 2, 2)


def test_images_are_float32_arrays_without_the_channel():
    frames = torch.rand(2, 3, 1, 4, 5, generator=seeded(), dtype=torch.float64)
    images = as_images(frames.bfloat16())
    assert images.shape == (2, 3, 4, 5)
    assert images.dtype == np.float32
    assert np.array_equal(as_images(frames), frames[:, :, 0].float().numpy())


@pytest.mark.parametrize(
    ("predicted", "truth"),
    [((2, 3, 8, 8), (2, 3, 8, 9)), ((1, 3, 8, 8), (2, 3, 8, 8)), ((3, 8, 8), (3, 8, 8))],
)
def test_frames_of_other_shapes_are_refused(predicted, truth):
    with pytest.raises(ValueError, match=r"must be one shape \(B, T, H, W\)"):
        score_frames(np.zeros(predicted, np.float32), np.zeros(truth, np.float32))
