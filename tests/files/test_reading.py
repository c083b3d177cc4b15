"""Files from anywhere are refused in one sentence if they are not sound."""

import io
import json
import math
import struct
from collections.abc import Callable

import numpy as np
import pytest
import torch

from convlstm.files import reading as module
from convlstm.files.checkpoint import CheckpointError, load_network, network_bytes, resume
from convlstm.files.reading import read_checkpoint
from tests.files.forging import (
    Damage,
    forge_counters,
    put,
    put_together,
    taken_apart,
    with_array,
    with_header,
    with_metadata,
    with_tensor,
    with_tensors,
    without,
)
from tests.files.runs import KINDS, RUNS, at_stage, content_of, saved

pytestmark = pytest.mark.usefixtures("few_sequences_are_scored")


every_kind = pytest.mark.parametrize("kind", KINDS)


def pickled(data: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, buffer)
    return buffer.getvalue()


def header_of(text: bytes) -> Damage:
    return lambda data: put_together(text, b"")


def set_metadata(**changes: object) -> Damage:
    return with_header(lambda header: header["__metadata__"].update(changes))


def set_entry(name: str, **changes: object) -> Damage:
    return with_header(lambda header: header[name].update(changes))


def set_trainings(value: object) -> Damage:
    return with_metadata("about", trainings=value)


def set_progress(**changes: object) -> Damage:
    return with_metadata("progress", **changes)


def set_change(**changes: object) -> Damage:
    change = {"step": 1, "name": "speed", "old": 1, "new": 2} | changes
    return set_progress(changes=[{k: v for k, v in change.items() if v is not ...}])


def twice_the_last_row(tensors: dict[str, np.ndarray]) -> None:
    table = tensors["history.evaluations"]
    tensors["history.evaluations"] = np.concatenate([table, table[-1:]])


GATES = "convlstm.cells.0.gates.weight"
TRAINING = {"steps": 1, "sequences": 4, "seconds": 1.0, "device": "cpu"}
NO_HEADER = "The file is no checkpoint: it has no safetensors header."
NOT_JSON = "The checkpoint is damaged: its header is not proper JSON."
STRUCTURE = "The checkpoint is damaged: its header has another structure."
PROGRESS = "The checkpoint is damaged: its progress has another structure."
HOW_TRAINED = "damaged: it does not say how it was trained"
FITS_NOT = "does not fit its settings: tensor"
FORMATS = "not 'convlstm-playground', version '2' or one before it"
OPTIMISER = "damaged: its optimiser belongs to another run"
CANNOT_GO_ON = "cannot go on on cpu: its generator belongs to another kind of device, or is damaged"

