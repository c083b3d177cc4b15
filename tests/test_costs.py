"""Costs, against torch's own count of operations, and how work is cut into pieces."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from convlstm import training
from convlstm.costs import (
    estimate,
    evaluation_chunk,
    forward_gflop,
    state_elements,
    training_chunk,
)
from convlstm.data import CONTEXT_FRAMES, SquaresConfig
from convlstm.layer.convlstm import ConvLSTM
from convlstm.layer.recurrence import reference_scan
from convlstm.predictor import ModelConfig
from convlstm.presets import PRESETS
from convlstm.train_config import TrainConfig, train_config
from convlstm.training import Trainer

LARGEST = TrainConfig(SquaresConfig(128), ModelConfig(64, 7, 3), batch_size=32)
SMALLEST = TrainConfig(SquaresConfig(16, 2), ModelConfig(1, 1, 1), batch_size=1)


@pytest.mark.parametrize(
    "model",
    [ModelConfig(4, 3), ModelConfig(8, 5, 2), ModelConfig(6, 7, 3), ModelConfig(16, 1)],
)
def test_the_arithmetic_is_what_torch_counts(model):
    layer = ConvLSTM(1, model.hidden_channels, model.kernel_size, model.num_layers, device="meta")
    state = torch.empty(1, model.hidden_channels, 24, 24, device="meta")
    with FlopCounterMode(display=False) as counter:
        layer(
            torch.empty(1, CONTEXT_FRAMES, 1, 24, 24, device="meta"),
            [(state, state)] * model.num_layers,
        )
    scene = SquaresConfig(canvas=24)
    assert forward_gflop(scene, model) == pytest.approx(counter.get_total_flops() / 1e9)


def test_state_elements_are_the_values_of_h():
    model = ModelConfig(6, 3, 2)
    frames = torch.zeros(CONTEXT_FRAMES, 1, 1, 20, 20)
    values = 0
    for cell in ConvLSTM(1, 6, 3, 2).cells:
        frames, _ = reference_scan(frames, None, cell.weights)
        values += frames.numel()
    assert state_elements(SquaresConfig(canvas=20), model) == values


@pytest.mark.parametrize("config", [LARGEST, SMALLEST, *(p.config for p in PRESETS.values())])
def test_a_piece_holds_at_least_one_sequence_and_at_most_the_batch(config):
    assert 1 <= training_chunk(config) <= config.batch_size
    assert evaluation_chunk(config) >= training_chunk(config)


def test_a_large_setting_is_cut_finer_than_a_small_one():
    assert training_chunk(LARGEST) == 1
    assert training_chunk(replace(SMALLEST, batch_size=32)) == 32
    chunks = [
        training_chunk(replace(LARGEST, model=ModelConfig(64, kernel, 3), scene=SquaresConfig(40)))
        for kernel in (1, 3, 5, 7)
    ]
    assert chunks == sorted(chunks, reverse=True)
    assert chunks[0] > chunks[-1]


def test_the_cutting_depends_on_the_settings_alone(monkeypatch):
    config = TrainConfig(SquaresConfig(32), ModelConfig(16, 3), batch_size=8)
    before = training_chunk(config)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert training_chunk(replace(config, seed=5, learning_rate=0.1, epochs=7)) == before


def test_a_step_comes_in_as_many_pieces_as_were_planned(monkeypatch):
    monkeypatch.setattr(training, "training_chunk", lambda config: 2)
    config = train_config(
        {
            "canvas": 16,
            "hidden_channels": 2,
            "kernel_size": 1,
            "batch_size": 5,
            "precision": "float32",
            "evaluate_every": 1000,
        }
    )
    trainer = Trainer(config)
    seen = []
    for record in trainer.pieces():
        seen.append(record is not None)
        if trainer.step == 2 and seen[-1]:
            break
    first, second = seen.index(True), len(seen) - 2 - seen.index(True)
    assert second == 3  # 2 + 2 + 1 sequences
    assert first > 3  # and the first step's evaluation


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("canvas", (16, 32, 64, 128)),
        ("hidden_channels", (1, 4, 16, 64)),
        ("kernel_size", (1, 3, 5, 7)),
        ("num_layers", (1, 2, 3)),
        ("batch_size", (1, 8, 32)),
        ("epochs", (1, 100, 5000)),
        ("batches_per_epoch", (1, 10, 100)),
    ],
)
def test_a_larger_setting_takes_longer(name, values):
    costs = [estimate(train_config({name: value}), "float32") for value in values]
    assert all(a.run_seconds < b.run_seconds for a, b in pairwise(costs))
    assert max(cost.memory_mib for cost in costs) < 1024  # pieces are cut to keep it small


def test_steps_add_up_to_the_run():
    cost = estimate(TrainConfig(epochs=7, batches_per_epoch=3), "float32")
    assert cost.run_seconds == pytest.approx(21 * cost.step_seconds)
    assert cost.piece_seconds <= cost.step_seconds


def test_a_slow_machine_takes_longer_by_its_factor():
    one, three = (estimate(TrainConfig(), "bfloat16", slowdown) for slowdown in (1, 3))
    for name in ("piece_seconds", "step_seconds", "run_seconds"):
        assert getattr(three, name) == pytest.approx(3 * getattr(one, name))
    assert three.memory_mib == one.memory_mib


def test_bfloat16_is_cheaper_than_float32():
    full, half = (estimate(TrainConfig(), precision) for precision in ("float32", "bfloat16"))
    assert half.run_seconds < full.run_seconds
    assert half.memory_mib < full.memory_mib
