import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from convlstm.video_metrics import (
    SCORE_NAMES,
    frame_scores,
    mean_of,
    uniform_ssim,
)


def frames(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(7, 7), (64, 64), (9, 30)])
def test_ssim_equals_scikit_image_s(shape):
    x, y = frames(3, *shape), frames(3, *shape, seed=1)
    y[1] = 0  # a black frame
    y[2] = x[2]
    for data_range, found in zip((1.0, 2.0), uniform_ssim(x, y, 1.0, 2.0), strict=True):
        expected = [
            structural_similarity(a, b, data_range=data_range)
            for a, b in zip(x.double().numpy(), y.double().numpy(), strict=True)
        ]
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


def test_frames_too_small_or_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 6, 7\) and truth \(1, 6, 7\): must have one shape"):
        uniform_ssim(frames(1, 6, 7), frames(1, 6, 7), 1.0)
    with pytest.raises(ValueError, match="must have one shape, at least 7 px"):
        uniform_ssim(frames(1, 7, 8), frames(1, 7, 7), 1.0)
    with pytest.raises(ValueError, match=r"must be one shape \(B, T, 1, H, W\)"):
        frame_scores(frames(2, 3, 64, 64), frames(2, 3, 64, 64))


def test_each_frame_is_scored_by_the_table_s_rules():
    predicted, truth = 1.4 * frames(2, 3, 1, 16, 20) - 0.2, frames(2, 3, 1, 16, 20, seed=1)
    scores = frame_scores(predicted, truth)
    assert scores.shape == (2, 3, len(SCORE_NAMES))
    p, y = predicted[1, 2, 0].double().numpy(), truth[1, 2, 0].double().numpy()
    clipped = p.clip(0, 1)
    expected = [
        ((p - y) ** 2).sum(),  # sums over pixels, not clipped
        abs(p - y).sum(),
        peak_signal_noise_ratio(y, clipped, data_range=1),
        structural_similarity(clipped, y, data_range=1),
        structural_similarity(clipped, y, data_range=2),
    ]
    np.testing.assert_allclose(scores[1, 2].numpy(), expected, rtol=1e-9)


def test_a_perfect_prediction_scores_perfectly_and_finitely():
    truth = frames(1, 2, 1, 16, 16)
    scores = mean_of(frame_scores(truth, truth))
    assert (scores.mse, scores.mae, scores.psnr) == (0, 0, 100)
    assert scores.ssim == pytest.approx(1)
    assert scores.ssim_openstl == pytest.approx(1)


def test_the_mean_is_over_all_frames():
    scores = torch.arange(20.0).double().view(2, 2, 5)
    assert mean_of(scores).mse == pytest.approx((0 + 5 + 10 + 15) / 4)
    assert mean_of(scores).ssim_openstl == pytest.approx((4 + 9 + 14 + 19) / 4)


def test_many_frames_are_scored_as_few_are():
    predicted, truth = frames(1, 101, 1, 8, 8), frames(1, 101, 1, 8, 8, seed=1)
    scores = frame_scores(predicted, truth)
    assert torch.equal(scores[:, 100:], frame_scores(predicted[:, 100:], truth[:, 100:]))
