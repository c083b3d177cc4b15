"""One's own clip: what is trained on and what is judged, and what is no clip."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from convlstm.checks import SettingError
from convlstm.scenes.own import Own
from convlstm.scenes.recording import MAX_FRAMES, Recording, example
from convlstm.settings import configure
from convlstm.training.config import TrainConfig
from convlstm.training.costs import estimate, steps_left
from convlstm.training.presets import default_config


def numbered(count: int, side: int = 32, channels: int = 1) -> Recording:
    """Frames that say which they are: all of frame t is t."""
    values = np.arange(count).astype(np.uint8).reshape(-1, 1, 1, 1)
    return Recording(np.broadcast_to(values, (count, side, side, channels)).copy())


def own(count: int = 100, **settings) -> Own:
    return Own(**{"canvas": 32, "colours": "grey", "recording": numbered(count)} | settings)


def times(frames: torch.Tensor) -> torch.Tensor:
    """Return which frames these are, (B, T)."""
    return (255 * frames[:, :, 0, 0, 0]).round().long()


@pytest.mark.parametrize(("count", "every"), [(20, 1), (100, 1), (101, 3), (250, 2)])
def test_the_last_fifth_is_never_trained_on_and_alone_is_predicted_when_judging(count, every):
    scene = own(count, every=every)
    assert scene.count == len(range(0, count, every))
    held_out = scene.count // 5
    first_held_out = every * (scene.count - held_out)
    drawn = scene.sample(200, 7, torch.Generator().manual_seed(1))
    assert times(drawn.clean).max() == first_held_out - every  # the last of training is used, too
    for context, horizon in ((3, 1), (9, scene.longest_horizon)):
        judged = times(scene.validation(context, horizon).clean)
        assert judged.shape[1] == context + horizon
        assert judged[:, context:].min() >= first_held_out
        assert judged.max() <= every * (scene.count - 1)
        assert torch.all(judged.diff(dim=1) == every)


def test_a_horizon_changes_no_first_frame_that_is_judged():
    scene = own(600)
    near, far = scene.validation(4, 1), scene.validation(4, 20)
    assert len(near.clean) <= scene.validation_sequences
    assert torch.equal(near.clean[: len(far.clean), :5], far.clean[:, :5])


def test_after_the_end_nothing_is_known():
    clip = own(40).beyond(6, 50)
    assert times(clip.clean[:, :6]).tolist() == [list(range(34, 40))]
    assert clip.valid[:, :6].all() and not clip.valid[:, 6:].any()


def test_a_stage_near_the_end_of_a_short_clip_knows_what_it_does_not_know():
    clip = own(20).shown(7, 15, 10)
    known = clip.valid[0, :, 0, 0, 0]
    assert known.tolist() == [True] * 20 + [False] * 5
    assert times(clip.clean)[0].tolist() == [*range(20), *[19] * 5]


def test_pieces_are_of_the_same_place_in_all_frames_of_a_sequence():
    ramp = np.arange(32, dtype=np.uint8).reshape(1, 1, 32, 1)
    frames = np.broadcast_to(ramp, (30, 32, 32, 1)).copy()
    frames[::2] += 100
    scene = Own(canvas=32, colours="grey", crop=12, recording=Recording(frames))
    clip = scene.sample(20, 4, torch.Generator().manual_seed(2))
    assert clip.clean.shape == (20, 4, 1, 12, 12)
    places = (255 * clip.clean[:, :, 0, 0, 0]).round().long() % 100
    assert torch.equal(places, places[:, :1].expand_as(places)) and len(places.unique()) > 5


def test_colours_become_grey_as_the_eye_sees_them_and_grey_becomes_three_equal_ones():
    frames = np.zeros((20, 32, 32, 3), np.uint8)
    frames[::2] = (200, 100, 50)
    grey = Own(canvas=32, colours="grey", recording=Recording(frames))
    values = grey.sample(1, 2, torch.Generator().manual_seed(0)).clean
    assert 255 * values.max().item() == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=1)
    coloured = own(30, colours="colour").sample(1, 2, torch.Generator().manual_seed(0)).clean
    assert coloured.shape[2] == 3 and torch.equal(coloured[:, :, 0], coloured[:, :, 2])


def test_the_mean_frame_is_of_the_frames_of_training():
    scene = own(100)
    predicted = scene.baseline(
        "mean_frame", torch.zeros(2, 3, 1, 32, 32), torch.zeros(2, 4, 1, 32, 32)
    )
    assert 255 * predicted.unique().item() == pytest.approx(np.arange(80).mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("frames", "rule"),
    [
        (np.zeros((30, 32, 32, 1), np.uint8), "clip still"),
        (np.zeros((19, 32, 32, 1), np.uint8), "clip frames"),
        (np.zeros((MAX_FRAMES + 1, 16, 16, 1), np.uint8), "clip frames"),
        (np.zeros((30, 8, 8, 1), np.uint8), "clip side"),
        (np.zeros((30, 97, 97, 1), np.uint8), "clip side"),
        (np.zeros((30, 32, 33, 1), np.uint8), "clip side"),
        (np.zeros((30, 32, 32, 2), np.uint8), "clip side"),
        (np.zeros((30, 32, 32, 1), np.float32), "clip side"),
        (np.zeros((30, 32, 32), np.uint8), "clip side"),
    ],
)
def test_what_is_no_clip_is_refused(frames, rule):
    with pytest.raises(SettingError) as refused:
        Recording(frames)
    assert refused.value.rule == rule


@pytest.mark.parametrize(
    ("count", "settings", "name"),
    [
        (50, {"every": 3}, "every"),
        (50, {"crop": 8}, "crop"),
        (50, {"crop": 40}, "crop"),
    ],
)
def test_settings_that_leave_too_little_are_refused(count, settings, name):
    with pytest.raises(SettingError) as refused:
        own(count, **settings)
    assert refused.value.name == name


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"horizon": 5}, "horizon"), ({"context_frames": 14, "horizon": 3}, "context_frames")],
)
def test_a_training_that_asks_for_more_frames_than_there_are_is_refused(settings, name):
    config = TrainConfig(own(20), default_config("own").network, loss="mse")
    with pytest.raises(SettingError) as refused:
        configure(settings, config)
    assert refused.value.name == name


def test_what_is_judged_may_look_unlike_all_the_rest():
    frames = np.random.default_rng(0).integers(0, 60, (50, 32, 32, 1)).astype(np.uint8)
    assert not Own(canvas=32, colours="grey", recording=Recording(frames)).is_unlike()
    frames[40:] += 150
    assert Own(canvas=32, colours="grey", recording=Recording(frames)).is_unlike()


def test_recordings_are_known_by_what_they_show():
    assert numbered(30) == numbered(30) != numbered(31)
    assert len({numbered(30), numbered(30), example()}) == 2
    assert Own() == Own() and Own().data == {}
    brought = own(30)
    assert Own(canvas=32, colours="grey").holding(brought.data) == brought
    with pytest.raises(ValueError, match="read-only"):
        brought.recording.frames[0] = 1


def test_nothing_remembers_a_clip_whose_run_is_gone():
    config = replace(default_config("own"), scene=own(60, colours="colour"))
    gone = weakref.ref(config.scene.recording)
    estimate(config, "float32")
    steps_left(config, "float32", 0.5)
    config.scene.validation(4, 1)
    config.scene.baseline("mean_frame", torch.zeros(1, 1, 3, 32, 32), torch.zeros(1, 1, 3, 32, 32))
    del config
    gc.collect()
    assert gone() is None


def test_the_memory_of_a_clip_is_counted():
    config = default_config("own")
    brought = replace(config, scene=replace(config.scene, recording=numbered(600, 96, 3)))
    without, with_it = (estimate(each, "float32").kept_mib for each in (config, brought))
    assert with_it - without > 600 * 96 * 96 * 3 / 2**20


def test_scenes_that_show_a_clip_in_turns_scale_it_once_where_many_share_it():
    shared = Recording(numbered(30).frames, keeps=2)
    first, second = shared.at(16, 1, 1), shared.at(32, 3, 1)
    assert shared.at(16, 1, 1) is first and shared.at(32, 3, 1) is second
    shared.at(48, 1, 1)
    assert shared.at(32, 3, 1) is second and shared.at(16, 1, 1) is not first
