"""The cell and the layer, against nn.LSTM, Keras and their own promises."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convlstm.layer.convlstm import ConvLSTM, ConvLSTMCell

# One entry for each option of the layer; "sizes" gives every layer its own.
OPTIONS = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "bias False": {"bias": False},
    "peephole": {"peephole": True},
    "forget_bias": {"forget_bias": 1.0},
    "bidirectional": {"bidirectional": True, "num_layers": 2},
    "residual": {"residual": True, "num_layers": 2},
    "dropout": {"dropout": 0.5, "num_layers": 2},
    "sizes": {"hidden_channels": [3, 5], "kernel_size": [1, 5], "num_layers": 2},
    "everything": {
        "num_layers": 3,
        "peephole": True,
        "residual": True,
        "forget_bias": 1.0,
        "dropout": 0.25,
        "bidirectional": True,
    },
}
CAUSAL = [name for name, options in OPTIONS.items() if not options.get("bidirectional")]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frames(*shape: int, seed: int = 7) -> torch.Tensor:
    return torch.rand(shape, generator=seeded(seed))


def make_layer(name: str, in_channels: int = 2, **more: object) -> ConvLSTM:
    layer = ConvLSTM(in_channels, **{"hidden_channels": 4, **OPTIONS[name], **more})
    layer.reset_parameters(seeded())
    return layer.eval()


def copy_lstm_weights(lstm: nn.LSTM | nn.LSTMCell, cell: ConvLSTMCell, suffix: str = "") -> None:
    """Give a cell with a 1x1 kernel the weights of a torch LSTM."""
    get = {name: value.detach() for name, value in lstm.named_parameters()}
    weight = torch.cat([get[f"weight_ih{suffix}"], get[f"weight_hh{suffix}"]], 1)
    with torch.no_grad():
        cell.gates.weight.copy_(weight[:, :, None, None])
        if cell.gates.bias is not None:
            cell.gates.bias.copy_(get[f"bias_ih{suffix}"] + get[f"bias_hh{suffix}"])


def as_keras_in_its_tests(cell: ConvLSTMCell) -> None:
    """Kernel 0.01, recurrent kernel 0.02, bias 0 but for the forget gate's 1."""
    with torch.no_grad():
        cell.gates.weight[:, : cell.in_channels] = 0.01
        cell.gates.weight[:, cell.in_channels :] = 0.02
        cell.gates.bias.zero_()
        cell.gates.bias[cell.hidden_channels : 2 * cell.hidden_channels] = 1


