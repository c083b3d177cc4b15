"""Checkpoints: what goes in comes out. What else comes in is `test_safe_files`'s business."""

import functools
import json
import math
import os
from dataclasses import replace
from itertools import islice

import pytest
import torch
from safetensors import safe_open

from convlstm.files.checkpoint import (
    CheckpointError,
    checkpoint_bytes,
    load_checkpoint,
    load_network,
    network_bytes,
    resume,
    save_checkpoint,
    save_network,
    start_from,
)
from convlstm.files.reading import MAX_BYTES, read_checkpoint
from convlstm.networks import FrameFormat, NetworkConfig, build_network
from convlstm.settings import configure, settings_of
from convlstm.training import Trainer
from convlstm.training import trainer as engine
from convlstm.training.optimizers import Optimizer
from convlstm.training.records import Change, StepRecord
from tests.files.runs import RUNS, STAGES, at_stage, pull, saved, trained

every_run = pytest.mark.parametrize("name", RUNS)


pytestmark = pytest.mark.usefixtures("few_sequences_are_scored")


def facts(records: list[StepRecord]) -> str:
    """Records without their times, which no two runs share; as text, where NaN equals NaN."""
    return repr([replace(record, seconds=0.0) for record in records])


def state_of(trainer: Trainer) -> dict[str, object]:
    """Everything that decides how a run goes on, and what it remembers."""
    averaged = trainer.averaged
    return {
        "config": trainer.config,
        "weights": {k: v.tolist() for k, v in trainer.network.state_dict().items()},
        "best": {k: v.tolist() for k, v in trainer.best_weights.items()},
        "best loss": trainer.best_loss,
        "evaluations since": trainer.evaluations_since_best,
        "averaged": {k: v.tolist() for k, v in averaged.state_dict().items()} if averaged else {},
        "moments": {k: v.tolist() for k, v in trainer.optimizer.state().items()},
        "scaler": trainer.scaler.state_dict(),
        "generator": bytes(trainer.generator.get_state()),
        "records": facts(trainer.records),
        "changes": trainer.changes,
        "ended": trainer.ended,
        "progress": trainer.progress,
        "earlier": trainer.earlier,
    }


@every_run
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_comes_back_as_it_was_saved(name, stage, tmp_path):
    trainer, path = at_stage(name, stage), tmp_path / "run.safetensors"
    save_checkpoint(trainer, path)
    again = resume(read_checkpoint(path))
    assert state_of(again) == state_of(trainer)
    assert again.seconds == trainer.seconds
    assert again.trainings == trainer.trainings
    assert os.listdir(tmp_path) == ["run.safetensors"]


@every_run
@pytest.mark.parametrize("stage", STAGES)
def test_the_network_alone_comes_back_ready_to_predict(name, stage, tmp_path):
    trainer, path = at_stage(name, stage), tmp_path / "run.safetensors"
    save_checkpoint(trainer, path)
    network = load_checkpoint(path)
    context = torch.rand(2, 4, network.frames.channels, *trainer.config.scene.size)
    assert network.config == trainer.config.network
    assert network.frames == trainer.config.scene.frames
    # The averaged weights where the run keeps some: those that are shown, too.
    assert torch.equal(network.predict(context, 3), trainer.judged.predict(context, 3))
    assert not network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "pulls"),
    [
        *(("squares", pulls) for pulls in range(0, 22, 2)),
        *((name, pulls) for name in ("digits", "storm") for pulls in (2, 7, 10, 13)),
    ],
)
def test_a_run_goes_on_bit_for_bit_from_wherever_it_was_saved(monkeypatch, name, pulls):
    config = configure({"epochs": 4}, RUNS[name])
    monkeypatch.setattr(engine, "training_chunk", lambda config, device: 1)
    quarter = len(config.scene.validation(config.context_frames, config.horizon).clean) // 4
    monkeypatch.setattr(engine, "evaluation_chunk", lambda config, device: quarter)
    trainer = Trainer(config)
    pieces = trainer.pieces()
    # 3 pieces to a step and 4 to an evaluation: this stops in each, and between.
    list(islice(pieces, pulls))
    pieces.close()
    again = resume(read_checkpoint(checkpoint_bytes(trainer)))
    assert state_of(pull(again, None)) == uninterrupted(name)


@functools.cache
def uninterrupted(name: str) -> dict[str, object]:
    """What a run ends with that nobody interrupts, in the pieces of the test above."""
    return state_of(trained(name, None, epochs=4))


@every_run
def test_a_run_whose_only_step_awaits_its_evaluation_can_be_saved(name):
    trainer = trained(name, 0, epochs=1)
    pieces = trainer.pieces()
    while not trainer.records:
        next(pieces)
    pieces.close()
    assert trainer.records[0].evaluation is None
    again = resume(read_checkpoint(checkpoint_bytes(trainer)))
    assert [record.ended for record in again.pieces() if record] == ["finished"]


