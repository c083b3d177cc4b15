"""The stack, which with patches of one pixel is the article's next-frame predictor."""

import pytest
import torch

from convlstm.networks import FrameFormat, NetworkConfig
from convlstm.networks.stack import Stack
from tests.networks.test_network import SMALL, frames, make

SQUARES = FrameFormat(start_logit=-5.0)


def make_predictor(seed: int = 0, **settings: object) -> Stack:
    """A network of whole pixels; 3x3 kernels and 16 channels unless others are asked for."""
    settings = {"hidden_channels": 16, "kernel_size": 3, **settings}
    return make(seed, SQUARES, **settings)


def test_the_article_s_network_has_9873_parameters():
    config = NetworkConfig(16, kernel_size=3, output="linear", forget_bias=0)
    network = Stack(config, FrameFormat())
    assert sum(parameter.numel() for parameter in network.parameters()) == 9873


def test_the_names_in_a_state_dict_stay_as_they_are():
    network = make_predictor(num_layers=2, peephole=True)
    assert list(network.state_dict()) == [
        "convlstm.cells.0.peephole",
        "convlstm.cells.0.gates.weight",
        "convlstm.cells.0.gates.bias",
        "convlstm.cells.1.peephole",
        "convlstm.cells.1.gates.weight",
        "convlstm.cells.1.gates.bias",
        "head.weight",
        "head.bias",
    ]
    assert "convlstm.cells.0.peephole" not in make_predictor().state_dict()


@pytest.mark.parametrize("output", ["sigmoid", "transport"])
@pytest.mark.parametrize(
    ("kernel_size", "num_layers"), [(1, 1), (3, 1), (5, 1), (3, 2), (3, 3), (7, 2)]
)
def test_information_moves_exactly_as_far_as_the_reach_says(kernel_size, num_layers, output):
    network = make_predictor(
        kernel_size=kernel_size, num_layers=num_layers, hidden_channels=4, output=output
    )
    x = frames(1, 3, 1, 17, 17, seed=7)
    changed = x.clone()
    changed[:, -1, :, 8, 8] += 1
    moved = (network(x, 1) != network(changed, 1))[0, -1, 0]
    rows = moved.any(1).nonzero()
    reach = network.config.reach
    assert (rows.min().item(), rows.max().item()) == (8 - reach, 8 + reach)
    assert moved.sum() == (2 * reach + 1) ** 2


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
@pytest.mark.parametrize("patch_size", [1, 4])
def test_predicting_feeds_the_network_its_own_frames(output, patch_size):
    network = make_predictor(output=output, num_layers=2, patch_size=patch_size)
    context = frames(2, 4, 1, 12, 12, seed=7)
    seen, expected = context, []
    for _ in range(3):
        values = network(seen, 1)[:, -1:]
        frame = (values.sigmoid() if output == "sigmoid" else values).clamp(0, 1).detach()
        expected.append(frame)
        seen = torch.cat([seen, frame], 1)
    torch.testing.assert_close(network.predict(context, 3), torch.cat(expected, 1))


def test_a_stack_predicts_by_its_own_output_after_the_first_frame():
    network, context = make(**SMALL), frames(1, 5, 1, 16, 16)
    predicted = network.predict(context, 3)
    first = network.predict(context, 1)
    torch.testing.assert_close(predicted[:, :1], first)
    second = network.predict(torch.cat([context, first], 1), 1)
    torch.testing.assert_close(predicted[:, 1:2], second, rtol=1e-4, atol=1e-6)


def test_with_the_truth_fed_back_a_stack_reads_it_as_it_reads_a_context():
    network, sequence = make(**SMALL), frames(2, 9, 1, 16, 16)
    use_truth = torch.ones(2, 4, dtype=torch.bool)
    forced = network(sequence[:, :5], 4, sequence[:, 5:], use_truth)
    whole = network(sequence[:, :8], 1)  # the last truth is nobody's input
    torch.testing.assert_close(forced, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_predicted_frames_lie_between_black_and_white(output):
    network = make_predictor(output=output)
    with torch.no_grad():
        network.head.weight[0, :, 0, 0] = torch.linspace(-100, 100, network.config.hidden_channels)
        network.head.bias.zero_()
    predicted = network.predict(frames(2, 4, 1, 12, 12, seed=7), 5)
    assert predicted.shape == (2, 5, 1, 12, 12)
    assert predicted.dtype == torch.float32
    assert not predicted.requires_grad
    assert predicted.min() >= 0
    assert predicted.max() <= 1
    assert len(predicted.unique()) > 5


def test_the_forward_values_are_logits_or_intensities():
    x = frames(2, 3, 1, 12, 12, seed=7)
    for output in ("sigmoid", "linear"):
        network = make_predictor(output=output)
        values = network(x, 1)
        assert values.shape == x.shape
        expected = values.sigmoid() if output == "sigmoid" else values
        assert torch.equal(network.intensities(values), expected)


def test_a_new_sigmoid_network_predicts_near_black():
    assert make_predictor().predict(frames(2, 4, 1, 16, 16, seed=7), 1).max() < 0.05


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_channels": 5},
        {"kernel_size": 5},
        {"num_layers": 2},
        {"output": "linear"},
        {"peephole": True},
        {"forget_bias": 0.0},
        {"num_layers": 2, "residual": True},
    ],
)
def test_every_setting_of_the_network_changes_its_prediction(changed):
    base = {"hidden_channels": 4, "kernel_size": 3}
    if "residual" in changed:
        base["num_layers"] = 2
    context = frames(1, 4, 1, 12, 12, seed=7)
    one, two = make_predictor(**base), make_predictor(**{**base, **changed})
    assert not torch.allclose(one(context, 1), two(context, 1), atol=1e-4)


def test_on_states_alone_a_stack_reads_black_frames_after_the_context():
    network, context = make(**SMALL, rollout="states"), frames(1, 4, 1, 16, 16)
    black = torch.cat([context, torch.zeros(1, 2, 1, 16, 16)], 1)
    torch.testing.assert_close(network(context, 3), network(black, 1))
