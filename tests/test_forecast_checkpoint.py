import json
import struct
from itertools import islice

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from convlstm import forecast_validation, forecasting
from convlstm.forecast_checkpoint import (
    load_forecaster,
    read_forecaster,
    resume_forecaster,
    save_forecaster,
    save_run,
)
from convlstm.forecast_config import forecast_config
from convlstm.forecasting import ForecastTrainer
from convlstm.safe_files import CheckpointError, file_format

TINY = {"canvas": 32, "hidden_channels": 2, "num_layers": 1, "batch_size": 1, "steps": 3}
TINY["evaluate_every"] = 2


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast_validation, "VALIDATION_SEQUENCES", 2)
    trainer = ForecastTrainer(forecast_config({**TINY, "ema": 0.5}))
    list(islice(trainer.records(), 2))
    save_run(trainer, tmp_path / "run")
    save_forecaster(trainer, tmp_path / "model")
    return tmp_path


def contents(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def test_a_file_says_what_it_is(files):
    assert file_format(files / "model") == file_format(files / "run") == "convlstm-forecaster"
    checkpoint = read_forecaster(files / "run")
    assert checkpoint.trainings[-1].steps == 2
    assert checkpoint.run is not None
    assert read_forecaster(files / "model").run is None
    assert not load_forecaster(files / "model").training


def test_a_run_s_model_is_the_averaged_one(files):
    tensors, _ = contents(files / "run")
    weights = read_forecaster(files / "run").weights
    assert torch.equal(weights["head.bias"], tensors["averaged.head.bias"])
    assert not torch.equal(weights["head.bias"], tensors["model.head.bias"])


def spoil(files, name, change):
    tensors, metadata = contents(files / name)
    change(tensors, metadata)
    save_file(tensors, files / "bad", metadata)
    return files / "bad"


def set_setting(name, value):
    def change(tensors, metadata):
        metadata["settings"] = json.dumps({**json.loads(metadata["settings"]), name: value})

    return change


def set_progress(name, value):
    def change(tensors, metadata):
        metadata["progress"] = json.dumps({**json.loads(metadata["progress"]), name: value})

    return change


def set_number(table, row, column, value):
    return lambda tensors, metadata: tensors[f"history.{table}"][row].__setitem__(column, value)


TRAINING = {"steps": 1, "sequences": 4, "seconds": 1.0, "device": "cpu"}


def set_trainings(value):
    return lambda t, m: m.__setitem__("about", json.dumps({"trainings": value}))


def put(name, value):
    return lambda tensors, metadata: tensors.__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("model.head.bias"), "does not fit its settings: tensor 'model.head.b"),
        (put("model.extra", torch.zeros(1)), "does not fit its settings: tensor 'model.extra'"),
        (put("model.head.bias", torch.zeros(3)), r"model.head.bias is 'F32' \[3\]"),
        (put("model.head.bias", torch.full((16,), torch.nan)), "model.head.bias holds NaN"),
        (put("model.head.bias", torch.zeros(16).half()), "model.head.bias is 'F16'"),
        (set_setting("hidden_channels", 999), "settings are refused: hidden_channels is 999"),
        (set_setting("hidden_channels", 3), "does not fit its settings"),
        (set_setting("colour", "red"), "settings are refused: colour is 'red'"),
        (lambda t, m: m.__setitem__("settings", "{"), "its header is not proper JSON"),
        (lambda t, m: m.__setitem__("settings", "{}"), "is missing"),
        (lambda t, m: m.__setitem__("version", "99"), "no forecaster of this program"),
        (lambda t, m: m.pop("about"), "its header is not proper JSON"),
        (set_trainings([]), "does not say how it was trained"),
        (set_trainings(7), "does not say how it was trained"),
        (set_trainings([{"steps": 1}]), "of its training has another structure"),
        (set_trainings([{**TRAINING, "steps": -1}]), "steps is -1"),
        (set_trainings([{**TRAINING, "device": "<b>"}]), "device is '<b>'"),
        (set_progress("progress", "half"), "progress is 'half'"),
        (set_progress("ended", [1]), "ended is .* must be one of finished, patience, diverged"),
        (set_progress("changes", [{"step": 1}]), "its progress has another structure"),
        (
            set_progress("changes", [{"step": 1, "name": "seed", "old": 0, "new": 1}]),
            "name is 'seed': must be one of speed, learning_rate",
        ),
        (set_progress("scaler", None), "its progress has another structure"),
        (set_progress("scaler", {"scale": "large"}), "scale is 'large'"),
        (set_number("steps", 0, 0, 2), "history progress is 2: must be from 0 to 1"),
        (set_number("steps", 0, 1, 11), "history horizon is 11: must be whole and from 1 to 10"),
        (set_number("steps", 0, 1, 1.5), "history horizon is 1.5: must be whole"),
        (set_number("steps", 1, 2, torch.nan), "history loss is nan: must be"),
        (set_number("steps", 1, 5, 1e10), r"history seconds is 1e\+10: must be from 0 to 1e\+09"),
        (set_number("steps", 1, 4, -1), "history learning_rate is -1: must be from 0 to 1"),
        (set_number("evaluations", 0, 0, 3), "its evaluations belong to no step"),
        (set_number("evaluations", 0, 0, torch.nan), "its evaluations belong to no step"),
        (set_number("evaluations", 0, 12, 1e9), r"a score is 1e\+09: must be at most 1e\+06"),
        (put("history.steps", torch.ones(4, 6).double()), "tensor history.steps is 'F64'"),
        (put("history.steps", torch.zeros(2, 5).double()), "tensor history.steps is 'F64'"),
        (put("history.steps", torch.zeros(2, 6)), "tensor history.steps is 'F32'"),
        (
            put("history.evaluations", torch.ones(2, 17).double()),  # twice the same step
            "its evaluations belong to no step",
        ),
        (lambda t, m: [t.pop(n) for n in list(t) if n.startswith("best.")], "tensor 'best."),
        (lambda t, m: [t.pop(n) for n in list(t) if n.startswith("averaged.")], "tensor 'averag"),
        (lambda t, m: t.pop("generator"), "tensor 'generator'"),
        (put("generator", torch.zeros(3)), "tensor generator is 'F32'"),
        (put("optimizer.0.0.step", torch.zeros(1).half()), "tensor optimizer.0.0.step is 'F16'"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(files, change, message):
    path = spoil(files, "run", change)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_forecaster(path)
    assert "\n" not in str(caught.value)


def test_every_cut_of_a_file_is_refused(files):
    data = (files / "model").read_bytes()
    for size in [*range(0, 64), *range(64, len(data), 997)]:
        with pytest.raises(CheckpointError):
            read_forecaster(data[:size])


def test_what_is_no_checkpoint_is_refused(files, tmp_path):
    for content in (b"", b"rubbish", struct.pack("<Q", 2**40), b"\0" * 100):
        with pytest.raises(CheckpointError):
            read_forecaster(content)
    with pytest.raises(CheckpointError, match="No such file"):
        read_forecaster(tmp_path / "missing")


@pytest.mark.parametrize(
    "change",
    [
        put("optimizer.0.0.exp_avg", torch.zeros(1)),  # fused kernels would read past its end
        put("optimizer.9.0.step", torch.zeros(())),
        put("optimizer.x", torch.zeros(())),
        lambda t, m: t.pop("optimizer.0.0.exp_avg_sq"),
        lambda t, m: [t.pop(name) for name in list(t) if name.startswith("optimizer.")],
        lambda t, m: t["optimizer.0.0.exp_avg_sq"].fill_(-1),
        lambda t, m: t["generator"][8:10].copy_(torch.tensor([88, 2])),  # 600 numbers left
    ],
)
def test_a_forged_run_is_refused_before_it_goes_on(files, change):
    checkpoint = read_forecaster(spoil(files, "run", change))
    with pytest.raises(CheckpointError):
        resume_forecaster(checkpoint)


def test_a_run_before_its_first_step_goes_on_too(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast_validation, "VALIDATION_SEQUENCES", 2)
    save_run(ForecastTrainer(forecast_config(TINY)), tmp_path / "run")
    trainer = resume_forecaster(read_forecaster(tmp_path / "run"))
    assert len(list(trainer.records())) == 3


@pytest.mark.parametrize("steps", [0, 2])
def test_a_diverged_run_s_file_says_so(steps, files, tmp_path, monkeypatch):
    trainer = resume_forecaster(read_forecaster(files / "run"))
    if not steps:
        trainer = ForecastTrainer(trainer.config)
    broken = lambda values, frames, truth: values.sum() * torch.nan  # noqa: E731
    monkeypatch.setitem(forecasting.FORECAST_LOSSES, trainer.config.loss, broken)
    assert [record.ended for record in trainer.records()] == ["diverged"]
    save_run(trainer, tmp_path / "diverged")
    assert resume_forecaster(read_forecaster(tmp_path / "diverged")).ended == "diverged"
