"""Runs that go on from a file, and networks that stay after one."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch

from convlstm.files.checkpoint import (
    load_checkpoint,
    load_network,
    resume,
    save_checkpoint,
    save_network,
    start_from,
)
from convlstm.files.reading import read_checkpoint
from convlstm.files.safe_files import CheckpointError
from convlstm.training import Trainer, train
from convlstm.training import trainer as module
from convlstm.training.records import Change
from tests.training.runs import BASES, run_of, same, trained, weights

SETTINGS = {
    "squares": {"epochs": 4, "evaluate_every": 2, "noise": 0.1, "canvas": 22, "small_frames": 0.5},
    "digits": {"ema": 0.9, "scheduled_sampling": 0.8, "patience": 3},
    "storm": {},
}
every_scene = pytest.mark.parametrize("base", BASES)


@every_scene
def test_a_run_left_within_an_evaluation_goes_on_there(tmp_path, monkeypatch, base):
    monkeypatch.setattr(module, "evaluation_chunk", lambda config, device: 1)
    whole = trained(base, **SETTINGS[base])
    trainer = Trainer(whole.config)
    pieces = trainer.pieces()
    while trainer.step < 2:
        next(pieces)
    assert trainer.evaluation_is_due
    assert [next(pieces) for _ in range(2)] == [None, None]  # of the second step's evaluation
    pieces.close()
    save_checkpoint(trainer, tmp_path / "run")
    for again in (trainer, resume(read_checkpoint(tmp_path / "run"))):
        records = list(train(again.config, trainer=again))
        assert [record.step for record in records] == [2, 3, 4]
        assert same(weights(whole), weights(again))
        assert records[-1].evaluation == whole.last.evaluation
        assert records[-1].validation_loss == whole.last.validation_loss


@pytest.mark.parametrize("steps", [1, 2, 3])
@every_scene
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(base, steps, tmp_path):
    whole = trained(base, **SETTINGS[base])
    trainer = Trainer(whole.config)
    list(islice(train(whole.config, trainer=trainer), steps))
    save_checkpoint(trainer, tmp_path / "run")
    resumed = resume(read_checkpoint(tmp_path / "run"))
    records = list(train(resumed.config, trainer=resumed))
    assert [record.step for record in records] == list(range(steps + 1, 5))
    assert same(weights(whole), weights(resumed))
    assert same(whole.judged.state_dict(), resumed.judged.state_dict())
    assert same(whole.best_weights, resumed.best_weights)
    assert whole.best_loss == resumed.best_loss
    assert records[-1].evaluation == whole.last.evaluation
    assert records[-1].ended == "finished"


def test_adamw_and_float16_resume_bit_for_bit_too(tmp_path):
    settings = {"optimizer": "adamw", "precision": "float16"}
    whole = trained("digits", **settings)
    trainer = Trainer(whole.config)
    list(islice(train(whole.config, trainer=trainer), 2))
    save_checkpoint(trainer, tmp_path / "run")
    resumed = resume(read_checkpoint(tmp_path / "run"))
    list(resumed.pieces())
    assert same(weights(whole), weights(resumed))
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()


@every_scene
def test_a_saved_network_is_the_best_one_and_predicts_as_it_did(base, tmp_path):
    trainer = trained(base)
    save_network(trainer, tmp_path / "network")
    checkpoint = read_checkpoint(tmp_path / "network")
    config = trainer.config
    assert same(checkpoint.weights, trainer.best_weights)
    assert checkpoint.config == config
    sequences = config.total_steps * config.batch_size
    assert [training.sequences for training in checkpoint.trainings] == [sequences]
    context = config.scene.validation(4, 1).observed[:1, :4]
    trainer.restore_best()
    expected = trainer.network.predict(context, 3)
    assert torch.equal(load_network(checkpoint).predict(context, 3), expected)
    assert torch.equal(load_checkpoint(tmp_path / "network").predict(context, 3), expected)
    with pytest.raises(CheckpointError, match="alone"):
        resume(checkpoint)


@every_scene
def test_a_run_that_starts_from_another_s_weights_remembers_it(base, tmp_path):
    first = trained(base)
    save_network(first, tmp_path / "first")
    checkpoint = read_checkpoint(tmp_path / "first")
    trainer = start_from(checkpoint, run_of(base, seed=1, recompute=True))
    assert same(weights(trainer), first.best_weights)
    list(islice(train(trainer.config, trainer=trainer), 1))
    assert not same(weights(trainer), first.best_weights)
    save_checkpoint(trainer, tmp_path / "run")
    resumed = resume(read_checkpoint(tmp_path / "run"))
    list(resumed.pieces())
    save_network(resumed, tmp_path / "second")
    trainings = read_checkpoint(tmp_path / "second").trainings
    assert [training.steps for training in trainings] == [first.step, resumed.step]
    assert trainings[0] == checkpoint.trainings[0]


def test_a_run_starts_only_from_the_weights_of_its_own_network(tmp_path):
    first = trained("digits")
    save_network(first, tmp_path / "first")
    config = run_of("digits", hidden_channels=5)
    with pytest.raises(CheckpointError, match="hidden_channels is 4 there and 5 here"):
        start_from(read_checkpoint(tmp_path / "first"), config)


@every_scene
def test_a_run_s_file_keeps_its_history(base, tmp_path):
    trainer = trained(base)
    name, old, new = "learning_rate", 0.1, 0.2
    trainer.changes.append(Change(1, name, old, new))
    save_checkpoint(trainer, tmp_path / "run")
    resumed = resume(read_checkpoint(tmp_path / "run"))
    assert resumed.records == trainer.records
    assert resumed.changes == trainer.changes
    assert sum(record.evaluation is not None for record in resumed.records) > 1


def test_scores_that_are_no_numbers_are_not_kept(tmp_path):
    trainer = trained("digits")
    loss = trainer.last.validation_loss
    broken = replace(trainer.last.evaluation.model, mse=math.nan)
    trainer.records[-1] = replace(
        trainer.last, evaluation=replace(trainer.last.evaluation, model=broken)
    )
    for _ in range(2):  # and stays so in a file of the file's run
        save_checkpoint(trainer, tmp_path / "run")
        trainer = resume(read_checkpoint(tmp_path / "run"))
        assert trainer.last.evaluation is None
        assert trainer.last.validation_loss == loss
