"""Metrics, against scikit-image and the numbers that are known of the article's scene."""

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from convlstm.scenes.squares import Squares
from convlstm.training.metrics import (
    METRICS,
    Evaluation,
    Scores,
    by_lead_time,
    frame_scores,
    mean_of,
    mean_scores,
    skill,
    uniform_ssim,
    unseen_scores,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=seeded(seed))


def two_videos(B: int = 2, T: int = 3, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    truth = frames(B, T, 1, size, size)
    noise = 0.1 * torch.randn(truth.shape, generator=seeded(1))
    return (truth + noise * torch.arange(1, T + 1)[:, None, None, None]).clamp(0, 1), truth


def score(predicted: torch.Tensor, truth: torch.Tensor) -> Scores:
    return mean_of(frame_scores(predicted, truth))


def evaluation(mse: float, copy_mse: float, brightest: float = 1.0) -> Evaluation:
    model, black, copied = (Scores(value, 0.0, 0.0, 0.0, 0.0) for value in (mse, 0.5, copy_mse))
    return Evaluation(model, {"copy_last": copied, "black": black}, brightest)


def test_skill_where_nothing_is_seen_is_over_the_better_baseline():
    tables = {name: frames(4, 2, 5, seed=n).double() for n, name in enumerate(("model", "a", "b"))}
    unseen = torch.tensor([True, False, True, False])
    found = unseen_scores(tables, unseen)
    mses = {name: table[[0, 2], :, 0].mean().item() for name, table in tables.items()}
    assert found.model.mse == pytest.approx(mses["model"])
    better = min(mses["a"], mses["b"])
    assert found.skill == pytest.approx(1 - mses["model"] / better)
    skills = [found.skill_of(scores) for scores in found.baselines.values()]
    assert skills == pytest.approx([1 - mses[name] / better for name in found.baselines])
    assert max(skills) == 0
    assert unseen_scores(tables, unseen & False) is unseen_scores(tables, None) is None


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


def test_frames_too_small_or_of_two_shapes_are_refused_by_ssim():
    with pytest.raises(ValueError, match=r"\(1, 6, 7\) and truth \(1, 6, 7\): must have one shape"):
        uniform_ssim(frames(1, 6, 7), frames(1, 6, 7), 1.0)
    with pytest.raises(ValueError, match="must have one shape, at least 7 px"):
        uniform_ssim(frames(1, 7, 8), frames(1, 7, 7), 1.0)


@pytest.mark.parametrize(
    ("predicted", "truth"),
    [
        ((2, 3, 1, 8, 8), (2, 3, 1, 8, 9)),
        ((1, 3, 1, 8, 8), (2, 3, 1, 8, 8)),
        ((2, 3, 8, 8), (2, 3, 8, 8)),
        ((3, 8, 8), (3, 8, 8)),
    ],
)
def test_frames_of_other_shapes_are_refused(predicted, truth):
    with pytest.raises(ValueError, match=r"must be one shape \(B, T, C, H, W\)"):
        frame_scores(torch.zeros(predicted), torch.zeros(truth))


def test_each_frame_is_scored_by_the_rules():
    predicted, truth = 1.4 * frames(2, 3, 1, 16, 20) - 0.2, frames(2, 3, 1, 16, 20, seed=1)
    scores = frame_scores(predicted, truth)
    assert scores.shape == (2, 3, len(METRICS))
    assert scores.dtype == torch.float64
    for b in range(2):
        for t in range(3):
            p, y = predicted[b, t, 0].double().numpy(), truth[b, t, 0].double().numpy()
            clipped = p.clip(0, 1)
            pixels = [float(a) - float(c) for a, c in zip(p.flatten(), y.flatten(), strict=True)]
            expected = [
                sum(d * d for d in pixels) / 320,  # per pixel, not clipped
                sum(abs(d) for d in pixels) / 320,
                peak_signal_noise_ratio(y, clipped, data_range=1),
                structural_similarity(clipped, y, data_range=1),
                structural_similarity(clipped, y, data_range=2),
            ]
            np.testing.assert_allclose(scores[b, t].numpy(), expected, rtol=1e-9)


def test_a_score_is_the_mean_over_all_frames_and_by_lead_time_over_one():
    predicted, truth = two_videos()
    table = frame_scores(predicted, truth)
    for number, name in enumerate(METRICS):
        values = table[..., number].numpy()
        assert getattr(score(predicted, truth), name) == pytest.approx(values.mean())
        leads = [getattr(scores, name) for scores in by_lead_time(table)]
        assert leads == pytest.approx(list(values.mean(0)))
    mses = [scores.mse for scores in by_lead_time(table)]
    assert mses == sorted(mses)
    assert mses[0] < mses[2]


def test_several_channels_count_alike():
    predicted, truth = frames(2, 3, 4, 9, 8), frames(2, 3, 4, 9, 8, seed=1)
    each = [frame_scores(predicted[:, :, c : c + 1], truth[:, :, c : c + 1]) for c in range(4)]
    torch.testing.assert_close(frame_scores(predicted, truth), torch.stack(each).mean(0))


def test_a_perfect_frame_has_a_finite_psnr():
    truth = two_videos()[1]
    found = score(truth, truth)
    assert (found.mse, found.mae, found.psnr) == (0, 0, 100)
    assert found.ssim == pytest.approx(1, abs=1e-12)
    assert found.ssim_openstl == pytest.approx(1, abs=1e-12)
    nearly = truth.clone()
    nearly[..., 0, 0] += 1e-7
    assert score(nearly, truth).psnr == 100


@pytest.mark.parametrize("broken", [slice(None), 1])
def test_a_frame_of_nan_is_not_taken_for_a_perfect_one_nor_left_out(broken):
    predicted, truth = two_videos()
    predicted[broken, 1] = math.nan
    found = score(predicted, truth)
    assert math.isnan(found.mse)
    assert math.isnan(found.psnr)
    leads = by_lead_time(frame_scores(predicted, truth))
    assert [math.isnan(scores.mse) for scores in leads] == [False, True, False]
    assert math.isnan(mean_scores(leads).mse)


def test_only_what_is_known_of_the_truth_counts():
    predicted, truth = frames(2, 3, 2, 9, 8), frames(2, 3, 2, 9, 8, seed=1)
    valid = frames(2, 3, 2, 9, 8, seed=2) < 0.7
    scores = frame_scores(predicted, truth, valid)
    nonsense = torch.where(valid, truth, 0.5)
    assert torch.equal(frame_scores(predicted, truth, torch.ones_like(valid)), frame_scores(
        predicted, truth
    ))  # fmt: skip
    p, y = predicted[1, 2].double().numpy(), truth[1, 2].double().numpy()
    known = valid[1, 2].numpy()
    mses = [((p[c] - y[c])[known[c]] ** 2).mean() for c in range(2)]
    maes = [abs(p[c] - y[c])[known[c]].mean() for c in range(2)]
    assert scores[1, 2, 0].item() == pytest.approx(np.mean(mses))
    assert scores[1, 2, 1].item() == pytest.approx(np.mean(maes))
    assert scores[1, 2, 2].item() == pytest.approx(np.mean(-10 * np.log10(mses)))
    right = np.where(known, p, y)  # what nobody knows counts as right
    ssim = [structural_similarity(right[c], y[c], data_range=1) for c in range(2)]
    assert scores[1, 2, 3].item() == pytest.approx(np.mean(ssim))
    torch.testing.assert_close(frame_scores(predicted, nonsense, valid)[..., :3], scores[..., :3])


def test_a_frame_of_which_nothing_is_known_counts_nowhere():
    predicted, truth = two_videos()
    valid = torch.ones_like(truth, dtype=torch.bool)
    valid[1, 1] = False
    scores = frame_scores(predicted, truth, valid)
    assert scores.isnan().any(-1).nonzero().tolist() == [[1, 1]]
    assert scores[1, 1].isnan().all()
    others = torch.cat([scores[0], scores[1, [0, 2]]])
    assert astuple(mean_of(scores)) == pytest.approx(others.mean(0).tolist())
    assert by_lead_time(scores)[1] == mean_of(scores[:1, 1:2])
    valid[:, 1] = False
    leads = by_lead_time(frame_scores(predicted, truth, valid))
    assert math.isnan(leads[1].mse)
    assert astuple(mean_scores(leads)) == pytest.approx(astuple(mean_scores([leads[0], leads[2]])))


def test_the_trivial_baselines_of_the_article_s_scene_score_what_was_measured():
    # guide/field.md, section 1: black 0.0061 and 0.968, copy-last 0.0062 and 0.968.
    scene = Squares()
    context, truth, _ = scene.sample(64, 10, seeded()).split(9)
    black = score(scene.baseline("black", context, truth), truth)
    copied = score(scene.baseline("copy_last", context, truth), truth)
    assert black.mse == pytest.approx(25 / 64**2)
    assert black.ssim == pytest.approx(0.968, abs=0.002)
    assert copied.mse == pytest.approx(0.0062, abs=0.0006)
    assert copied.ssim == pytest.approx(0.968, abs=0.004)


def test_skill_is_the_share_of_copy_last_s_error_that_is_removed():
    assert evaluation(0.0, 0.25).skill == 1
    assert evaluation(0.25, 0.25).skill == 0
    assert evaluation(0.1, 0.4).skill == pytest.approx(0.75)
    assert evaluation(0.5, 0.25).skill == -1
    assert math.isfinite(evaluation(0.1, 0.0).skill)
    found = evaluation(0.1, 0.4)
    assert skill(found.model, found.baselines["copy_last"]) == found.skill


@pytest.mark.parametrize(("brightest", "is_black"), [(0.0, True), (0.049, True), (0.05, False)])
def test_a_model_that_shows_nothing_is_called_black(brightest, is_black):
    assert evaluation(0.1, 0.2, brightest).is_black is is_black
    assert not evaluation(0.1, 0.2, math.nan).is_black


def test_mean_scores_averages_each_metric():
    found = mean_scores([Scores(1, 2, 3, 4, 5), Scores(3, 2, 1, 0, 1)])
    assert found == Scores(2, 2, 2, 2, 3)


def test_the_mean_is_over_all_frames():
    scores = torch.arange(20.0).double().view(2, 2, 5)
    assert mean_of(scores).mse == pytest.approx((0 + 5 + 10 + 15) / 4)
    assert mean_of(scores).ssim_openstl == pytest.approx((4 + 9 + 14 + 19) / 4)


def test_many_frames_are_scored_as_few_are():
    predicted, truth = frames(1, 101, 1, 8, 8), frames(1, 101, 1, 8, 8, seed=1)
    scores = frame_scores(predicted, truth)
    assert torch.equal(scores[:, 100:], frame_scores(predicted[:, 100:], truth[:, 100:]))
