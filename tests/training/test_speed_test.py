"""A network at exact speeds, against what scores it anywhere else."""

from dataclasses import replace

import pytest
import torch

from convlstm.checks import SettingError
from convlstm.files.checkpoint import load_network
from convlstm.files.reading import read_checkpoint
from convlstm.files.shipped import shipped_file
from convlstm.networks import copy_network
from convlstm.pieces import finish
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.scenes.storm import Storm
from convlstm.settings import configure
from convlstm.training import speed_test as module
from convlstm.training.config import TrainConfig
from convlstm.training.evaluation import score_network
from convlstm.training.presets import default_config
from convlstm.training.records import Change
from convlstm.training.speed_test import (
    SPEED_SEED,
    SPEEDS,
    SpeedTestOptions,
    at_speed,
    has_speeds,
    speed_test,
    trained_speeds,
)
from convlstm.training.trainer import Trainer

SMALL = {
    "squares": {"canvas": 16, "square_size": 3, "hidden_channels": 2, "kernel_size": 3},
    "digits": {"canvas": 32, "hidden_channels": 2, "num_layers": 1, "residual": False},
}


def small(scene: str, **settings: object) -> TrainConfig:
    return configure({**SMALL[scene], **settings}, default_config(scene))


@pytest.mark.parametrize("scene", SMALL)
@pytest.mark.parametrize("augmented", [False, True])
def test_its_scores_are_those_of_the_same_sequences_scored_in_one_go(scene, augmented):
    config = small(scene, augmented=augmented)
    network = Trainer(config).network.eval()
    test = finish(speed_test(network, config, SpeedTestOptions(3)))
    assert list(test.scores) == list(SPEEDS) == list(range(9))
    seen, horizon = config.context_frames, test.horizon
    assert (test.sequences, horizon) == (3, 10)
    for speed in (0, 3, 8):
        exact = {"exact_speed": True} if scene == "squares" else {}
        moving = replace(config.scene, speed=speed, **exact)
        clips = moving.test(seen, horizon, 3, SPEED_SEED)
        expected = finish(score_network(network, moving, clips, seen, horizon, augmented=augmented))
        found = test.scores[speed]
        assert found.baselines == expected.baselines
        for one, other in zip(found.model, expected.model, strict=True):
            assert vars(one) == pytest.approx(vars(other), rel=1e-5)


def test_the_shipped_model_follows_the_speeds_that_it_was_trained_at_and_no_others():
    checkpoint = read_checkpoint(shipped_file(CATALOGUE["squares"].shipped))
    test = finish(speed_test(load_network(checkpoint), checkpoint.config, SpeedTestOptions(4)))
    errors = [scores.model[0].mse for scores in test.scores.values()]
    black = test.scores[1].baselines["black"][0].mse
    assert test.trained == (1, 2)
    assert test.reach == 2
    assert max(errors[1:3]) < 0.5 * black < 0.5 * min(errors[0], *errors[4:])
    assert test.scores[0].baselines["copy_last"][0].mse == 0  # what stands still is copied


@pytest.mark.parametrize("scene", [Squares(), Squares(directions="all", walls="bounce", speed=7)])
def test_squares_at_a_speed_move_at_exactly_that_on_each_axis(scene):
    for speed in SPEEDS:
        clip = at_speed(scene, speed).sample(20, 3, torch.Generator().manual_seed(0))
        frames = clip.clean[:, :, 0]
        corner = torch.stack([frames.amax(axis).argmax(-1) for axis in (-1, -2)], -1)  # (B, T, 2)
        moved = (corner[:, 1] - corner[:, 0]).abs()
        away = (corner[:, 0] > 8) & (corner[:, 0] < scene.canvas - scene.square_size - 8)
        assert moved[away].unique().tolist() == [speed]


def test_every_share_is_more_than_the_one_before_and_the_last_is_all(monkeypatch):
    monkeypatch.setattr(module, "evaluation_chunk", lambda config, device: 2)
    config = small("squares")
    shares = list(speed_test(Trainer(config).network, config, SpeedTestOptions(2)))
    assert len(shares) == 2 * len(SPEEDS)
    assert shares == sorted(set(shares))
    assert 0 < shares[0] and shares[-1] == 1


@pytest.mark.parametrize(
    ("scene", "changes", "speeds"),
    [
        (Squares(speed=3), [], (1, 3)),
        (Squares(speed=3, exact_speed=True), [], (3, 3)),
        (Squares(speed=0), [], (0, 0)),
        (Squares(speed=2), [Change(4, "speed", 5, 2), Change(5, "learning_rate", 8, 1)], (1, 5)),
        (Digits(speed=3.6), [Change(4, "speed", 1.5, 3.6)], (1.5, 3.6)),
    ],
)
def test_the_speeds_of_a_training_are_all_that_it_saw(scene, changes, speeds):
    assert trained_speeds(scene, changes) == speeds


def test_a_scene_without_a_speed_is_refused():
    assert not has_speeds(Storm())
    assert has_speeds(Squares()) and has_speeds(Digits())
    with pytest.raises(SettingError, match="^speed is 2: is for a scene in which things move"):
        at_speed(Storm(), 2)
    config = default_config("storm")
    with pytest.raises(SettingError, match="speed"):
        finish(speed_test(Trainer(config).network, config))


@pytest.mark.parametrize("sequences", [0, 51, 1.5, "3", None, True])
def test_an_impossible_number_of_sequences_is_refused(sequences):
    with pytest.raises(SettingError, match="^sequences is"):
        SpeedTestOptions(sequences)


def test_a_copied_network_predicts_the_same_and_is_left_alone_by_training():
    trainer = Trainer(small("squares", learning_rate=0.1, schedule="constant"))
    copied = copy_network(trainer.judged)
    context = torch.rand(1, 4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    before = copied.predict(context, 3)
    assert torch.equal(before, trainer.judged.predict(context, 3))
    next(record for record in trainer.pieces() if record)
    assert torch.equal(before, copied.predict(context, 3))
    assert not torch.equal(before, trainer.judged.predict(context, 3))
