"""Costs, against torch's own count of operations, and how work is cut into pieces."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from convlstm.layer.convlstm import ConvLSTM
from convlstm.layer.recurrence import reference_scan
from convlstm.networks import FrameFormat, NetworkConfig, build_network
from convlstm.networks.transport import FLOWS
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.scenes.storm import Storm
from convlstm.settings import configure
from convlstm.training import TrainConfig, Trainer, trainer
from convlstm.training.costs import (
    arithmetic,
    estimate,
    evaluation_chunk,
    step_seconds,
    steps_left,
    training_chunk,
    work_of,
)
from convlstm.training.optimizers import Optimizer
from convlstm.training.presets import default_config, preset, preset_names

LARGEST = TrainConfig(Squares(canvas=128), NetworkConfig(64, 7, 3), batch_size=32)
SMALLEST = TrainConfig(Squares(canvas=16, square_size=2), NetworkConfig(1, 1, 1), batch_size=1)
BASES = {"squares": TrainConfig(Squares()), "digits": preset("moving-mnist-compact")}


def changed(base: TrainConfig, **settings: object) -> TrainConfig:
    return configure(settings, base)


def counted(config: TrainConfig, horizon: int) -> float:
    """What torch counts of a network on no device, in GFLOP."""
    frames = config.scene.frames
    network = build_network(config.network, frames, device="meta")
    context = torch.zeros(
        1, config.context_frames, frames.channels, *config.scene.size, device="meta"
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(context, horizon)
    return counter.get_total_flops() / 1e9


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(4, 3),
        NetworkConfig(8, 5, 2),
        NetworkConfig(6, 7, 3),
        NetworkConfig(16, 1),
        NetworkConfig(8, 3, 2, recompute=True),
    ],
)
def test_a_further_frame_of_context_is_what_torch_counts_for_a_layer_with_a_state(network):
    hidden, layers = network.hidden_channels, network.num_layers
    layer = ConvLSTM(1, hidden, network.kernel_size, layers, device="meta")
    state = torch.empty(1, hidden, 24, 24, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.empty(1, 9, 1, 24, 24, device="meta"), [(state, state)] * layers)
    ten, one = (arithmetic(network, FrameFormat(), (24, 24), T, 1).gflop for T in (10, 1))
    head = 9 * 2 * hidden * 24 * 24 / 1e9
    assert ten - one == pytest.approx(counter.get_total_flops() / 1e9 + head)


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ("squares", {"canvas": 24, "hidden_channels": 6, "num_layers": 3, "kernel_size": 7}),
        ("squares", {"canvas": 24, "output": "linear", "loss": "mse", "kernel_size": 1}),
        ("digits", {"hidden_channels": 24, "num_layers": 3}),
        ("digits", {"hidden_channels": 12, "output": "transport", "canvas": 32}),
        ("digits", {"hidden_channels": 12, "kernel_size": 5, "patch_size": 2, "canvas": 32}),
        ("digits", {"hidden_channels": 12, "rollout": "states", "output": "change", "loss": "l1"}),
        (
            "digits",
            {
                "architecture": "multiscale",
                "targets": "future",
                "hidden_channels": 8,
                "num_layers": 3,
                "patch_size": 2,
            },
        ),
        (
            "digits",
            {
                "architecture": "multiscale",
                "targets": "future",
                "hidden_channels": 8,
                "num_layers": 2,
                "attention": True,
                "rollout": "states",
            },
        ),
    ],
)
@pytest.mark.parametrize("horizon", [1, 10])
def test_the_arithmetic_is_what_torch_counts(base, settings, horizon):
    config = changed(BASES[base], **settings)
    assert work_of(config, horizon).gflop == pytest.approx(counted(config, horizon))


def test_the_arithmetic_of_a_storm_is_what_torch_counts():
    config = default_config("storm")
    assert work_of(config).gflop == pytest.approx(counted(config, config.horizon))


def test_the_multiplications_are_those_one_counts_by_hand():
    config = NetworkConfig(8, 3, 2, patch_size=4, residual=True)
    positions, gates = 16 * 16, 32
    first, second = gates * 9 * positions * 16, gates * 9 * positions * 8
    head = 16 * 8 * positions
    # 19 frames are read; the first finds no state, in either layer.
    state = 18 * 2 * gates * 9 * positions * 8
    found = arithmetic(config, FrameFormat(), (64, 64), 10, 10).gflop / 2
    assert found == pytest.approx((19 * (first + second + head) + state) / 1e9)


def test_what_a_head_moves_is_counted_by_its_products():
    config = NetworkConfig(6, 3, 2, patch_size=4, output="transport")
    work = arithmetic(config, FrameFormat(3), (32, 32), 10, 3)
    # Down and across, patches of 4 px with 4 more on each side, by 8 displacements and the first.
    products = 8 * (4 * 12 + 4 * 4) * FLOWS * 3 * (8 * 8)
    assert work.moved == 12 * products
    assert work.attended == 0  # its displacements are a softmax, but no attention
    assert arithmetic(NetworkConfig(6, 3, 2), FrameFormat(3), (32, 32), 10, 3).moved == 0


def test_state_elements_are_the_values_of_h():
    frames = torch.zeros(9, 1, 1, 20, 20)
    values = 0
    for cell in ConvLSTM(1, 6, 3, 2).cells:
        frames, _ = reference_scan(frames, None, cell.weights)
        values += frames.numel()
    work = arithmetic(NetworkConfig(6, 3, 2), FrameFormat(), (20, 20), 9, 1)
    assert work.elements == values
    assert work.cell_calls == 9 * 2


@pytest.mark.parametrize(
    "config",
    [LARGEST, SMALLEST, *map(preset, preset_names())],
    ids=["largest", "smallest", *preset_names()],
)
def test_a_piece_holds_at_least_one_sequence_and_at_most_the_batch(config):
    assert 1 <= training_chunk(config) <= config.batch_size
    # Four times the work where sequences are mirrored; never more than 16 at once.
    mirrors = 4 if config.augmented else 1
    assert evaluation_chunk(config) >= min(16, training_chunk(config) // mirrors)
    assert training_chunk(config) <= training_chunk(config, "cuda") <= config.batch_size
    assert evaluation_chunk(config) <= evaluation_chunk(config, "cuda") <= 16


def test_a_large_setting_is_cut_finer_than_a_small_one():
    assert training_chunk(LARGEST) == 1
    assert training_chunk(replace(SMALLEST, batch_size=32)) == 32
    chunks = [
        training_chunk(
            replace(LARGEST, network=NetworkConfig(64, kernel, 3), scene=Squares(canvas=40))
        )
        for kernel in (1, 3, 5, 7)
    ]
    assert chunks == sorted(chunks, reverse=True)
    assert chunks[0] > chunks[-1]


def test_the_cutting_depends_on_the_settings_alone(monkeypatch):
    config = TrainConfig(Squares(canvas=32), NetworkConfig(16, 3), batch_size=8)
    before = training_chunk(config)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert training_chunk(replace(config, seed=5, learning_rate=0.1, epochs=7)) == before


def test_a_step_comes_in_as_many_pieces_as_were_planned(monkeypatch):
    monkeypatch.setattr(trainer, "training_chunk", lambda config, device: 2)
    monkeypatch.setattr(trainer, "evaluation_chunk", lambda config, device: 2)
    config = TrainConfig(
        Squares(canvas=16),
        NetworkConfig(2, 1),
        batch_size=5,
        precision="float32",
        evaluate_every=2,
        epochs=2,
    )
    pieces = [piece is not None for piece in Trainer(config).pieces()]
    first, second = pieces.index(True), len(pieces) - 2 - pieces.index(True)
    assert pieces[-1]
    assert first == 3  # 2 + 2 + 1 sequences
    assert second == 3 + 4  # and an evaluation of 8


@pytest.mark.parametrize(
    ("base", "name", "values"),
    [
        ("squares", "canvas", (16, 32, 64, 128)),
        ("squares", "hidden_channels", (1, 4, 16, 64)),
        ("squares", "kernel_size", (1, 3, 5, 7)),
        ("squares", "num_layers", (1, 2, 3)),
        ("squares", "batch_size", (1, 8, 32)),
        ("squares", "horizon", (1, 2, 20)),
        ("squares", "context_frames", (1, 2, 20)),
        ("digits", "canvas", (32, 64, 128)),
        ("digits", "hidden_channels", (1, 4, 16, 64)),
        ("digits", "kernel_size", (1, 3, 5, 7)),
        ("digits", "num_layers", (2, 3, 4)),
        ("digits", "batch_size", (1, 8, 32)),
        ("digits", "recompute", (False, True)),
    ],
)
def test_a_larger_setting_takes_longer(base, name, values):
    costs = [estimate(changed(BASES[base], **{name: value}), "float32") for value in values]
    assert all(a.run_seconds < b.run_seconds for a, b in pairwise(costs))
    assert all(a.step_seconds < b.step_seconds for a, b in pairwise(costs))
    if base == "squares":
        assert max(cost.memory_mib for cost in costs) < 1024  # pieces are cut to keep it small


@pytest.mark.parametrize(
    ("base", "name", "values"),
    [
        ("squares", "epochs", (1, 100, 5000)),
        ("squares", "batches_per_epoch", (1, 10, 100)),
        ("digits", "epochs", (1, 100, 5000)),
        ("digits", "max_minutes", (1, 2)),
        ("digits", "augmented", (False, True)),
    ],
)
def test_a_longer_run_takes_longer_by_the_same_steps(base, name, values):
    costs = [estimate(changed(BASES[base], **{name: value}), "float32") for value in values]
    assert all(a.run_seconds < b.run_seconds for a, b in pairwise(costs))
    assert len({cost.step_seconds for cost in costs}) == 1


def test_steps_and_evaluations_add_up_to_the_run():
    plain = TrainConfig(Squares(), epochs=7, batches_per_epoch=3, evaluate_every=1000)
    cost = estimate(plain, "float32")
    often = estimate(replace(plain, evaluate_every=7), "float32")
    evaluation = (often.run_seconds - cost.run_seconds) / 3  # at 7, 14 and 21
    assert cost.run_seconds == pytest.approx(21 * cost.step_seconds + evaluation)
    assert 0 < evaluation
    assert cost.piece_seconds <= cost.step_seconds


def test_recomputing_needs_less_memory_and_a_curriculum_less_time():
    base = changed(BASES["digits"], output="sigmoid", patch_size=4, hidden_channels=64)
    plain, again = (estimate(changed(base, recompute=flag), "float32") for flag in (False, True))
    assert again.memory_mib < plain.memory_mib / 3
    long, short = (estimate(changed(base, curriculum=share), "float32") for share in (0, 1))
    assert short.run_seconds < long.run_seconds
    assert short.step_seconds == long.step_seconds


def test_smaller_frames_at_first_need_less_time_and_no_less_memory():
    whole = TrainConfig(Squares())
    first = configure({"small_frames": 0.5}, whole)
    costs = [estimate(config, "float32") for config in (whole, first)]
    assert costs[1].run_seconds < 0.85 * costs[0].run_seconds
    assert costs[1].step_seconds == costs[0].step_seconds
    assert costs[1].memory_mib == costs[0].memory_mib
    assert step_seconds(first, "float32", 0.4) < 0.65 * step_seconds(first, "float32", 0.5)


def test_what_is_left_of_a_run_is_counted_in_steps_like_the_present_one():
    plain = configure({"epochs": 200}, TrainConfig(Squares()))
    for progress in (0.0, 0.33, 0.5, 1.0):
        assert steps_left(plain, "float32", progress) == pytest.approx(200 * (1 - progress))
    grows = configure({"small_frames": 0.5}, plain)
    assert steps_left(grows, "float32", 0.75) == pytest.approx(50)
    ratio = step_seconds(grows, "float32", 0.9) / step_seconds(grows, "float32", 0.1)
    assert steps_left(grows, "float32", 0.25) == pytest.approx(50 + 100 * ratio)


def test_weights_and_their_optimizer_count():
    config = changed(
        BASES["digits"],
        architecture="multiscale",
        targets="future",
        hidden_channels=128,
        num_layers=4,
        canvas=32,
    )
    cost = estimate(changed(config, batch_size=1), "bfloat16")
    network = build_network(config.network, FrameFormat(), device="meta")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert cost.memory_mib > 4 * 4 * parameters / 2**20  # weights, best ones, gradient, moment
    averaged = estimate(changed(config, batch_size=1, ema=0.9), "bfloat16")
    assert averaged.memory_mib - cost.memory_mib == pytest.approx(4 * parameters / 2**20)
    adamw = estimate(changed(config, optimizer="adamw"), "bfloat16")
    muon = estimate(config, "bfloat16")
    assert muon.step_seconds > adamw.step_seconds + 1
    assert Optimizer.kernels(network)


@pytest.mark.parametrize("name", preset_names())
def test_a_slow_machine_takes_longer_by_its_factor(name):
    one = estimate(preset(name), "bfloat16")
    three = one.slowed(3)
    for attribute in ("piece_seconds", "step_seconds", "run_seconds"):
        assert getattr(three, attribute) == pytest.approx(3 * getattr(one, attribute))
    assert three.memory_mib == one.memory_mib


@pytest.mark.parametrize("config", [TrainConfig(Squares()), TrainConfig(Digits())])
def test_bfloat16_is_cheaper_than_float32(config):
    full, half = (estimate(config, precision) for precision in ("float32", "bfloat16"))
    assert half.run_seconds < full.run_seconds
    assert half.memory_mib < full.memory_mib
    assert estimate(config, "float16") == full  # no CPU is faster with it


def test_what_one_cannot_cut_finer_takes_as_long_as_it_takes():
    base = changed(BASES["digits"], epochs=10)
    scales = {"architecture": "multiscale", "targets": "future"}
    attention = {"canvas": 128, "patch_size": 1, "num_layers": 2, "hidden_channels": 8}
    for settings in (
        {**scales, **attention, "attention": True},
        {**scales, "num_layers": 4, "hidden_channels": 256, "canvas": 32},
    ):
        assert estimate(changed(base, **settings), "bfloat16").piece_seconds > 1
    # Batches and mirrored sequences are cut.
    for settings in ({"batch_size": 1024}, {"augmented": True, "hidden_channels": 128}):
        assert estimate(changed(base, **settings), "bfloat16").piece_seconds < 0.5


def test_attention_over_many_positions_counts():
    config = NetworkConfig(4, 3, 2, "multiscale", attention=True)
    work = arithmetic(config, FrameFormat(), (32, 32), 3, 2)
    assert work.attended == (3 + 1) * (16 * 16) ** 2  # the coarse scale's, at each frame read
    assert arithmetic(replace(config, attention=False), FrameFormat(), (32, 32), 3, 2).attended == 0


def test_a_storm_s_channels_count():
    one, four = (estimate(TrainConfig(Storm(variable=v)), "float32") for v in ("pressure", "all"))
    assert one.step_seconds < four.step_seconds