def counted(divisor: float, *shape: int) -> torch.Tensor:
    """Keras's inputs: 0, 1, 2, ... over the divisor, channels last, turned to channels first."""
    return (torch.arange(math.prod(shape)).reshape(shape) / divisor).movedim(-1, -3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("has_state", [True, False])
def test_a_cell_on_one_pixel_equals_torch_s_lstm_cell(bias, has_state):
    lstm = nn.LSTMCell(3, 5, bias=bias)
    cell = ConvLSTMCell(3, 5, kernel_size=1, bias=bias)
    copy_lstm_weights(lstm, cell)
    x = frames(4, 3)
    state = (frames(4, 5, seed=1), frames(4, 5, seed=2) * 3) if has_state else None
    expected = lstm(x, state)
    found = cell(x[..., None, None], state and tuple(s[..., None, None] for s in state))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours[..., 0, 0], theirs, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_a_stack_on_one_pixel_equals_torch_s_lstm_in_outputs_and_order_of_states(
    num_layers, bidirectional, batch_first
):
    options = {
        "num_layers": num_layers,
        "bidirectional": bidirectional,
        "batch_first": batch_first,
    }
    lstm = nn.LSTM(3, 5, **options)
    layer = ConvLSTM(3, 5, kernel_size=1, **options)
    directions = ["", "_reverse"] if bidirectional else [""]
    suffixes = [f"_l{number}{d}" for number in range(num_layers) for d in directions]
    for cell, suffix in zip(layer.cells, suffixes, strict=True):
        copy_lstm_weights(lstm, cell, suffix)
    x = frames(*((2, 6, 3) if batch_first else (6, 2, 3)))
    h, c = frames(len(suffixes), 2, 5, seed=1), frames(len(suffixes), 2, 5, seed=2)

    expected, (last_h, last_c) = lstm(x, (h, c))
    states = [(a[..., None, None], b[..., None, None]) for a, b in zip(h, c, strict=True)]
    found, last = layer(x[..., None, None], states)

    torch.testing.assert_close(found[..., 0, 0], expected)
    torch.testing.assert_close(torch.stack([h for h, _ in last])[..., 0, 0], last_h)
    torch.testing.assert_close(torch.stack([c for _, c in last])[..., 0, 0], last_c)


# Keras: keras/src/layers/rnn/conv_lstm_test.py, whose gates are packed i, f, g, o as ours are.


def test_a_cell_gives_keras_s_published_sums():
    cell = ConvLSTMCell(3, 4, kernel_size=3)
    as_keras_in_its_tests(cell)
    h, c = cell(counted(10, 2, 5, 5, 3), (counted(10, 2, 5, 5, 4), counted(10, 2, 5, 5, 4)))
    assert h.sum().item() == pytest.approx(188.89502, rel=1e-6)
    assert c.sum().item() == pytest.approx(2170.444, rel=1e-6)


def test_a_layer_of_three_steps_gives_keras_s_published_sum():
    layer = ConvLSTM(3, 4, kernel_size=3)
    as_keras_in_its_tests(layer.cells[0])
    state = (counted(100, 2, 5, 5, 4), counted(100, 2, 5, 5, 4))
    output, states = layer(counted(100, 2, 3, 5, 5, 3), [state])
    assert output[:, -1].sum().item() == pytest.approx(119.812454, rel=1e-6)
    assert torch.equal(states[0][0], output[:, -1])


@pytest.mark.parametrize("peephole", [True, False])
def test_a_cell_does_what_its_formulas_say(peephole):
    cell = ConvLSTMCell(2, 3, kernel_size=5, peephole=peephole)
    x, h, c = frames(2, 2, 6, 7), frames(2, 3, 6, 7, seed=1) - 0.5, frames(2, 3, 6, 7, seed=2) - 0.5
    wi, wf, wg, wo = cell.gates.weight.detach().split(3)
    bi, bf, bg, bo = cell.gates.bias.detach().split(3)
    pi, pf, po = cell.peephole.detach() if peephole else (0, 0, 0)
    both = torch.cat([x, h], 1)
    i = torch.sigmoid(F.conv2d(both, wi, bi, padding="same") + pi * c)
    f = torch.sigmoid(F.conv2d(both, wf, bf, padding="same") + pf * c)
    g = torch.tanh(F.conv2d(both, wg, bg, padding="same"))
    new_c = f * c + i * g
    o = torch.sigmoid(F.conv2d(both, wo, bo, padding="same") + po * new_c)
    found_h, found_c = cell(x, (h, c))
    torch.testing.assert_close(found_c, new_c)
    torch.testing.assert_close(found_h, o * torch.tanh(new_c))


@pytest.mark.parametrize("name", OPTIONS)
def test_no_state_is_a_state_of_zeros(name):
    layer, x = make_layer(name), frames(2, 3, 2, 6, 6)
    zeros = [(torch.zeros(2, cell.hidden_channels, 6, 6),) * 2 for cell in layer.cells]
    torch.testing.assert_close(layer(x, zeros), layer(x))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("name", CAUSAL)
def test_a_whole_sequence_equals_frame_by_frame_with_carried_states(name, batch_first):
    layer, time = make_layer(name, batch_first=batch_first), 1 if batch_first else 0
    x = frames(2, 5, 2, 6, 7) if batch_first else frames(5, 2, 2, 6, 7)
    expected, last = layer(x)
    states, outputs = None, []
    for frame in x.split(1, time):
        output, states = layer(frame, states)
        outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, time), expected)
    torch.testing.assert_close(states, last)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_changed_frame_leaves_every_earlier_output_bit_identical(name):
    layer, x = make_layer(name), frames(2, 5, 2, 6, 7)
    changed = x.clone()
    changed[:, 3] += 1
    before, after = layer(x)[0], layer(changed)[0]
    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).flatten(2).any(2).all()


def test_the_backward_half_of_a_bidirectional_layer_reads_the_reversed_sequence():
    both, x = ConvLSTM(2, 3, bidirectional=True), frames(2, 5, 2, 6, 7)
    single = ConvLSTM(2, 3)
    single.cells[0].load_state_dict(both.cells[1].state_dict())
    output, states = both(x)
    reversed_output, reversed_states = single(x.flip(1))
    assert torch.equal(output[:, :, 3:], reversed_output.flip(1))
    assert torch.equal(states[1][1], reversed_states[0][1])


