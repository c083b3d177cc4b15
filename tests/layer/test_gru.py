"""The GRU, against nn.GRU; what it shares with the LSTM is tested with that."""

import pytest
import torch
from torch import nn

from convlstm.layer import ConvGRU, ConvGRUCell
from tests.layer.test_options import seeded


def copy_gru_weights(gru: nn.GRU | nn.GRUCell, cell: ConvGRUCell, suffix: str = "") -> None:
    """Give a cell with a 1x1 kernel the weights of a torch GRU."""
    get = {name: value.detach() for name, value in gru.named_parameters()}
    weight = torch.cat([get[f"weight_ih{suffix}"], get[f"weight_hh{suffix}"]], 1)
    with torch.no_grad():
        cell.gates.weight.copy_(weight[:, :, None, None])
        if cell.gates.bias is not None:
            width, of_x, of_h = (
                2 * cell.hidden_channels,
                get[f"bias_ih{suffix}"],
                get[f"bias_hh{suffix}"],
            )
            cell.gates.bias.copy_(of_x)
            cell.gates.bias[:width] += of_h[:width]
            cell.reset_bias.copy_(of_h[width:])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("has_state", [True, False])
def test_a_cell_on_one_pixel_equals_torch_s_gru_cell(bias, has_state):
    gru, cell = nn.GRUCell(3, 5, bias=bias), ConvGRUCell(3, 5, kernel_size=1, bias=bias)
    copy_gru_weights(gru, cell)
    x = torch.rand(4, 3, generator=seeded(1))
    h = torch.rand(4, 5, generator=seeded(2)) - 0.5 if has_state else None
    found = cell(x[..., None, None], None if h is None else h[..., None, None])
    torch.testing.assert_close(found[..., 0, 0], gru(x, h), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_a_stack_on_one_pixel_equals_torch_s_gru_in_outputs_and_order_of_states(
    num_layers, bidirectional, batch_first
):
    options = {
        "num_layers": num_layers,
        "bidirectional": bidirectional,
        "batch_first": batch_first,
    }
    gru, layer = nn.GRU(3, 5, **options), ConvGRU(3, 5, kernel_size=1, **options)
    directions = ["", "_reverse"] if bidirectional else [""]
    suffixes = [f"_l{number}{d}" for number in range(num_layers) for d in directions]
    for cell, suffix in zip(layer.cells, suffixes, strict=True):
        copy_gru_weights(gru, cell, suffix)
    x = torch.rand((2, 6, 3) if batch_first else (6, 2, 3), generator=seeded(1))
    h = torch.rand(len(suffixes), 2, 5, generator=seeded(2))

    expected, last_h = gru(x, h)
    found, last = layer(x[..., None, None], list(h[..., None, None]))

    torch.testing.assert_close(found[..., 0, 0], expected)
    torch.testing.assert_close(torch.stack(last)[..., 0, 0], last_h)


def test_no_state_is_a_state_of_zeros():
    layer, x = ConvGRU(2, 4, num_layers=2), torch.rand(2, 3, 2, 6, 6, generator=seeded(1))
    zeros = [torch.zeros(2, 4, 6, 6)] * 2
    torch.testing.assert_close(layer(x, zeros), layer(x))


def test_a_generator_decides_all_weights_within_one_over_the_root_of_the_fan_in():
    one, two = ConvGRU(3, 13), ConvGRU(3, 13)
    one.reset_parameters(seeded(3))
    two.reset_parameters(seeded(3))
    torch.testing.assert_close(one.state_dict(), two.state_dict(), atol=0, rtol=0)
    bound = (16 * 9) ** -0.5
    for parameter in one.parameters():
        assert 0.7 * bound < parameter.abs().max().item() <= bound


def test_the_last_state_is_the_last_output_and_lies_between_minus_one_and_one():
    layer = ConvGRU(1, 4)
    with torch.no_grad():
        layer.cells[0].gates.weight.mul_(20)
    output, [h] = layer(torch.rand(2, 20, 1, 6, 6, generator=seeded(1)))
    assert torch.equal(h, output[:, -1])
    assert output.abs().max() <= 1


def test_it_has_three_quarters_of_the_lstm_s_weights():
    assert ConvGRU(1, 16).cells[0].gates.weight.shape == (48, 17, 3, 3)