@every_run
def test_a_run_before_its_first_step_goes_on_too(name):
    again = resume(read_checkpoint(checkpoint_bytes(trained(name, 0, epochs=3))))
    assert [record.step for record in again.pieces() if record] == [1, 2, 3]


@every_run
def test_saving_again_and_again_changes_nothing(name):
    trainer = trained(name, 3)
    first = checkpoint_bytes(trainer)
    pull(trainer, 2)
    again = resume(read_checkpoint(checkpoint_bytes(resume(read_checkpoint(first)))))
    assert state_of(pull(again, 2)) == state_of(trainer)


@every_run
def test_one_checkpoint_can_be_resumed_and_loaded_more_than_once(name):
    checkpoint = read_checkpoint(saved(name, "under way"))
    one = pull(resume(checkpoint), None)
    with torch.no_grad():
        for parameter in load_network(checkpoint).parameters():
            parameter.zero_()
    two, network = resume(checkpoint), load_network(checkpoint)
    assert state_of(pull(two, None)) == state_of(one)
    assert all(parameter.any() for parameter in network.parameters())


def test_a_run_of_another_kind_of_device_goes_on_where_that_is_allowed():
    checkpoint = read_checkpoint(saved("squares", "under way"))
    # A GPU's generator has a state of 16 bytes.
    other = replace(checkpoint, run=checkpoint.run | {"generator": torch.zeros(16).byte()})
    with pytest.raises(CheckpointError, match="generator belongs to another kind of device"):
        resume(other)
    here, moved, again = (
        resume(checkpoint, anywhere=True),
        resume(other, anywhere=True),
        resume(other, anywhere=True),
    )
    assert state_of(here) == state_of(resume(checkpoint))
    first = torch.rand(9, generator=moved.generator)
    assert first.equal(torch.rand(9, generator=again.generator))
    assert not first.equal(torch.rand(9, generator=here.generator))
    later = replace(other, records=other.records[:-1])
    assert not first.equal(torch.rand(9, generator=resume(later, anywhere=True).generator))
    assert pull(moved, None).ended == "finished"


def test_changes_made_on_the_way_come_back():
    trainer = resume(read_checkpoint(saved("squares")))
    assert trainer.changes == [Change(3, "speed", 2, 4), Change(3, "learning_rate", 0.015, 0.5)]
    assert trainer.config.scene.speed == 4


@pytest.mark.parametrize(("stage", "at"), [("diverged at once", 1), ("diverged", 4)])
@every_run
def test_a_diverged_run_s_file_says_so(name, stage, at):
    again = resume(read_checkpoint(saved(name, stage)))
    assert (again.ended, again.last.ended, again.step) == ("diverged", "diverged", at)
    assert math.isnan(again.last.loss)
    assert list(again.pieces()) == []