DAMAGES: dict[str, tuple[Damage, str]] = {
    "nothing": (lambda data: b"", NO_HEADER),
    "seven bytes": (lambda data: data[:7], NO_HEADER),
    "only a length": (lambda data: data[:8], NO_HEADER),
    "rubbish": (lambda data: b"rubbish", NO_HEADER),
    "zeros": (lambda data: b"\0" * 100, NO_HEADER),
    "a length of a terabyte": (lambda data: struct.pack("<Q", 2**40), NO_HEADER),
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
    "metadata of nothing": (header_of(b'{"__metadata__": null}'), STRUCTURE),
    "another program's file": (
        header_of(b'{"__metadata__": {"format": "pt"}}'),
        f"its format is 'pt', version None, {FORMATS}",
    ),
    "no metadata": (header_of(b"{}"), f"its format is None, version None, {FORMATS}"),
    "a later version": (set_metadata(version="99"), f"version '99', {FORMATS}"),
    "the version of another format": (set_metadata(version="3"), f"version '3', {FORMATS}"),
    "a format in a list": (set_metadata(format=["convlstm-playground"]), "its format is ['convls"),
    "a version in an object": (set_metadata(version={"2": 2}), "version {'2': 2}, not "),
    "a version as a number": (set_metadata(version=2), "version 2, not "),
    "a duplicate name": (
        lambda data: put_together(
            b'{"__metadata__": {}, ' + json.dumps(taken_apart(data)[0]).encode()[1:],
            taken_apart(data)[1],
        ),
        NOT_JSON,
    ),
    "no scene": (with_header(lambda h: h["__metadata__"].pop("scene")), "scene is None: must be"),
    "a scene that nobody knows": (set_metadata(scene="circles"), "scene is 'circles': must be one"),
    "a scene in a list": (set_metadata(scene=["squares"]), "scene is ['squares']: must be one of"),
    "no settings": (with_header(lambda h: h["__metadata__"].pop("settings")), NOT_JSON),
    "half the settings": (set_metadata(settings="{"), NOT_JSON),
    "settings of nothing": (set_metadata(settings="{}"), "damaged: architecture is missing"),
    "settings in a list": (set_metadata(settings="[]"), STRUCTURE),
    "settings as an object": (set_metadata(settings={}), NOT_JSON),
    "a missing setting": (with_metadata("settings", seed=...), "damaged: seed is missing"),
    "an unknown setting": (with_metadata("settings", sed=1), "sed is 1: is not a setting"),
    "a refused setting": (
        with_metadata("settings", batch_size=9999),
        "The checkpoint's settings are refused: batch_size is 9999: must be a whole number from 1 "
        "to 1024.",
    ),
    "a refused network": (
        with_metadata("settings", hidden_channels=999),
        "settings are refused: hidden_channels is 999",
    ),
    "settings that do not go together": (
        with_metadata("settings", architecture="multiscale", targets="all"),
        "settings are refused: targets is 'all'",
    ),
    "another network's settings": (with_metadata("settings", hidden_channels=3), FITS_NOT),
    "a deeper network's settings": (
        with_metadata("settings", num_layers=3, residual=False),
        ".gates.bias'",
    ),
    "a shorter run's settings": (
        with_metadata("settings", epochs=3),
        f"{FITS_NOT} history.steps is 'F64' [4, 6]",
    ),
    "a longer run's settings": (
        with_metadata("settings", epochs=7),
        "damaged: its progress and history differ",
    ),
    "no progress": (with_header(lambda h: h["__metadata__"].pop("progress")), f"{FITS_NOT} '"),
    "progress of text": (set_metadata(progress="half"), NOT_JSON),
    "progress in a list": (set_metadata(progress="[]"), STRUCTURE),
    "a missing end": (set_progress(ended=...), PROGRESS),
    "an unknown end": (set_progress(ended="won"), "ended is 'won': must be one of"),
    "an end in a list": (
        set_progress(ended=[1]),
        "ended is [1]: must be one of goal, finished, patience, diverged",
    ),
    "an end without its evaluation": (
        set_progress(ended="finished"),
        "damaged: its end, 'finished', and history differ",
    ),
    "progress in words": (set_progress(progress="half"), "progress is 'half'"),
    "progress without its steps": (
        set_progress(progress=0.5),
        "damaged: its progress and history differ",
    ),
    "updates below zero": (
        with_tensor("optimizer.head.bias.step", put((), -1)),
        "optimizer.head.bias.step holds numbers below 0",
    ),
    "more updates than steps": (
        with_tensor("optimizer.head.bias.step", put((), 5)),
        "damaged: more updates than steps",
    ),
    "a best loss beyond all": (set_progress(best_loss=1e31), "best_loss is 1e+31: must be"),
    "a best loss of text": (set_progress(best_loss="0"), "best_loss is '0': must be"),
    "evaluations below zero": (
        set_progress(evaluations_since_best=-1),
        "evaluations_since_best is -1",
    ),
    "half an average": (set_progress(averages=1.5), "averages is 1.5: must be a whole number"),
    "no scaler": (set_progress(scaler=None), PROGRESS),
    "a scale of text": (set_progress(scaler={"scale": "large"}), "scale is 'large'"),
    "changes in an object": (set_progress(changes={"a": 1}), PROGRESS),
    "changes that are none": (set_progress(changes=None), PROGRESS),
    "ten thousand changes and one": (set_progress(changes=[{}] * 10_001), PROGRESS),
    "a change that is a number": (set_progress(changes=[1]), PROGRESS),
    "a change of the canvas": (
        set_change(name="canvas"),
        "name is 'canvas': must be one of speed, learning_rate",
    ),
    "a change of the seed": (
        set_change(name="seed"),
        "name is 'seed': must be one of speed, learning_rate",
    ),
    "a change from text": (set_change(old="slow"), "old is 'slow': must be a number"),
    "a change with more to say": (set_change(why=3), PROGRESS),
    "no word of its training": (with_header(lambda h: h["__metadata__"].pop("about")), NOT_JSON),
    "about nothing": (set_metadata(about="{}"), HOW_TRAINED),
    "about text": (set_metadata(about="much"), NOT_JSON),
    "no trainings": (set_trainings([]), HOW_TRAINED),
    "a number of trainings": (set_trainings(7), HOW_TRAINED),
    "a hundred trainings and one": (set_trainings([TRAINING] * 101), HOW_TRAINED),
    "a training in a list": (
        set_trainings([[1, 2]]),
        "of its training has another structure",
    ),
    "a training of more": (
        set_trainings([{**TRAINING, "by": "me"}]),
        "of its training has another structure",
    ),
    "a training below zero": (set_trainings([{**TRAINING, "steps": -1}]), "steps is -1"),
    "a training elsewhere": (set_trainings([{**TRAINING, "device": "<b>"}]), "device is '<b>'"),
    "a missing tensor": (without("network.head.bias"), f"{FITS_NOT} 'network.head.bias'"),
    "a tensor too many": (
        with_header(lambda h: h.update({"more": {**h["network.head.bias"]}})),
        f"{FITS_NOT} 'more'",
    ),
    "a weight too many": (
        with_array("network.extra", np.zeros(1, np.float32)),
        f"{FITS_NOT} 'network.extra'",
    ),
    "a tensor of another shape": (
        set_entry(f"network.{GATES}", shape=[8, 27]),
        f"tensor network.{GATES} is 'F32' [8, 27]",
    ),
    "a bias of another size": (
        with_array("network.head.bias", np.zeros(3, np.float32)),
        "network.head.bias is 'F32' [3]",
    ),
    "a tensor without a shape": (
        with_header(lambda h: h["network.head.bias"].pop("shape")),
        "tensor network.head.bias is 'F32' None",
    ),
    "a tensor of another type": (
        set_entry("network.head.bias", dtype="I32"),
        "tensor network.head.bias is 'I32' [",
    ),
    "a bias of half precision": (
        with_array("network.head.bias", np.zeros(1, np.float16)),
        "network.head.bias is 'F16'",
    ),
    "no best weights": (without("best."), f"{FITS_NOT} 'best."),
    "no generator": (without("generator"), f"{FITS_NOT} 'generator'"),
    "a generator of numbers": (
        with_array("generator", np.zeros(3, np.float32)),
        "tensor generator is 'F32' [3]",
    ),
    "a history without its columns": (
        set_entry("history.steps", shape=[24]),
        "tensor history.steps is 'F64' [24]",
    ),
    "a history of less than nothing": (
        set_entry("history.steps", shape=[-4, 6]),
        "tensor history.steps is 'F64' [-4, 6]",
    ),
    "a history of too few columns": (
        with_array("history.steps", np.zeros((2, 5))),
        "tensor history.steps is 'F64' [2, 5]",
    ),
    "a history of too many steps": (
        with_array("history.steps", np.ones((7, 6))),
        "tensor history.steps is 'F64' [7, 6]",
    ),
    "a history of half precision": (
        with_array("history.steps", np.zeros((2, 6), np.float32)),
        "tensor history.steps is 'F32' [2, 6]",
    ),
    "a history of no rows and a word": (
        set_entry("history.evaluations", shape=["4", 6]),
        "tensor history.evaluations is 'F64' ['4', 6]",
    ),
    "no history": (without("history.steps"), f"{FITS_NOT} 'history.steps'"),
    "a generator's state of a megabyte": (
        set_entry("generator", shape=[2**20]),
        "tensor generator is 'U8' [1048576]",
    ),
    "overlapping tensors": (
        with_header(
            lambda h: h["best.head.bias"].update(
                data_offsets=h["network.head.bias"]["data_offsets"]
            )
        ),
        "is damaged: ",
    ),
    "offsets of text": (set_entry("generator", data_offsets="all"), "is damaged: "),
    "offsets beyond the file": (set_entry("generator", data_offsets=[0, 2**62]), "is damaged: "),
    "a byte too few": (lambda data: data[:-1], "is damaged: "),
    "a byte too many": (lambda data: data + b"\0", "is damaged: "),
    "a weight of NaN": (
        with_tensor(f"network.{GATES}", put((3, 1, 0, 2), math.nan)),
        f"damaged: network.{GATES} holds NaN or infinity",
    ),
    "a bias of NaN": (
        with_tensor("network.head.bias", put(slice(None), math.nan)),
        "damaged: network.head.bias holds NaN or infinity",
    ),
    "a best weight of infinity": (
        with_tensor("best.head.bias", put(0, math.inf)),
        "damaged: best.head.bias holds NaN or infinity",
    ),
    "a moment of NaN": (
        with_tensor("optimizer.head.bias.exp_avg_sq", put(0, math.nan)),
        "damaged: optimizer.head.bias.exp_avg_sq holds NaN or infinity",
    ),
    "a squared moment below zero": (
        with_tensor("optimizer.head.bias.exp_avg_sq", put(0, -1e-9)),
        "damaged: optimizer.head.bias.exp_avg_sq holds numbers below 0",
    ),
    "a moment of another shape": (  # fused kernels would read past its end
        with_array("optimizer.head.weight.exp_avg", np.zeros(1, np.float32)),
        "tensor optimizer.head.weight.exp_avg is 'F32' [1]",
    ),
    "a count of half precision": (
        with_array("optimizer.head.bias.step", np.zeros((), np.float16)),
        "tensor optimizer.head.bias.step is 'F16' []",
    ),
    "a count in a list": (
        with_array("optimizer.head.bias.step", np.zeros(1, np.float32)),
        "tensor optimizer.head.bias.step is 'F32' [1]",
    ),
    "a moment of no parameter": (
        with_array("optimizer.neck.bias.step", np.zeros((), np.float32)),
        f"{FITS_NOT} 'optimizer.neck.bias.step'",
    ),
    "a moment of no name": (
        with_array("optimizer.x", np.zeros((), np.float32)),
        f"{FITS_NOT} 'optimizer.x'",
    ),
    "a missing moment": (without("optimizer.head.bias.exp_avg_sq"), OPTIMISER),
    "no moments after an update": (without("optimizer."), OPTIMISER),
    "a generator of zeros": (with_tensor("generator", put(slice(None), 0)), CANNOT_GO_ON),
    "a generator that reads beyond its end": (
        with_tensor("generator", forge_counters(624, 624)),
        CANNOT_GO_ON,
    ),
    "a generator that reads a little beyond": (
        with_tensor("generator", forge_counters(600, 26)),
        CANNOT_GO_ON,
    ),
}


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_one_sentence(kind, tmp_path, damage):
    change, message = DAMAGES[damage]
    content = content_of(kind)
    damaged = change(content)
    assert damaged != content
    path = tmp_path / "run.safetensors"
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError) as caught:
        resume(read_checkpoint(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@every_kind
def test_the_file_that_those_are_made_of_is_sound(kind):
    content = content_of(kind)
    resume(read_checkpoint(content))
    resume(read_checkpoint(put_together(*taken_apart(content))))
    resume(read_checkpoint(with_tensors(lambda tensors: None)(content)))


def test_a_run_without_its_average_is_refused():
    with pytest.raises(CheckpointError, match="does not fit its settings: tensor 'averaged."):
        read_checkpoint(without("averaged.")(content_of("digits")))


@pytest.mark.parametrize("kind", RUNS)
def test_every_cut_of_a_file_is_refused(kind):
    data = network_bytes(at_stage(kind, "under way"))
    read_checkpoint(data)
    for size in [*range(0, 64), *range(64, len(data), 97)]:
        with pytest.raises(CheckpointError):
            read_checkpoint(data[:size])


@pytest.mark.parametrize(
    ("stage", "ended"),
    [
        ("finished", None),
        ("under way", "goal"),
        ("under way", "finished"),
        ("under way", "patience"),
        ("new", "goal"),
        ("new", "patience"),
        ("new", "diverged"),
    ],
)
@pytest.mark.parametrize("kind", RUNS)
def test_an_end_that_the_history_does_not_show_is_refused(kind, stage, ended):
    forged = set_progress(ended=ended)(saved(kind, stage))
    with pytest.raises(CheckpointError, match="its end, .*, and history differ|before its first"):
        read_checkpoint(forged)


@every_kind
def test_a_file_beyond_the_largest_size_is_not_even_parsed(monkeypatch, kind, tmp_path):
    path, content = tmp_path / "run.safetensors", content_of(kind)
    path.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_header", None)
        for source in (path, str(path), content):
            with pytest.raises(CheckpointError, match="The file is too large: checkpoints have at"):
                read_checkpoint(source, max_bytes=len(content) - 1)
    read_checkpoint(path, max_bytes=len(content))


# What a file declares is bounded before anything is made room for: by its header alone.

OLD_MOMENTS = {
    "squares": "optimizer.head.bias.exp_avg",
    "digits": f"optimizer.{GATES}.momentum_buffer",
    "storm": "optimizer.head.weight.exp_avg_sq",
    "squares-run-1": "adam.exp_avg.head.bias",
    "digits-run-3": "optimizer.0.0.exp_avg",
}
TOO_MUCH: dict[str, Callable[[str], Damage]] = {
    "a generator of 130 MB": lambda kind: set_entry("generator", shape=[130 * 2**20]),
    "more steps than the run has": lambda kind: set_rows("history.steps", 41),
    "more evaluations than steps": lambda kind: set_rows("history.evaluations", 41),
    "2.7 million steps": lambda kind: set_rows("history.steps", 2_700_000),
    "2.7 million evaluations": lambda kind: set_rows("history.evaluations", 2_700_000),
    "2.7 million steps in any time": lambda kind: (
        lambda data: set_rows("history.steps", 2_700_000)(
            data if kind == "squares-run-1" else with_metadata("settings", max_minutes=1e5)(data)
        )
    ),
    "a moment of a gigabyte": lambda kind: set_entry(OLD_MOMENTS[kind], shape=[2**28]),
    "a weight of a gigabyte": lambda kind: with_header(
        lambda header: next(
            entry for name, entry in header.items() if name.endswith("head.bias")
        ).update(shape=[2**28])
    ),
    "a tensor of a gigabyte": lambda kind: with_header(
        lambda header: header.update(
            more={"dtype": "F32", "shape": [2**28], "data_offsets": [0, 2**30]}
        )
    ),
}


def set_rows(name: str, rows: int) -> Damage:
    def change(header: dict) -> None:
        header[name]["shape"][0] = rows

    return with_header(change)


@every_kind
@pytest.mark.parametrize("much", TOO_MUCH)
def test_what_declares_too_much_is_refused_by_its_header(monkeypatch, kind, much):
    loaded = []
    monkeypatch.setattr(module, "load_content", lambda data: loaded.append(data) or {})
    header, _ = taken_apart(TOO_MUCH[much](kind)(content_of(kind)))
    with pytest.raises(CheckpointError, match=FITS_NOT):
        read_checkpoint(put_together(header, b""))
    assert not loaded


@every_kind
def test_a_sound_header_leads_to_the_content(kind):
    header, _ = taken_apart(content_of(kind))
    with pytest.raises(CheckpointError, match="damaged: 'Error while deserializing"):
        read_checkpoint(put_together(header, b""))


@pytest.mark.parametrize("kind", RUNS)
def test_another_device_s_generator_is_refused_for_going_on_but_not_for_predicting(kind):
    # A CUDA generator's state has 16 bytes.
    forged = with_array("generator", np.zeros(16, np.uint8))(content_of(kind))
    checkpoint = read_checkpoint(forged)
    assert load_network(checkpoint).config == RUNS[kind].network
    with pytest.raises(CheckpointError, match="cannot go on on cpu"):
        resume(checkpoint)
