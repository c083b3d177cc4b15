"""Checkpoints: what goes in comes out, and whatever else comes in is refused in one sentence."""

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from convlstm import checkpoint as module
from convlstm import training
from convlstm.checkpoint import (
    MAX_BYTES,
    CheckpointError,
    checkpoint_bytes,
    load_checkpoint,
    load_model,
    read_checkpoint,
    resume,
    save_checkpoint,
    write_atomically,
)
from convlstm.predictor import ModelConfig, NextFramePredictor
from convlstm.settings import Change, settings_of
from convlstm.train_config import TrainConfig, train_config
from convlstm.training import StepRecord, Trainer

ROOT = Path(__file__).parents[1]
KILLS = 50  # of a process that saves
MUTATIONS = 500  # damaged files

SMALL = train_config(
    {
        "canvas": 16,
        "square_size": 3,
        "hidden_channels": 2,
        "kernel_size": 3,
        "epochs": 6,
        "batch_size": 3,
        "evaluate_every": 2,
        "precision": "float32",
        "noise": 0.1,
        "learning_rate": 0.015,
        "loss": "bce",
    }
)


def small(**settings: object) -> TrainConfig:
    return train_config(settings, SMALL)


def trained(steps: int | None, **settings: object) -> Trainer:
    """A run after so many steps; None trains to its end."""
    trainer = Trainer(small(**settings))
    list(islice((record for record in trainer.pieces() if record), steps))
    return trainer


def facts(records: list[StepRecord]) -> list[StepRecord]:
    """Records without their times, which no two runs share."""
    return [replace(record, seconds=0.0) for record in records]


def state_of(trainer: Trainer) -> dict[str, object]:
    """Everything that decides how a run goes on, and what it remembers."""
    adam = trainer.optimizer.state_dict()["state"]
    return {
        "config": trainer.config,
        "weights": {k: v.tolist() for k, v in trainer.model.state_dict().items()},
        "best": {k: v.tolist() for k, v in trainer.best_weights.items()},
        "best_mse": trainer.best_mse,
        "adam": {i: {k: v.tolist() for k, v in s.items()} for i, s in adam.items() if s},
        "generator": bytes(trainer.generator.get_state()),
        "records": repr(trainer.records),  # as text, where NaN equals NaN
        "changes": trainer.changes,
        "ended": trainer.ended,
        "step": trainer.step,
        "seconds": trainer.seconds,
    }


def diverging(trainer: Trainer, at: int) -> Trainer:
    backward = trainer._backward

    def broken(batch):
        sums = backward(batch)
        return sums * math.nan if trainer.step + 1 == at else sums

    trainer._backward = broken
    list(trainer.pieces())
    del trainer._backward
    return trainer


def changed_on_the_way() -> Trainer:
    trainer = trained(3)
    trainer.change(speed=4, learning_rate=0.5)
    list(islice((record for record in trainer.pieces() if record), 1))
    return trainer