@pytest.mark.parametrize("name", OPTIONS)
def test_one_layer_runs_at_several_sizes_batches_and_lengths(name):
    layer = make_layer(name)
    for B, T, H, W in ((1, 1, 5, 5), (3, 4, 8, 6), (2, 7, 1, 9), (1, 2, 33, 17)):
        output, states = layer(frames(B, T, 2, H, W))
        channels = output.shape[2]
        assert output.shape == (B, T, channels, H, W)
        assert channels == layer.cells[-1].hidden_channels * (1 + layer.bidirectional)
        assert len(states) == len(layer.cells)
        for (h, c), cell in zip(states, layer.cells, strict=True):
            assert h.shape == c.shape == (B, cell.hidden_channels, H, W)


def test_a_sequence_gets_the_same_output_alone_and_in_a_batch():
    layer, x = make_layer("two layers"), frames(3, 4, 2, 6, 6)
    torch.testing.assert_close(layer(x[1:2])[0], layer(x)[0][1:2])


def test_batch_first_only_changes_the_order_of_axes():
    first, second = make_layer("two layers"), make_layer("two layers", batch_first=False)
    x = frames(2, 4, 2, 6, 6)
    torch.testing.assert_close(second(x.transpose(0, 1))[0].transpose(0, 1), first(x)[0])


@pytest.mark.parametrize("name", OPTIONS)
def test_every_parameter_gets_a_gradient(name):
    layer = make_layer(name).train()
    output, _ = layer(frames(2, 4, 2, 6, 6))
    (output * frames(*output.shape, seed=3)).sum().backward()
    for parameter_name, parameter in layer.named_parameters():
        rows = parameter.grad.flatten(1) if parameter.ndim > 1 else parameter.grad[:, None]
        assert rows.any(1).all(), parameter_name  # in each gate and each channel


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in ("plain", "dropout")])
def test_every_option_changes_the_output(name):
    x = frames(2, 4, 2, 6, 6)
    plain, other = make_layer("plain")(x)[0], make_layer(name)(x)[0]
    assert plain.shape != other.shape or not torch.allclose(plain, other, atol=1e-3)


@pytest.mark.parametrize("option", [{"residual": True}, {"peephole": True}, {"forget_bias": 2.0}])
def test_an_option_acts_where_all_other_weights_are_the_same(option):
    plain, other = ConvLSTM(2, 4, num_layers=2), ConvLSTM(2, 4, num_layers=2, **option)
    for layer in (plain, other):
        layer.reset_parameters(seeded())
    other.load_state_dict(plain.state_dict(), strict=False)
    if "forget_bias" in option:
        for cell in other.cells:
            cell.gates.bias.data[4:8] = 2.0
    x = frames(2, 4, 2, 6, 6)
    assert not torch.allclose(plain(x)[0], other(x)[0], atol=1e-5)


def test_a_residual_layer_adds_its_input_to_its_output():
    stack = make_layer("residual")
    first, second = ConvLSTM(2, 4), ConvLSTM(4, 4)
    first.cells[0].load_state_dict(stack.cells[0].state_dict())
    second.cells[0].load_state_dict(stack.cells[1].state_dict())
    below = first(frames(2, 4, 2, 6, 6))[0]
    torch.testing.assert_close(stack(frames(2, 4, 2, 6, 6))[0], below + second(below)[0])


def test_dropout_acts_between_layers_and_only_in_training():
    layer, x = make_layer("dropout"), frames(2, 4, 2, 6, 6)
    without = ConvLSTM(2, 4, num_layers=2)
    without.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x)[0], without(x)[0])
    layer.train()
    torch.manual_seed(0)
    one, two = layer(x)[0], layer(x)[0]
    assert not torch.equal(one, two)
    assert one.all()  # nothing is dropped behind the last layer
    assert torch.equal(layer(x)[1][0][0], without(x)[1][0][0])  # nor in a state


def test_dropout_of_half_zeroes_half_and_doubles_the_rest(monkeypatch):
    layer, seen = make_layer("dropout").train(), []
    monkeypatch.setattr(layer.cells[1], "check", lambda x, state: seen.append(x))
    output = layer(frames(2, 1, 2, 32, 32))[1][0][0]
    kept = seen[0] != 0
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(seen[0][kept], 2 * output[kept])


