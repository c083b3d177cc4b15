import pytest
import torch

from convlstm.devices import pick_device, resolve_precision


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")


def test_a_device_that_is_not_there_is_refused_with_what_would_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device is 'cuda': this machine has none; use --device"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="device is 'gpu': must be auto, cpu, cuda or mps."):
        pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="device is 'cuda:7': must have a number under 2"):
        pick_device("cuda:7")


def test_a_precision_is_resolved_for_the_device():
    cpu = torch.device("cpu")
    for precision in ("float32", "bfloat16", "float16"):
        assert resolve_precision(precision, cpu) == precision
    assert resolve_precision("auto", cpu) in ("float32", "bfloat16")
    assert resolve_precision("auto", torch.device("meta")) == "float32"