@every_run
def test_the_header_can_be_read_by_any_program_that_reads_safetensors(name, tmp_path):
    trainer, path = trained(name, 4), tmp_path / "run.safetensors"
    save_checkpoint(trainer, path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        names = set(file.keys())
    assert (metadata["format"], metadata["version"]) == ("convlstm-playground", "2")
    assert metadata["scene"] == name
    assert json.loads(metadata["settings"]) == settings_of(RUNS[name])
    (training,) = json.loads(metadata["about"])["trainings"]
    assert (training["steps"], training["sequences"], training["device"]) == (4, 12, "cpu")
    assert {f"network.{name}" for name in trainer.network.state_dict()} < names


@pytest.mark.parametrize("architecture", ["stack", "multiscale"])
def test_the_largest_network_with_the_longest_history_can_be_read_again(architecture):
    largest = NetworkConfig(
        hidden_channels=256,
        kernel_size=7,
        num_layers=4,
        patch_size=8,
        peephole=True,
        residual=True,
        architecture=architecture,
        attention=architecture == "multiscale",
    )
    network = build_network(largest, FrameFormat(4, (0.5,) * 4, (0.1,) * 4), device="meta")
    weights = sum(parameter.numel() for parameter in network.parameters())
    moments = sum(math.prod(shape) for shape in Optimizer.shapes("adamw", network).values())
    history = 8 * 1_000_000 * (6 + 18)
    # The weights, the best ones and their average.
    assert 4 * (3 * weights + moments) + history + 2**20 < MAX_BYTES


# A network's file, and what begins with it.


@every_run
def test_a_network_s_file_holds_the_best_network_or_the_newest(name, tmp_path):
    trainer, path = trained(name, 2), tmp_path / "network.safetensors"
    best = {key: value.clone() for key, value in trainer.judged.state_dict().items()}
    pull(trainer, 1)
    save_network(trainer, path)
    for key, value in load_checkpoint(path).state_dict().items():
        assert torch.equal(value, best[key])
    save_network(trainer, path, best=False)
    newest = load_checkpoint(path).state_dict()
    for key, value in trainer.judged.state_dict().items():
        assert torch.equal(value, newest[key])
    assert any(not torch.equal(value, best[key]) for key, value in newest.items())
    assert os.listdir(tmp_path) == ["network.safetensors"]


@every_run
def test_a_network_that_nobody_has_scored_is_saved_as_it_is(name):
    trainer = trained(name, 1)
    checkpoint = read_checkpoint(network_bytes(trainer))
    for key, value in trainer.judged.state_dict().items():
        assert torch.equal(value, checkpoint.weights[key])


@every_run
def test_a_network_s_file_is_no_run(name):
    trainer = at_stage(name, "under way")
    checkpoint = read_checkpoint(network_bytes(trainer))
    assert (checkpoint.run, checkpoint.progress, checkpoint.records) == (None, None, ())
    assert checkpoint.config == trainer.config
    assert checkpoint.trainings == trainer.trainings
    with pytest.raises(CheckpointError, match="holds a network alone, no run that could go on"):
        resume(checkpoint)
    assert len(network_bytes(trainer)) < len(checkpoint_bytes(trainer)) / 3
    run = read_checkpoint(checkpoint_bytes(trainer))
    assert run.trainings == trainer.trainings
    assert run.trainings[-1].steps == 3
    assert len(run.records) == 3


def test_a_network_s_file_may_have_weights_of_half_precision(tmp_path):
    trainer = at_stage("digits", "under way")
    name, large = next(iter(trainer.best_weights.items()))
    trainer.best_weights = {**trainer.best_weights, name: large + 1e5}  # beyond float16
    path = tmp_path / "network"
    save_network(trainer, path, half=True)
    found = read_checkpoint(path).weights
    assert set(found) == set(trainer.best_weights)
    for each, value in trainer.best_weights.items():
        assert found[each].dtype == torch.float32
        assert torch.equal(found[each], value if each == name else value.half().float()), each
    with safe_open(path, "pt") as file:
        kinds = {each: file.get_slice(each).get_dtype() for each in file.keys()}
    assert {each for each, kind in kinds.items() if kind == "F32"} == {f"network.{name}"}
    assert load_checkpoint(path).state_dict().keys() == found.keys()


def test_a_network_of_half_precision_holds_no_infinity():
    trainer = at_stage("squares", "under way")
    data = bytearray(network_bytes(trainer, half=True))
    data[-2:] = b"\x00\x7c"  # float16's infinity
    with pytest.raises(CheckpointError, match="holds NaN or infinity"):
        read_checkpoint(bytes(data))


def test_a_run_s_network_is_the_averaged_one():
    data = saved("digits", "under way")
    checkpoint = read_checkpoint(data)
    bias = checkpoint.weights["head.bias"]
    assert torch.equal(bias, checkpoint.run["averaged.head.bias"])
    assert not torch.equal(bias, checkpoint.run["network.head.bias"])


@every_run
def test_a_new_run_may_start_with_a_file_s_weights(name):
    trainer = at_stage(name, "under way")
    for data in (network_bytes(trainer, best=False), checkpoint_bytes(trainer)):
        checkpoint = read_checkpoint(data)
        config = configure({"seed": 9, "epochs": 2, "recompute": True}, RUNS[name])
        new = start_from(checkpoint, config)
        for key, value in trainer.judged.state_dict().items():
            assert torch.equal(value, new.network.state_dict()[key])
        pull(new, None)
        assert [training.steps for training in new.trainings] == [3, 2]
        again = resume(read_checkpoint(checkpoint_bytes(new)))
        assert again.trainings == new.trainings


@every_run
def test_another_network_s_weights_are_refused_by_name(name):
    checkpoint = read_checkpoint(saved(name, "new"))
    with pytest.raises(CheckpointError, match="kernel_size is 3 there and 5 here"):
        start_from(checkpoint, configure({"kernel_size": 5}, RUNS[name]))


def test_frames_of_other_channels_are_refused():
    checkpoint = read_checkpoint(saved("storm", "new"))
    with pytest.raises(CheckpointError, match="frames have 4 channels and these 1"):
        start_from(checkpoint, configure({"variable": "pressure"}, RUNS["storm"]))


def test_maps_of_four_channels_and_their_baselines_come_back():
    trainer = trained("storm", 2)
    again = resume(read_checkpoint(checkpoint_bytes(trainer)))
    assert again.config.scene.name == "storm"
    assert again.network.frames.channels == 4
    evaluation = again.last.evaluation
    assert list(evaluation.baselines) == ["copy_last", "climatology"]
    assert evaluation == trainer.last.evaluation
    assert evaluation.baselines["copy_last"] != evaluation.baselines["climatology"]
    assert all(math.isfinite(scores.mse) for scores in evaluation.baselines.values())
