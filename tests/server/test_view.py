"""What the viewers of a run see, and when it is drawn."""

import numpy as np
import pytest
import torch

from convlstm.checks import SettingError
from convlstm.server.run import Run
from convlstm.training.metrics import Scores, frame_scores
from convlstm.training.speed_test import SEQUENCES, speed_sequences
from convlstm.training.trainer import Trainer
from tests.server.helpers import (
    DEADLINE,
    SCENES,
    SMALL,
    WATCHED_SECONDS,
    held,
    is_over,
    let_it_turn,
    opened,
    small,
    small_of,
    stepped,
    trained,
    unwatched,
    wait_until,
)


@pytest.mark.parametrize("scene", SCENES)
def test_a_picture_shows_a_sequence_its_continuation_and_the_prediction(serve, scene):
    scheduler = serve()
    config = small_of(scene)
    run = opened(scheduler, config)
    scheduler.look(run, 3)
    wait_until(lambda: run.picture and run.picture.sample == 3)
    picture, own = run.picture, config.scene
    seen, ahead = config.context_frames, {"squares": 10, "digits": 10, "storm": 8, "own": 10}[scene]
    assert picture.context.shape == (seen, *own.size)
    assert picture.truth.shape == picture.predicted.shape == (ahead, *own.size)
    for frames in (picture.context, picture.truth, picture.predicted):
        assert frames.dtype == np.float32
        assert 0 <= frames.min() <= frames.max() <= 1
    assert (picture.known is None) == (picture.times is None) == (scene != "storm")

    # The network's own prediction, of all channels of what the picture shows the first of.
    clip = own.shown(3, seen, ahead)
    context, truth, valid = clip.split(seen)
    assert np.array_equal(picture.context, context[0, :, 0])
    assert np.array_equal(picture.truth, truth[0, :, 0])
    predicted = Trainer(config).predict(context, ahead)
    assert np.array_equal(picture.predicted, predicted[0, :, 0])

    def rows(frames: torch.Tensor) -> list[Scores]:
        known = None if valid is None else valid[:, :, :1]
        return [Scores(*row) for row in frame_scores(frames, truth[:, :, :1], known)[0].tolist()]

    assert picture.scores == rows(predicted[:, :, :1])
    assert list(picture.baselines) == list(own.baselines)
    for name, scores in picture.baselines.items():
        # NaN is in no score here, so that they compare.
        assert scores == rows(own.baseline(name, context, truth)[:, :, :1])
    copied = torch.from_numpy(picture.context[-1:]).expand(ahead, -1, -1)[None, :, None]
    assert picture.baselines["copy_last"] == rows(copied)


def test_the_noise_of_a_scene_is_on_what_is_seen_and_not_on_the_truth(serve):
    scheduler = serve()
    run = opened(scheduler, small(noise=0.2))
    wait_until(lambda: run.picture)
    assert set(np.unique(run.picture.truth)) == {0, 1}
    assert len(np.unique(run.picture.context)) > 2


def test_a_picture_of_the_storm_says_when_it_was_and_what_is_missing(serve):
    scheduler = serve()
    run = opened(scheduler, small_of("storm"))
    wait_until(lambda: run.picture)
    picture = run.picture
    frames = len(picture.context) + len(picture.truth)
    assert picture.known.shape == (frames, *run.config.scene.size)
    assert picture.known.dtype == bool
    assert 0 < picture.known.mean() < 1
    assert picture.times == tuple(run.config.scene.times(0, len(picture.context), frames))
    assert len(set(picture.times)) == frames


@pytest.mark.parametrize("scene", SCENES)
def test_every_sample_can_be_looked_at_and_is_another_one(serve, scene):
    scheduler = serve()
    run = opened(scheduler, small_of(scene))
    seen = []
    samples = run.view.samples
    assert samples == run.config.scene.samples >= 8
    for sample in range(samples):
        scheduler.look(run, sample)
        wait_until(lambda sample=sample: run.picture and run.picture.sample == sample)
        seen.append(run.picture.context.tobytes() + run.picture.truth.tobytes())
    assert len(set(seen)) == samples


@pytest.mark.parametrize("scene", SCENES)
def test_a_look_beyond_what_there_is_is_refused(serve, scene):
    scheduler = serve()
    run = opened(scheduler, small_of(scene))
    for sample in (-1, run.view.samples, "1", None, 0.5, True):
        with pytest.raises(SettingError, match="^sample is"):
            scheduler.look(run, sample)
    assert (run.sample, run.instead) == (0, None)


