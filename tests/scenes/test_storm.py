"""The storm, against its file read by hand and the errors that were measured of its baselines."""

from pathlib import Path

import numpy as np
import pytest
import torch

import convlstm
from convlstm.checks import SettingError
from convlstm.scenes.storm import Storm
from convlstm.training.metrics import mean_of
from convlstm.training.validation import scene_scores

FILE = Path(convlstm.__file__).parent / "scenes" / "blizzard" / "storm.npz"
# What 0 and 1 stand for, of each quantity in the file.
RANGES = {
    "pressure_pa": (96_000, 107_000),
    "temperature_k": (200, 350),
    "wind_east_ms": (-35, 35),
    "wind_north_ms": (-35, 35),
}
CHANNELS = {
    "all": list(RANGES),
    "pressure": ["pressure_pa"],
    "temperature": ["temperature_k"],
    "wind": ["wind_east_ms", "wind_north_ms"],
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps_of(variable: str = "pressure") -> torch.Tensor:
    """The file's maps, (64, C, 33, 36), north first, NaN where nothing is known."""
    with np.load(FILE) as file:
        channels = [
            (file[name][:, ::-1] - RANGES[name][0]) / (RANGES[name][1] - RANGES[name][0])
            for name in CHANNELS[variable]
        ]
    return torch.from_numpy(np.stack(channels, 1).astype(np.float32))


def numbers_of(frames: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Find which map of the file each frame is: (B, T, C, H, W) -> (B, T)."""
    known = maps.nan_to_num(0.5)
    row = known[:, 0, 16]  # one of them tells the maps apart
    at = (frames[:, :, None, 0, 16] - row).abs().amax(-1).argmin(-1)
    torch.testing.assert_close(frames, known[at], rtol=0, atol=1e-5)
    return at


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("variable", CHANNELS)
def test_a_batch_has_the_stated_shape_type_and_range(variable, split):
    clip = Storm(variable=variable).sample(3, 7, seeded(), split)
    channels = len(CHANNELS[variable])
    assert Storm(variable=variable).size == (33, 36)
    assert Storm(variable=variable).frames.channels == channels
    assert {t.shape for t in clip[:3]} == {(3, 7, channels, 33, 36)}
    assert [t.dtype for t in clip[:3]] == [torch.float32, torch.float32, torch.bool]
    for frames in (clip.observed, clip.clean):
        assert 0 <= frames.min() < frames.max() <= 1


@pytest.mark.parametrize("variable", CHANNELS)
def test_the_maps_are_the_file_s_and_missing_points_are_masked(variable):
    maps = maps_of(variable)
    scene = Storm(variable=variable)
    clip = scene.validation(20, 8)  # windows of 28 frames
    at = numbers_of(clip.clean, maps)
    assert torch.equal(clip.valid, ~maps.isnan()[at])
    assert not clip.valid.all()
    assert (clip.clean[~clip.valid] == 0.5).all()
    torch.testing.assert_close(clip.clean, maps.nan_to_num(0.5)[at])
    whole = clip.valid.any(-1).any(-1)  # (B, T, C): maps of which something is known
    assert torch.equal(clip.observed[whole], clip.clean[whole])


def test_a_map_that_is_missing_whole_repeats_the_one_before_it_for_whoever_reads_it():
    maps = maps_of("all")
    missing = [tuple(at) for at in maps.isnan().all(-1).all(-1).nonzero().tolist()]
    assert missing == [(17, 1), (17, 3), (37, 3)]
    clip = Storm().sample(3, 40, seeded())
    seen = set()
    for window, first in enumerate(numbers_of(clip.clean, maps)[:, 0].tolist()):
        for frame, channel in missing:
            t = frame - first
            if 1 <= t < 40:
                seen.add((frame, channel))
                assert not clip.valid[window, t, channel].any()
                before = clip.observed[window, t - 1, channel]
                assert torch.equal(clip.observed[window, t, channel], before)
                assert (clip.clean[window, t, channel] == 0.5).all()
    assert seen == set(missing)


def test_training_never_touches_the_last_sixteen_frames():
    clip = Storm(variable="pressure").sample(300, 7, seeded())
    at = numbers_of(clip.clean, maps_of())
    assert (at.diff(dim=1) == 1).all()
    assert set(at[:, 0].tolist()) == set(range(48 - 7 + 1))
    assert at.max() == 47


@pytest.mark.parametrize(("context_frames", "horizon"), [(6, 1), (6, 4), (1, 1), (20, 8)])
def test_validation_predicts_the_last_sixteen_frames_alone_and_each_of_them(
    context_frames, horizon
):
    scene = Storm(variable="pressure")
    at = numbers_of(scene.validation(context_frames, horizon).clean, maps_of())
    assert (at.diff(dim=1) == 1).all()
    assert at[:, context_frames].tolist() == list(range(48, 64 - horizon + 1))
    assert at[:, -1].max() == 63
    (tested,) = scene.test(context_frames, horizon, 1000, seed=3)
    assert torch.equal(tested.clean, scene.validation(context_frames, horizon).clean)
    (few,) = scene.test(context_frames, horizon, 2, seed=3)
    assert len(few.clean) == 2
    for sample in range(scene.samples):
        shown = numbers_of(scene.shown(sample, context_frames, horizon).clean, maps_of())
        assert shown.shape == (1, context_frames + horizon)
        assert shown[0, context_frames] >= 48


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_is_drawn_to_judge_by_lies_in_the_last_sixteen_frames(split):
    clip = Storm(variable="pressure").sample(200, 7, seeded(), split)
    at = numbers_of(clip.clean, maps_of())
    assert (at.min(), at.max()) == (48, 63)


@pytest.mark.parametrize(
    ("baseline", "pascal", "within"), [("copy_last", 490.9, 0.1), ("climatology", 1098, 1)]
)
@pytest.mark.parametrize("variable", ["pressure", "all"])
def test_the_baselines_err_by_what_was_measured_six_hours_ahead(variable, baseline, pascal, within):
    scene = Storm(variable=variable)
    context, truth, valid = scene.validation(6, 1).split(6)
    predicted = scene.baseline(baseline, context, truth)
    mse = mean_of(scene_scores(scene, predicted, truth, valid)).mse
    assert scene.measure.unit == "hPa"
    assert 100 * scene.measure.of(mse) == pytest.approx(pascal, abs=within)


def test_the_climatology_is_the_mean_of_what_is_known_of_the_training_frames():
    maps = maps_of("wind")
    truth = Storm(variable="wind").validation(6, 1).clean[:, 6:]
    found = Storm(variable="wind").baseline("climatology", truth, truth)
    expected = maps[:48].nanmean(0).nan_to_num(0.5)
    torch.testing.assert_close(found[3, 0], expected)
    assert found.shape == truth.shape


def test_copying_repeats_the_last_map_seen():
    context, truth, _ = Storm().validation(6, 4).split(6)
    copied = Storm().baseline("copy_last", context, truth)
    assert all(torch.equal(copied[:, t], context[:, -1]) for t in range(4))


def test_the_frames_have_dates():
    # Frame 48 is 12 days after the 5th of January 1996, 0 h UTC: the first that is predicted.
    assert Storm().times(0, 6, 8)[6] == "01-17 00h"
    assert Storm().times(7, 6, 8)[-1] == "01-20 18h"
    times = Storm().times(0, 6, 14)
    assert times[:5] == ["01-15 12h", "01-15 18h", "01-16 00h", "01-16 06h", "01-16 12h"]
    assert len(times) == 14
    at = numbers_of(Storm(variable="pressure").shown(0, 6, 8).clean, maps_of())
    assert at[0, :2].tolist() == [42, 43]  # ten and a half days after the first


@pytest.mark.parametrize("crop", [12, 24, 32])
def test_crops_are_pieces_of_the_maps(crop):
    scene, maps = Storm(variable="wind", crop=crop), maps_of("wind").nan_to_num(0.5)
    clip = scene.sample(12, 3, seeded())
    assert {t.shape for t in clip[:3]} == {(12, 3, 2, crop, crop)}
    windows = maps[:48].unfold(2, crop, 1).unfold(3, crop, 1)  # (48, 2, rows, columns, crop, crop)
    corners = set()
    for sequence in range(12):
        same = (windows - clip.clean[sequence, 0][:, None, None]).abs().amax((1, 4, 5)) < 1e-5
        t, top, left = same.nonzero()[0].tolist()
        corners.add((top, left))
        torch.testing.assert_close(clip.clean[sequence], windows[t : t + 3, :, top, left])
        known = ~maps_of("wind").isnan()[t : t + 3, :, top : top + crop, left : left + crop]
        assert torch.equal(clip.valid[sequence], known)
    assert len(corners) > 3
    tops, lefts = zip(*corners, strict=True)
    assert (min(tops), min(lefts)) >= (0, 0)
    assert max(tops) <= 33 - crop
    assert max(lefts) <= 36 - crop


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_is_judged_is_judged_on_whole_maps(split):
    assert Storm(crop=16).sample(2, 3, seeded(), split).clean.shape == (2, 3, 4, 33, 36)
    assert torch.equal(Storm(crop=16).validation(6, 1).clean, Storm().validation(6, 1).clean)


def test_the_generator_is_the_only_source_of_randomness():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, two, other = (Storm(crop=16).sample(4, 5, seeded(seed)) for seed in (9, 9, 10))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one[:3], two[:3], strict=True))
    assert not torch.equal(one.clean, other.clean)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variable": "snow"}, "variable is 'snow': must be one of all, pressure, temperature, "),
        ({"crop": 11}, "crop is 11: must be 0, for whole maps, or from 12 to 32."),
        ({"crop": 1}, "crop is 1: must be 0, for whole maps, or from 12 to 32."),
        ({"crop": 33}, "crop is 33: must be a whole number from 0 to 32."),
        ({"crop": -1}, "crop is -1: must be a whole number from 0 to 32."),
    ],
)
def test_a_setting_outside_its_range_is_refused(settings, message):
    with pytest.raises(SettingError) as caught:
        Storm(**settings)
    assert str(caught.value).startswith(message)