def test_the_forget_bias_stands_at_the_forget_gate():
    cell = ConvLSTMCell(2, 4, forget_bias=3.0)
    bound = 1 / math.sqrt((2 + 4) * 9)
    assert (cell.gates.bias[4:8] == 3).all()
    assert (torch.cat([cell.gates.bias[:4], cell.gates.bias[8:]]).abs() <= bound).all()


def test_a_forget_bias_of_0_is_set_and_none_stays_as_drawn():
    drawn, zero = (ConvLSTMCell(2, 4, forget_bias=bias) for bias in (None, 0))
    for cell in (drawn, zero):
        cell.reset_parameters(seeded())
    assert drawn.gates.bias[4:8].all()
    assert not zero.gates.bias[4:8].any()
    assert torch.equal(drawn.gates.bias[8:], zero.gates.bias[8:])  # no draw is left out


def test_new_weights_are_drawn_within_one_over_the_root_of_the_fan_in():
    cell = ConvLSTMCell(3, 13, kernel_size=3, peephole=True)
    for parameter, fan_in in ((cell.gates.weight, 16 * 9), (cell.peephole, 13)):
        bound = 1 / math.sqrt(fan_in)
        assert 0.8 * bound < parameter.abs().max().item() <= bound


def test_h_lies_between_minus_one_and_one_while_c_grows_beyond():
    cell = ConvLSTMCell(1, 4)
    with torch.no_grad():
        cell.gates.weight.mul_(20)
    state = None
    for _ in range(20):
        state = cell(frames(2, 1, 6, 6), state)
        assert (state[0].abs() <= 1).all()
    assert state[1].abs().max() > 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_layer_computes_in_the_type_it_was_made_in(dtype):
    layer = ConvLSTM(2, 4, num_layers=2, peephole=True, forget_bias=1.0, dtype=dtype)
    reference = ConvLSTM(2, 4, num_layers=2, peephole=True)
    reference.load_state_dict(layer.state_dict())
    x = frames(2, 3, 2, 6, 6)
    output, states = layer(x.to(dtype))
    assert {output.dtype, *(tensor.dtype for state in states for tensor in state)} == {dtype}
    torch.testing.assert_close(output.float(), reference(x)[0], atol=0.02, rtol=0.02)


def test_a_float64_layer_agrees_with_its_numerical_gradient():
    layer = ConvLSTM(1, 2, num_layers=2, peephole=True, residual=True, dtype=torch.float64)
    x = torch.rand(1, 2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: layer(given)[0], x)


def test_layers_are_made_on_the_device_asked_for():
    layer = ConvLSTM(2, 4, peephole=True, device="meta")
    assert all(parameter.is_meta for parameter in layer.parameters())
    assert layer(torch.empty(1, 3, 2, 8, 8, device="meta"))[0].shape == (1, 3, 4, 8, 8)


