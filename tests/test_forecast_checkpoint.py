import json
import struct
from itertools import islice

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from convlstm import forecasting
from convlstm.forecast_checkpoint import load_forecaster, read_forecaster, save_forecaster, save_run
from convlstm.forecasting import ForecastTrainer, forecast_config
from convlstm.safe_files import CheckpointError, file_format

TINY = {"canvas": 32, "hidden_channels": 2, "num_layers": 1, "batch_size": 1, "steps": 3}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(forecasting, "VALIDATION_SEQUENCES", 2)
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
    assert checkpoint.about["steps"] == 2
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
        (set_progress("progress", "half"), "progress is 'half'"),
        (set_progress("last", {"step": 1}), "its progress has another structure"),
        (set_progress("last", {"step": -1}), "step is -1"),
        (set_progress("scaler", None), "its progress has another structure"),
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
