"""What forecasters cost, against torch's own count of operations."""

from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from convlstm.budget import Limits, check_budget
from convlstm.checks import SettingError
from convlstm.forecast_config import forecast_config
from convlstm.forecast_costs import estimate_forecast, sequence_gflop
from convlstm.forecaster import build_forecaster
from convlstm.presets import FORECAST_PRESETS


@pytest.mark.parametrize(
    ("settings", "off"),
    [
        ({"hidden_channels": 24, "num_layers": 3}, 0.07),
        ({"hidden_channels": 12, "kernel_size": 5, "patch_size": 2, "canvas": 32}, 0.1),
        ({"network": "multiscale", "hidden_channels": 16, "num_layers": 3, "patch_size": 2}, 0.2),
    ],
)
@pytest.mark.parametrize("horizon", [1, 10])
def test_the_convolutions_are_those_that_torch_counts(settings, off, horizon):
    config = forecast_config(settings)
    model = build_forecaster(config.model, torch.Generator(), "meta")
    context = torch.zeros(1, 10, 1, config.scene.canvas, config.scene.canvas, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(context, horizon)
    counted = counter.get_total_flops() / 1e9
    assert sequence_gflop(config, horizon) == pytest.approx(counted, rel=off)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("canvas", (32, 64, 128)),
        ("hidden_channels", (1, 4, 16, 64)),
        ("kernel_size", (1, 3, 5, 7)),
        ("num_layers", (1, 2, 3)),
        ("batch_size", (1, 8, 32)),
        ("steps", (1, 100, 5000)),
        ("max_minutes", (1, 2)),
        ("recompute", (False, True)),
    ],
)
def test_a_larger_setting_takes_longer(name, values):
    costs = [estimate_forecast(forecast_config({name: value}), "float32") for value in values]
    assert all(a.run_seconds <= b.run_seconds for a, b in pairwise(costs))
    if name not in ("steps", "max_minutes"):
        assert all(a.step_seconds < b.step_seconds for a, b in pairwise(costs))


def test_recomputing_needs_less_memory_and_a_curriculum_less_time():
    plain, recomputed = (
        estimate_forecast(forecast_config({"recompute": flag}), "float32") for flag in (False, True)
    )
    assert recomputed.memory_mib < plain.memory_mib / 3
    long, short = (
        estimate_forecast(forecast_config({"curriculum": share}), "float32") for share in (0, 1)
    )
    assert short.run_seconds < long.run_seconds
    assert short.step_seconds == long.step_seconds


def test_weights_and_their_optimizer_count():
    wide = {"network": "multiscale", "hidden_channels": 128, "num_layers": 4, "canvas": 32}
    cost = estimate_forecast(forecast_config({**wide, "batch_size": 1}), "bfloat16")
    config = forecast_config(wide)
    model = build_forecaster(config.model, torch.Generator(), "meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert cost.memory_mib > 4 * 4 * parameters / 2**20  # weights, best ones, gradient, moment
    adamw = estimate_forecast(forecast_config({**wide, "optimizer": "adamw"}), "bfloat16")
    muon = estimate_forecast(config, "bfloat16")
    assert muon.step_seconds > adamw.step_seconds + 1


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "multiscale", "attention": True, "canvas": 128, "patch_size": 1,
         "num_layers": 2, "hidden_channels": 8},
        {"network": "multiscale", "num_layers": 4, "hidden_channels": 256, "canvas": 32},
        {"augmented": True, "batch_size": 1, "hidden_channels": 128},
        {"batch_size": 1024},
    ],
)  # fmt: skip
def test_what_would_hold_a_server_up_is_refused(settings):
    config = forecast_config({"steps": 10, **settings})
    with pytest.raises(SettingError, match="is over the limit"):
        check_budget(config, Limits(), lambda c: estimate_forecast(c, "bfloat16"))


@pytest.mark.parametrize("preset", FORECAST_PRESETS)
def test_a_slow_machine_takes_longer_by_its_factor(preset):
    config = FORECAST_PRESETS[preset].config
    one, three = (estimate_forecast(config, "bfloat16", slowdown) for slowdown in (1, 3))
    for name in ("piece_seconds", "step_seconds", "run_seconds"):
        assert getattr(three, name) == pytest.approx(3 * getattr(one, name))