def test_a_generator_decides_all_weights():
    one, two = ConvLSTM(1, 4, peephole=True), ConvLSTM(1, 4, peephole=True)
    one.reset_parameters(seeded(3))
    two.reset_parameters(seeded(3))
    torch.testing.assert_close(one.state_dict(), two.state_dict(), atol=0, rtol=0)
    two.reset_parameters(seeded(4))
    assert not torch.equal(one.cells[0].gates.weight, two.cells[0].gates.weight)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvLSTMCell(0, 4), "in_channels is 0: must be a whole number of 1 or more"),
        (lambda: ConvLSTMCell(1, -2), "hidden_channels is -2: must be a whole number"),
        (lambda: ConvLSTMCell(1, 2.0), "hidden_channels is 2.0: must be a whole number"),
        (lambda: ConvLSTMCell(True, 2), "in_channels is True: must be a whole number"),
        (lambda: ConvLSTMCell(1, 4, 2), "kernel_size is 2: must be odd"),
        (lambda: ConvLSTMCell(1, 4, 0), "kernel_size is 0: must be a whole number"),
        (lambda: ConvLSTMCell(1, 4, bias=False, forget_bias=1), "forget_bias is 1: must be None"),
        (lambda: ConvLSTM(1, 4, num_layers=0), "num_layers is 0: must be a whole number"),
        (lambda: ConvLSTM(1, 4.5), "hidden_channels is 4.5: must be a whole number"),
        (lambda: ConvLSTM(1, [4], num_layers=2), "hidden_channels has 1 entries: must be num_lay"),
        (lambda: ConvLSTM(1, 4, [3, 3], 3), "kernel_size has 2 entries: must be num_layers=3"),
        (lambda: ConvLSTM(1, 4, [3, 4], 2), "kernel_size is 4: must be odd"),
        (lambda: ConvLSTM(1, 4, num_layers=2, dropout=1.0), "dropout is 1.0: must be at least 0"),
        (lambda: ConvLSTM(1, 4, num_layers=2, dropout=math.nan), "dropout is nan: must be"),
        (lambda: ConvLSTM(1, 4, dropout=0.5), "dropout is 0.5: needs num_layers of 2 or more"),
        (lambda: ConvLSTM(1, 4, residual=True), "residual is True: needs num_layers of 2"),
        (lambda: ConvLSTM(1, [4, 5], num_layers=2, residual=True), "must all be equal"),
    ],
)
def test_an_option_that_could_not_act_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def run_cell(*shape: int, state: tuple[tuple[int, ...], tuple[int, ...]] | None = None):
    state = state and tuple(torch.zeros(s) for s in state)
    return ConvLSTMCell(2, 3)(torch.zeros(shape), state)


def run_layer(*shape: int, states: object = None, **options: object):
    return ConvLSTM(2, 3, **options)(torch.zeros(shape), states)


STATE = (torch.zeros(1, 3, 5, 5),) * 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: run_cell(2, 5, 5), r"x has shape \(2, 5, 5\): must be \(B, in_channels=2, H, W\)"),
        (lambda: run_cell(1, 3, 5, 5), r"x has shape \(1, 3, 5, 5\): must be \(B, in_channels=2"),
        (lambda: run_cell(1, 1, 2, 5, 5), r"x has shape \(1, 1, 2, 5, 5\): must be \(B, in_ch"),
        (
            lambda: run_cell(1, 2, 5, 5, state=((2, 3, 5, 5), (1, 3, 5, 5))),
            r"h has shape \(2, 3, 5, 5\): must be \(1, 3, 5, 5\)",
        ),
        (
            lambda: run_cell(1, 2, 5, 5, state=((1, 3, 5, 5), (1, 3, 5, 6))),
            r"c has shape \(1, 3, 5, 6\): must be \(1, 3, 5, 5\)",
        ),
        (
            lambda: run_cell(1, 2, 5, 5, state=((1, 4, 5, 5), (1, 3, 5, 5))),
            r"h has shape \(1, 4, 5, 5\): must be \(1, 3, 5, 5\)",
        ),
        (
            lambda: run_layer(1, 2, 5, 5),
            r"x has shape \(1, 2, 5, 5\): must be \(B, T, in_channels=2, H, W\)",
        ),
        (
            lambda: run_layer(1, 4, 5, 5, batch_first=False),
            r"x has shape \(1, 4, 5, 5\): must be \(T, B, in_channels=2, H, W\)",
        ),
        (lambda: run_layer(1, 4, 3, 5, 5), r"x has shape \(1, 4, 3, 5, 5\): must be \(B, T, in_ch"),
        (lambda: run_layer(1, 0, 2, 5, 5), r"x has shape \(1, 0, 2, 5, 5\): must hold at least on"),
        (
            lambda: run_layer(0, 1, 2, 5, 5, batch_first=False),
            r"x has shape \(0, 1, 2, 5, 5\): must hold at least one frame",
        ),
        (lambda: run_layer(1, 4, 2, 5, 5, states=[]), "states has 0 entries: must be 1"),
        (
            lambda: run_layer(1, 4, 2, 5, 5, states=[STATE] * 3, num_layers=2),
            "states has 3 entries: must be 2",
        ),
        (
            lambda: run_layer(1, 4, 2, 5, 5, states=[STATE] * 2, bidirectional=True, num_layers=2),
            "states has 2 entries: must be 4",
        ),
        (
            lambda: run_layer(1, 4, 2, 5, 6, states=[STATE]),
            r"h has shape \(1, 3, 5, 5\): must be \(1, 3, 5, 6\)",
        ),
    ],
)
def test_a_wrong_shape_is_refused_with_the_shape_and_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call()
