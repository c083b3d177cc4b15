"""What holds for every scene of the catalogue."""

import pytest
import torch

from convlstm.scenes.catalogue import CATALOGUE
from convlstm.scenes.scene import Clip, Measure, lossless_bytes
from convlstm.scenes.squares import Squares

SCENES = [entry.scene for entry in CATALOGUE.values()]
DRAWN = [
    scene for scene in SCENES if scene.name not in ("storm", "own")
]  # which have what they have


def name_of(scene) -> str:
    return scene.name


def are_equal(one: Clip, two: Clip) -> bool:
    pairs = zip(one, two, strict=True)
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
def test_the_sequences_that_judge_are_the_same_at_every_call(scene):
    one, two = scene.validation(5, 2), scene.validation(5, 2)
    assert are_equal(one, two)
    assert one.clean.shape[1:] == (7, scene.frames.channels, *scene.size)
    assert len(one.clean) <= scene.validation_sequences


def test_as_many_sequences_judge_as_a_curve_needs_to_be_calm():
    assert {scene.name: len(scene.validation(2, 1).clean) for scene in SCENES} == {
        "squares": 32,
        "digits": 128,
        "storm": 16,
        "own": 30,
    }


@pytest.mark.parametrize("scene", DRAWN, ids=name_of)
def test_test_sequences_are_the_same_whatever_their_number_and_horizon(scene):
    (few,) = scene.test(5, 2, 3, seed=7)
    many = list(scene.test(5, 9, 52, seed=7))
    assert [len(clip.clean) for clip in many] == [50, 2]
    assert few.clean.shape[:2] == (3, 7)
    assert torch.equal(few.clean, many[0].clean[:3, :7])
    (other,) = scene.test(5, 2, 3, seed=8)
    assert not torch.equal(few.clean, other.clean)


@pytest.mark.parametrize("scene", DRAWN, ids=name_of)
def test_noise_too_is_the_same_whatever_the_number_and_the_horizon(scene):
    if scene.name == "squares":
        scene = Squares(canvas=16, noise=0.1)
    near, far = (list(scene.test(3, horizon, 60, seed=7)) for horizon in (1, scene.longest_horizon))
    for one, two in zip(near, far, strict=True):
        assert are_equal(one, two.frames(4))


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
def test_the_shown_samples_are_different_sequences_of_one(scene):
    shown = [scene.shown(sample, 5, 2) for sample in range(scene.samples)]
    assert {clip.clean.shape for clip in shown} == {(1, 7, scene.frames.channels, *scene.size)}
    assert are_equal(shown[0], scene.shown(0, 5, 2))
    assert not torch.equal(shown[0].clean, shown[-1].clean)


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
def test_every_baseline_is_a_prediction_in_the_shape_of_the_truth(scene):
    context, truth, _ = scene.validation(5, 2).split(5)
    for name in scene.baselines:
        predicted = scene.baseline(name, context, truth)
        assert predicted.shape == truth.shape
        assert 0 <= predicted.min() <= predicted.max() <= 1
    assert scene.baselines[0] == "copy_last"


def test_copy_last_repeats_the_last_frame_seen():
    context = torch.rand(2, 4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    copied = Squares().baseline("copy_last", context, torch.zeros(2, 3, 1, 8, 8))
    assert copied.shape == (2, 3, 1, 8, 8)
    assert all(torch.equal(copied[:, t], context[:, 3]) for t in range(3))


def test_black_frames_are_black_in_the_shape_of_the_truth():
    truth = torch.rand(2, 3, 1, 8, 8, dtype=torch.float64)
    black = Squares().baseline("black", truth, truth)
    assert black.shape == truth.shape
    assert black.dtype == truth.dtype
    assert not black.any()


def test_parts_of_a_clip_are_parts_of_all_that_it_holds():
    clip = Clip(*torch.arange(4 * 24.0).view(4, 2, 3, 1, 2, 2))
    assert are_equal(clip.part(slice(1, 2)), Clip(*(t[1:2] for t in clip)))
    assert are_equal(clip.frames(2), Clip(*(t[:, :2] for t in clip)))
    context, truth, valid = clip.split(2)
    assert torch.equal(context, clip.observed[:, :2])
    assert torch.equal(truth, clip.clean[:, 2:])
    assert torch.equal(valid, clip.valid[:, 2:])
    assert torch.equal(clip.unseen(2), clip.hidden[:, 1])
    plain = Clip(clip.observed, clip.clean)
    assert plain.part(slice(1)).valid is plain.frames(1).valid is plain.split(1)[2] is None
    assert plain.part(slice(1)).hidden is plain.unseen(1) is None


def test_an_error_is_told_as_it_is_measured():
    assert Measure().of(0.25) == 0.25
    assert Measure("mse", 4096).of(0.25) == 1024
    assert Measure("rmse", 110).of(0.25) == 55


def test_values_that_are_whole_255ths_are_kept_as_bytes():
    values = torch.arange(256).float() / 255
    assert torch.equal(lossless_bytes(values).float() / 255, values)
    assert lossless_bytes(values).dtype == torch.uint8
    assert torch.equal(lossless_bytes(values + 1e-4), values + 1e-4)


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
def test_every_channel_has_a_quantity(scene):
    assert len(scene.quantities) == scene.frames.channels
    assert all(each.low < each.high for each in scene.quantities)