STAGES: dict[str, Callable[[], Trainer]] = {
    "new": lambda: Trainer(SMALL),
    "under way": lambda: trained(3),
    "finished": lambda: trained(None),
    "at its goal": lambda: trained(None, stop_below=0.9),
    "diverged": lambda: diverging(Trainer(SMALL), 4),
    "diverged at once": lambda: diverging(Trainer(SMALL), 1),
    "diverged in its only step": lambda: diverging(Trainer(small(epochs=1)), 1),
    "changed": changed_on_the_way,
    "with every option": lambda: trained(
        2, num_layers=2, residual=True, peephole=True, output="linear", loss="mse", epochs=2
    ),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_comes_back_as_it_was_saved(stage, tmp_path):
    trainer, path = STAGES[stage](), tmp_path / "run.safetensors"
    save_checkpoint(trainer, path)
    assert state_of(resume(read_checkpoint(path))) == state_of(trainer)
    assert os.listdir(tmp_path) == ["run.safetensors"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_model_alone_comes_back_ready_to_predict(stage, tmp_path):
    trainer, path = STAGES[stage](), tmp_path / "run.safetensors"
    save_checkpoint(trainer, path)
    model, context = load_checkpoint(path), torch.rand(2, 4, 1, 16, 16)
    assert model.config == trainer.config.model
    assert torch.equal(model.predict(context, 3), trainer.model.predict(context, 3))
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("pulls", range(0, 30, 2))
def test_a_run_goes_on_bit_for_bit_from_wherever_it_was_saved(monkeypatch, pulls):
    monkeypatch.setattr(training, "training_chunk", lambda config: 1)
    monkeypatch.setattr(training, "evaluation_chunk", lambda config: 8)
    uninterrupted = trained(None)
    trainer = Trainer(SMALL)
    pieces = trainer.pieces()
    # 3 pieces to a step and 4 to an evaluation: this stops in each, and between.
    list(islice(pieces, pulls))
    pieces.close()
    again = resume(read_checkpoint(checkpoint_bytes(trainer)))
    list(again.pieces())
    assert facts(again.records) == facts(uninterrupted.records)
    of_both = [{**state_of(t), "records": None, "seconds": None} for t in (again, uninterrupted)]
    assert of_both[0] == of_both[1]


def test_a_run_whose_only_step_awaits_its_evaluation_can_be_saved():
    trainer = Trainer(small(epochs=1))
    pieces = trainer.pieces()
    while not trainer.records:
        next(pieces)
    pieces.close()
    assert trainer.records[0].evaluation is None
    again = resume(read_checkpoint(checkpoint_bytes(trainer)))
    assert [record.ended for record in again.pieces() if record] == ["finished"]


def test_saving_again_and_again_changes_nothing():
    trainer = trained(3)
    first = checkpoint_bytes(trainer)
    list(islice((record for record in trainer.pieces() if record), 2))
    again = resume(read_checkpoint(checkpoint_bytes(resume(read_checkpoint(first)))))
    list(islice((record for record in again.pieces() if record), 2))
    assert facts(again.records) == facts(trainer.records)


def test_one_checkpoint_can_be_resumed_and_loaded_more_than_once():
    checkpoint = read_checkpoint(checkpoint_bytes(trained(3)))
    one = resume(checkpoint)
    list(one.pieces())
    with torch.no_grad():
        for parameter in load_model(checkpoint).parameters():
            parameter.zero_()
    two, model = resume(checkpoint), load_model(checkpoint)
    list(two.pieces())
    assert facts(two.records) == facts(one.records)
    assert all(parameter.any() for parameter in model.parameters())


def test_changes_made_on_the_way_come_back():
    trainer = resume(read_checkpoint(checkpoint_bytes(changed_on_the_way())))
    assert trainer.changes == [Change(3, "speed", 2, 4), Change(3, "learning_rate", 0.015, 0.5)]
    assert trainer.config.scene.speed == 4


def test_the_header_can_be_read_by_any_program_that_reads_safetensors(tmp_path):
    trainer, path = trained(4), tmp_path / "run.safetensors"
    save_checkpoint(trainer, path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        names = set(file.keys())
    assert (metadata["format"], metadata["version"]) == ("convlstm-playground", "1")
    assert json.loads(metadata["settings"]) == settings_of(SMALL)
    assert (
        json.loads(metadata["metrics"])["model"]["mse"] == trainer.records[3].evaluation.model.mse
    )
    assert {f"model.{name}" for name in trainer.model.state_dict()} < names


def test_the_largest_model_with_the_longest_history_can_be_read_again():
    with torch.device("meta"):
        model = NextFramePredictor(ModelConfig(64, 7, 3, peephole=True))
    weights = 4 * 4 * sum(parameter.numel() for parameter in model.parameters())
    history = 8 * 5000 * 100 * (4 + 14)
    assert weights + history + 2**20 < MAX_BYTES


# Writing.


def refuse(error: BaseException) -> Callable[..., None]:
    def raising(*given: object) -> None:
        raise error

    return raising


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name", "error", "message"),
    [
        (os, "fsync", FULL, "No space left on device"),
        (Path, "replace", PermissionError(13, "Permission denied"), "Permission denied"),
        (Path, "open", OSError(30, "Read-only file system"), "Read-only file system"),
        (os, "fsync", OSError("quota"), "quota"),
    ],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    monkeypatch, tmp_path, owner, name, error, message
):
    path = tmp_path / "run.safetensors"
    save_checkpoint(trained(1), path)
    old = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, refuse(error))
        with pytest.raises(CheckpointError) as caught:
            save_checkpoint(trained(2), path)
    assert str(caught.value) == f"Could not write {path}: {message}."
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_ctrl_c_while_writing_leaves_the_old_file_and_nothing_else(monkeypatch, tmp_path):
    path = tmp_path / "run.safetensors"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["run.safetensors"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/run.safetensors", "No such file or directory"),
        ("file/run.safetensors", "Not a directory"),
        ("folder", "Is a directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "embedded null byte"),
        ("", ""),
        ("..", ""),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(tmp_path, name, message):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=f"Could not write .*{message}"):
        write_atomically(tmp_path / name, b"content")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "No such file or directory"),
        ("", "Is a directory"),
        ("a\0b", "embedded null byte"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(tmp_path, name, message):
    with pytest.raises(CheckpointError, match=f"Could not read .*{message}"):
        load_checkpoint(tmp_path / name)


KILLED_SAVER = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)  # a process with threads could not be forked
from convlstm.checkpoint import read_checkpoint, save_checkpoint
from convlstm.train_config import train_config
from convlstm.training import Trainer

path, kills = sys.argv[1], int(sys.argv[2])
settings = {"canvas": 16, "square_size": 3, "hidden_channels": 48, "kernel_size": 7}
trainers = [Trainer(train_config({**settings, "seed": seed})) for seed in (0, 1)]
save_checkpoint(trainers[0], path)
draw = random.Random(0)
for _ in range(kills):
    saver = os.fork()
    if saver == 0:
        while True:
            for trainer in trainers:
                save_checkpoint(trainer, path)
    time.sleep(draw.uniform(0, 0.1))
    os.kill(saver, signal.SIGKILL)
    os.waitpid(saver, 0)
    print(read_checkpoint(path).config.seed)
"""


def test_a_kill_at_any_moment_of_saving_leaves_a_whole_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_SAVER, str(tmp_path / "run.safetensors"), str(KILLS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) <= {"0", "1"}
    assert len(done.stdout.split()) == KILLS


# Reading whatever comes.


@pytest.fixture(scope="module")
def content() -> bytes:
    """A sound file: a run that was changed on its way."""
    return checkpoint_bytes(changed_on_the_way())


def taken_apart(data: bytes) -> tuple[dict, bytes]:
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def put_together(header: dict | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def with_header(change: Callable[[dict], object]) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        header, body = taken_apart(data)
        change(header)
        return put_together(header, body)

    return damage


def with_metadata(part: str, **changes: object) -> Callable[[bytes], bytes]:
    """Change entries of the settings or of the progress; None takes an entry away."""

    def change(header: dict) -> None:
        value = json.loads(header["__metadata__"][part])
        value.update(changes)
        value = {k: v for k, v in value.items() if v is not ...}
        header["__metadata__"][part] = json.dumps(value)

    return with_header(change)


def with_tensor(name: str, change: Callable[[np.ndarray], object]) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        header, body = taken_apart(data)
        start, end = header[name]["data_offsets"]
        kinds = {"F32": np.float32, "F64": np.float64, "U8": np.uint8}
        array = np.frombuffer(body[start:end], kinds[header[name]["dtype"]]).copy()
        change(array.reshape(header[name]["shape"]))
        return put_together(header, body[:start] + array.tobytes() + body[end:])

    return damage


def put(index: object, value: float) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[index] = value

    return change


def forge_counters(left: int, following: int) -> Callable[[np.ndarray], None]:
    def change(state: np.ndarray) -> None:
        state[8:12] = np.frombuffer(left.to_bytes(4, "little"), np.uint8)
        state[16:24] = np.frombuffer(following.to_bytes(8, "little"), np.uint8)

    return change


def pickled(data: bytes) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, buffer)
    return buffer.getvalue()


def swap_types(header: dict) -> None:
    header["model.head.bias"]["dtype"] = "I32"


def overlap(header: dict) -> None:
    header["best.head.bias"]["data_offsets"] = header["model.head.bias"]["data_offsets"]


def header_of(text: bytes) -> Callable[[bytes], bytes]:
    return lambda data: put_together(text, b"")


GATES = "convlstm.cells.0.gates.weight"
NO_HEADER = "The file is no checkpoint: it has no safetensors header."
NOT_JSON = "The checkpoint is damaged: its header is not proper JSON."
STRUCTURE = "The checkpoint is damaged: its header has another structure."
PROGRESS = "The checkpoint is damaged: its progress has another structure."

DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda data: b"", NO_HEADER),
    "seven bytes": (lambda data: data[:7], NO_HEADER),
    "only a length": (lambda data: data[:8], NO_HEADER),
    "an absurd header length": (lambda data: b"\xff" * 8 + data[8:], NO_HEADER),
    "a header longer than the file": (lambda data: b"\xff\xff\x0f" + data[3:2000], NO_HEADER),
    "a header of a megabyte": (header_of(b" " * (2**20 + 8)), NO_HEADER),
    "a pickle": (pickled, NO_HEADER),
    "half a header": (lambda data: (1000).to_bytes(8, "little") + data[8:], NOT_JSON),
    "no text": (header_of(b"\xff\xfe\x00\xd8" * 10), NOT_JSON),
    "nested brackets": (header_of(b"[" * 200_000), NOT_JSON),
    "nested objects": (header_of(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), NOT_JSON),
    "a number of 100,000 digits": (header_of(b'{"a": ' + b"1" * 100_000 + b"}"), NOT_JSON),
    "NaN as a value": (header_of(b'{"a": NaN}'), NOT_JSON),
    "a list": (header_of(b"[1, 2]"), STRUCTURE),
    "tensors without entries": (header_of(b'{"a": 1}'), STRUCTURE),
    "metadata in a list": (header_of(b'{"__metadata__": []}'), STRUCTURE),
    "another program's file": (
        header_of(b'{"__metadata__": {"format": "pt"}}'),
        "its format is 'pt', version None, not 'convlstm-playground', version '1'",
    ),
    "no metadata": (header_of(b"{}"), "its format is None, version None"),
    "a later version": (
        with_header(lambda header: header["__metadata__"].update(version="2")),
        "version '2', not 'convlstm-playground', version '1'",
    ),
    "a duplicate name": (
        lambda data: put_together(
            b'{"__metadata__": {}, ' + json.dumps(taken_apart(data)[0]).encode()[1:],
            taken_apart(data)[1],
        ),
        NOT_JSON,
    ),
    "no settings": (with_header(lambda h: h["__metadata__"].pop("settings")), NOT_JSON),
    "settings in a list": (
        with_header(lambda h: h["__metadata__"].update(settings="[]")),
        STRUCTURE,
    ),
    "settings as an object": (
        with_header(lambda h: h["__metadata__"].update(settings={})),
        NOT_JSON,
    ),
    "a missing setting": (with_metadata("settings", seed=...), "damaged: seed is missing"),
    "an unknown setting": (with_metadata("settings", sed=1), "sed is 1: is not a setting"),
    "a refused setting": (
        with_metadata("settings", speed=99),
        "The checkpoint's settings are refused: speed is 99: must be a whole number from 1 to 8.",
    ),
    "another model's settings": (
        with_metadata("settings", hidden_channels=3),
        "does not fit its settings: tensor adam.exp_avg.convlstm.cells.0.gates.bias is 'F32' [8]",
    ),
    "a deeper model's settings": (
        with_metadata("settings", num_layers=2),
        "does not fit its settings: tensor 'adam.exp_avg.convlstm.cells.1.gates.bias'",
    ),
    "a shorter run's settings": (
        with_metadata("settings", epochs=3),
        "does not fit its settings: tensor history.steps is 'F64' [4, 4]",
    ),
    "no progress": (with_header(lambda h: h["__metadata__"].pop("progress")), NOT_JSON),
    "a missing end": (with_metadata("progress", ended=...), PROGRESS),
    "an unknown end": (with_metadata("progress", ended="won"), "ended is 'won': must be one of"),
    "an end without its evaluation": (
        with_metadata("progress", ended="finished"),
        "damaged: its end, 'finished', and history differ",
    ),
    "updates below zero": (with_metadata("progress", optimizer_steps=-1), "optimizer_steps is -1"),
    "more updates than steps": (with_metadata("progress", optimizer_steps=5), "more updates than"),
    "a best MSE beyond 1": (with_metadata("progress", best_mse=1.5), "best_mse is 1.5: must be"),
    "a best MSE of text": (with_metadata("progress", best_mse="0"), "best_mse is '0': must be"),
    "changes in an object": (with_metadata("progress", changes={"a": 1}), PROGRESS),
    "changes that are none": (with_metadata("progress", changes=None), PROGRESS),
    "a change without a name": (with_metadata("progress", changes=[{"step": 1}]), PROGRESS),
    "a change of the canvas": (
        with_metadata("progress", changes=[{"step": 1, "name": "canvas", "old": 1, "new": 2}]),
        "name is 'canvas': must be one of speed, learning_rate",
    ),
    "a change with more to say": (
        with_metadata(
            "progress", changes=[{"step": 1, "name": "speed", "old": 1, "new": 2, "why": 3}]
        ),
        PROGRESS,
    ),
    "a missing tensor": (
        with_header(lambda header: header.pop("model.head.bias")),
        "does not fit its settings: tensor 'model.head.bias'",
    ),
    "a tensor too many": (
        with_header(lambda h: h.update({"more": {**h["model.head.bias"]}})),
        "does not fit its settings: tensor 'more'",
    ),
    "a tensor of another shape": (
        with_header(lambda h: h[f"model.{GATES}"].update(shape=[8, 27])),
        "tensor model.convlstm.cells.0.gates.weight is 'F32' [8, 27]",
    ),
    "a tensor without a shape": (
        with_header(lambda h: h["model.head.bias"].pop("shape")),
        "tensor model.head.bias is 'F32' None",
    ),
    "a tensor of another type": (with_header(swap_types), "tensor model.head.bias is 'I32' [1]"),
    "a history without its columns": (
        with_header(lambda h: h["history.steps"].update(shape=[16])),
        "tensor history.steps is 'F64' [16]",
    ),
    "a history of less than nothing": (
        with_header(lambda h: h["history.steps"].update(shape=[-4, 4])),
        "tensor history.steps is 'F64' [-4, 4]",
    ),
    "a generator's state of a megabyte": (
        with_header(lambda h: h["generator"].update(shape=[2**20])),
        "tensor generator is 'U8' [1048576]",
    ),
    "overlapping tensors": (with_header(overlap), "is damaged: "),
    "offsets of text": (
        with_header(lambda h: h["generator"].update(data_offsets="all")),
        "is damaged: ",
    ),
    "offsets beyond the file": (
        with_header(lambda h: h["generator"].update(data_offsets=[0, 2**62])),
        "is damaged: ",
    ),
    "a byte too few": (lambda data: data[:-1], "is damaged: "),
    "a byte too many": (lambda data: data + b"\0", "is damaged: "),
    "a weight of NaN": (
        with_tensor(f"model.{GATES}", put((3, 1, 0, 2), math.nan)),
        "damaged: model.convlstm.cells.0.gates.weight holds NaN or infinity",
    ),
    "a best weight of infinity": (
        with_tensor("best.head.bias", put(0, math.inf)),
        "damaged: best.head.bias holds NaN or infinity",
    ),
    "a moment of NaN": (
        with_tensor("adam.exp_avg_sq.head.bias", put(0, math.nan)),
        "damaged: adam.exp_avg_sq.head.bias holds NaN or infinity",
    ),
    "a squared moment below zero": (
        with_tensor("adam.exp_avg_sq.head.bias", put(0, -1e-9)),
        "damaged: adam.exp_avg_sq.head.bias holds numbers below 0",
    ),
    "a loss of NaN in a run under way": (
        with_tensor("history.steps", put((3, 0), math.nan)),
        "damaged: history.steps holds NaN or infinity",
    ),
    "a score of infinity": (
        with_tensor("history.evaluations", put((0, 5), math.inf)),
        "damaged: history.evaluations holds NaN or infinity",
    ),
    "an evaluation of no step": (
        with_tensor("history.evaluations", put((0, 0), 0)),
        "damaged: its evaluations belong to no step",
    ),
    "an evaluation between steps": (
        with_tensor("history.evaluations", put((0, 0), 1.5)),
        "damaged: its evaluations belong to no step",
    ),
    "evaluations in disorder": (
        with_tensor("history.evaluations", put((0, 0), 4)),
        "damaged: its evaluations belong to no step",
    ),
    "a generator of zeros": (
        with_tensor("generator", put(slice(None), 0)),
        "cannot go on on cpu: the state of its generator",
    ),
    "a generator that reads beyond its end": (
        with_tensor("generator", forge_counters(624, 624)),
        "cannot go on on cpu: the state of its generator",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_one_sentence(content, tmp_path, damage):
    change, message = DAMAGES[damage]
    damaged = change(content)
    assert damaged != content
    path = tmp_path / "run.safetensors"
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError) as caught:
        resume(read_checkpoint(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_file_that_those_are_made_of_is_sound(content):
    resume(read_checkpoint(content))
    resume(read_checkpoint(put_together(*taken_apart(content))))


@pytest.mark.parametrize(
    ("stage", "ended"),
    [
        ("finished", None),
        ("under way", "goal"),
        ("under way", "finished"),
        ("new", "goal"),
        ("new", "diverged"),
    ],
)
def test_an_end_that_the_history_does_not_show_is_refused(stage, ended):
    forged = with_metadata("progress", ended=ended)(checkpoint_bytes(STAGES[stage]()))
    with pytest.raises(CheckpointError, match="its end, .*, and history differ"):
        read_checkpoint(forged)


def test_a_file_beyond_the_largest_size_is_not_even_parsed(monkeypatch, content, tmp_path):
    path = tmp_path / "run.safetensors"
    path.write_bytes(content)
    monkeypatch.setattr(module, "MAX_BYTES", len(content) - 1)
    for source in (path, str(path), content):
        with pytest.raises(CheckpointError, match="The file is too large: checkpoints have at mo"):
            read_checkpoint(source)
    monkeypatch.setattr(module, "MAX_BYTES", len(content))
    read_checkpoint(path)


def test_another_device_s_generator_is_refused_for_going_on_but_not_for_predicting(content):
    header, body = taken_apart(content)
    start, end = header["generator"]["data_offsets"]
    cut = end - start - 16  # a CUDA generator's state has 16 bytes
    for entry in (entry for name, entry in header.items() if name != "__metadata__"):
        entry["data_offsets"] = [at - cut if at > start else at for at in entry["data_offsets"]]
    header["generator"]["shape"] = [16]
    checkpoint = read_checkpoint(put_together(header, body[: start + 16] + body[end:]))
    assert load_model(checkpoint).config == SMALL.model
    with pytest.raises(CheckpointError, match="cannot go on on cpu"):
        resume(checkpoint)


# Mutations: each draws one kind of damage, some of which leave a sound file.


def flip_bits(data: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(data)
    header_end = 8 + int.from_bytes(data[:8], "little")
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        # A quarter each: length, header, the generator's place near the front of the body, all.
        end = draw.choice((8, header_end, min(len(data), header_end + 8000), len(data)))
        damaged[draw.randrange(end)] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def overwrite(data: bytes, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(data)), draw.choice((1, 4, 100))
    return data[:start] + draw.randbytes(length) + data[start + length :]


def repeat_or_drop(data: bytes, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(data)), draw.choice((1, 8, 64))
    kept = draw.choice((b"", 2 * data[start : start + length]))
    return data[:start] + kept + data[start + length :]


ODD = [None, True, 0, -1, 1.5, 2**70, 1e300, "", "x", "\ud800", "\n", [], [0], {}, [[]], {"a": {}}]


def edit_header(data: bytes, draw: random.Random) -> bytes:
    """Put something odd anywhere in the header, or in the JSON within it."""
    header, body = taken_apart(data)
    inner = draw.choice((None, "settings", "progress", "metrics"))
    value = json.loads(header["__metadata__"][inner]) if inner else header
    place = value
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or draw.random() < 0.2:
            break
        place = place[key]
    action = draw.random()
    if action < 0.15:
        del place[key]
    elif action < 0.3 and isinstance(place, dict):
        place[draw.choice(("x", "", "\ud800", "__metadata__"))] = place[key]
    else:
        place[key] = draw.choice(ODD)
    if inner:
        header["__metadata__"][inner] = json.dumps(value)
    return put_together(header, body)


def swap_tensors(data: bytes, draw: random.Random) -> bytes:
    header, body = taken_apart(data)
    one, two = draw.sample([name for name in header if name != "__metadata__"], 2)
    header[one], header[two] = header[two], header[one]
    return put_together(header, body)


def change_numbers(data: bytes, draw: random.Random) -> bytes:
    header, _ = taken_apart(data)
    name = draw.choice([name for name in header if name not in ("__metadata__", "generator")])
    value = draw.choice((math.nan, math.inf, -math.inf, 1e38, -1.0, 0.0, 0.5, 5.0))

    def change(array: np.ndarray) -> None:
        array.reshape(-1)[draw.randrange(array.size)] = value

    return with_tensor(name, change)(data)


MUTATORS = [
    flip_bits,
    truncate,
    overwrite,
    repeat_or_drop,
    edit_header,
    edit_header,
    swap_tensors,
    change_numbers,
]


def use(data: bytes) -> bool:
    """Do all that can be done with a file; return whether it was taken."""
    try:
        checkpoint = read_checkpoint(data)
        model = load_model(checkpoint)
        trainer = resume(checkpoint)
    except CheckpointError as error:
        assert "\n" not in str(error)
        assert 0 < len(str(error)) < 400
        return False
    assert model.predict(torch.zeros(1, 2, 1, 16, 16), 2).isfinite().all()
    assert trainer.model.config == model.config
    next((record for record in trainer.pieces() if record), None)
    checkpoint_bytes(trainer)
    return True


def test_a_mutated_file_loads_or_is_refused_and_nothing_else(content):
    taken = []
    for number in range(MUTATIONS):
        draw = random.Random(number)
        mutate = MUTATORS[number % len(MUTATORS)]
        try:
            taken.append(use(mutate(content, draw)))
        except Exception as error:
            raise AssertionError(f"mutation {number}, {mutate.__name__}") from error
    # Some leave a sound file, or these mutations would be too coarse to reach the later checks.
    assert 0.05 < sum(taken) / len(taken) < 0.7