def test_a_picture_keeps_the_number_of_its_sequence_while_another_is_chosen(serve):
    scheduler = serve()
    run = opened(scheduler)
    scheduler.look(run, 2)
    wait_until(lambda: run.picture and run.picture.sample == 2)
    with held(scheduler):
        scheduler.look(run, 5)
        assert (run.sample, run.picture.sample) == (5, 2)
    wait_until(lambda: run.picture.sample == 5)


def test_a_picture_follows_the_training(serve):
    scheduler = serve()
    run = opened(scheduler)
    wait_until(lambda: run.picture)
    first, version = run.picture, run.version
    stepped(scheduler, run)
    wait_until(lambda: run.picture is not first)
    assert run.version > version
    assert np.array_equal(run.picture.context, first.context)
    assert not np.array_equal(run.picture.predicted, first.predicted)


def test_a_picture_that_would_be_the_same_is_not_drawn_again(serve):
    scheduler = serve()
    run = opened(scheduler)
    wait_until(lambda: run.picture)
    picture, version = run.picture, run.version
    scheduler.watch(run)
    let_it_turn(scheduler)
    assert run.picture is picture
    assert run.version == version


def test_a_paused_run_s_picture_follows_every_change_of_speed(serve):
    scheduler = serve()
    run = opened(scheduler)
    wait_until(lambda: run.picture)
    for speeds in ((3, 4), (5, 6, 7), (1, 8)):
        with held(scheduler):  # a slider drawn fast: the first speeds are never pictured
            for speed in speeds:
                scheduler.adjust(run, small(speed=speed))
        wait_until(lambda speed=speeds[-1]: run.config.scene.speed == speed)
        let_it_turn(scheduler)
        expected = Run(Trainer(run.config))
        expected.draw_picture()
        assert np.array_equal(run.picture.context, expected.picture.context)


def test_nothing_is_drawn_that_nobody_looks_at(serve):
    scheduler = serve()
    with held(scheduler):
        future = scheduler.open(lambda: Trainer(SMALL))
        future.add_done_callback(lambda done: unwatched(done.result(), WATCHED_SECONDS + 10))
    run = future.result(DEADLINE)
    trained(scheduler, run, SMALL)
    wait_until(lambda: is_over(run))
    let_it_turn(scheduler)
    assert run.picture is None
    assert run.snapshot is None
    scheduler.watch(run, looks=False)  # who only waits for a run is told of it all the same
    wait_until(lambda: run.snapshot)
    let_it_turn(scheduler)
    assert run.picture is None and scheduler.watched() == [run]
    scheduler.watch(run)
    wait_until(lambda: run.picture)


@pytest.mark.parametrize("scene", ["squares", "digits"])
def test_a_sequence_of_the_speed_test_can_be_looked_at(serve, scene):
    scheduler = serve()
    config = small_of(scene)
    run = opened(scheduler, config)
    scheduler.look(run, 2)
    for speed, sample in ((0, 0), (5, 7)):
        scheduler.look(run, sample, speed)
        wait_until(lambda speed=speed: run.picture and run.picture.speed == speed)
        picture = run.picture
        assert (picture.sample, picture.samples) == (sample, SEQUENCES)
        seen, ahead = config.context_frames, len(picture.truth)
        clip = speed_sequences(config.scene, speed, seen, ahead, SEQUENCES)
        expected = clip.clean[sample, :, 0].numpy()
        assert np.array_equal(np.concatenate([picture.context, picture.truth]), expected)
    assert run.sample == 2  # to which one comes back
    scheduler.look(run, 3)
    wait_until(lambda: run.picture.speed is None)
    assert (run.picture.sample, run.picture.samples) == (3, run.view.samples)


@pytest.mark.parametrize("value", [-1, 9, 1.5, "2", True, [], float("nan")])
def test_a_speed_or_a_sequence_that_is_not_tested_is_refused(serve, value):
    scheduler = serve()
    run = opened(scheduler)
    with pytest.raises(SettingError, match="^speed is"):
        scheduler.look(run, 0, value)
    with pytest.raises(SettingError, match="^sample is"):
        scheduler.look(run, value, 3)
    storm = opened(scheduler, small_of("storm"))
    with pytest.raises(SettingError, match="speed"):
        scheduler.look(storm, 0, 3)
    assert run.shown == storm.shown == 0


def test_a_drawing_comes_before_a_speed_and_a_look_before_both(serve):
    scheduler = serve()
    run = opened(scheduler, small_of("digits"))
    scheduler.look(run, 1, 4)
    scheduler.draw(run, [255] * 3136, 0)
    wait_until(lambda: run.picture and run.picture.name == "drawing")
    assert run.picture.speed is None
    scheduler.look(run, 1, 4)
    wait_until(lambda: run.picture.speed == 4)
    assert run.picture.name == "speed 4, sample 2"
