"""Looks inside the cell, held against a plain loop that was written for these tests alone."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from convlstm.layer import ConvLSTM, ConvLSTMCell, Intervention, trace
from convlstm.layer.tracing import GATES, PARTS

WIDTH, SIDE = 3, 6


def layer_of(seed: int = 0, **options: object) -> ConvLSTM:
    layer = ConvLSTM(2, WIDTH, 3, **{"dtype": torch.float64} | options)
    layer.reset_parameters(torch.Generator().manual_seed(seed))
    return layer


def frames(batch: int = 2, length: int = 5, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, length, 2, SIDE, SIDE, generator=generator, dtype=torch.float64)


def plainly(cell: ConvLSTMCell, x: torch.Tensor, change=lambda part, values, time: values):
    """Read (B, T, C, H, W) as the equations say; returns every part at every frame."""
    conv = nn.functional.conv2d
    c = h = torch.zeros(len(x), cell.hidden_channels, *x.shape[-2:], dtype=x.dtype)
    peephole = cell.peephole if cell.peephole is not None else torch.zeros(3, 1, 1, 1)
    found = []
    for time, frame in enumerate(x.unbind(1)):
        both = torch.cat([frame, h], 1)
        i, f, g, o = conv(both, cell.gates.weight, cell.gates.bias, padding="same").chunk(4, 1)
        i = change("i", torch.sigmoid(i + peephole[0] * c), time)
        f = change("f", torch.sigmoid(f + peephole[1] * c), time)
        g = change("g", torch.tanh(g), time)
        c = change("c", f * c + i * g, time)
        o = change("o", torch.sigmoid(o + peephole[2] * c), time)
        h = change("h", o * torch.tanh(c), time)
        found.append(dict(zip(PARTS, (i, f, g, o, c, h), strict=True)))
    return found


@pytest.mark.parametrize("options", [{}, {"peephole": True}, {"bias": False}])
@torch.no_grad()
def test_every_part_is_what_the_equations_say(options):
    layer, x = layer_of(**options), frames()
    (output, _), [cell] = trace(layer, lambda: layer(x))
    plain = plainly(layer.cells[0], x)
    assert len(cell) == len(plain) == 5
    for time, parts in enumerate(plain):
        for part, values in parts.items():
            torch.testing.assert_close(cell.at(time)[part], values)
    torch.testing.assert_close(output, torch.stack([parts["h"] for parts in plain], 1))
    torch.testing.assert_close(cell.all("c"), torch.stack([parts["c"] for parts in plain]))


@pytest.mark.parametrize("options", [{}, {"peephole": True}, {"bias": False}])
@torch.no_grad()
def test_ten_pixels_are_made_of_what_the_weights_say(options):
    layer, x = layer_of(**options), frames()
    cell = layer.cells[0]
    _, [traced] = trace(layer, lambda: layer(x))
    plain, draw = plainly(cell, x), random.Random(3)
    weights = cell.gates.weight.numpy()
    for _ in range(10):
        time, channel, sequence = draw.randrange(5), draw.randrange(WIDTH), draw.randrange(2)
        row, column = draw.randrange(SIDE), draw.randrange(SIDE)
        terms = traced.terms(time, channel, row, column, sequence=sequence)
        h = plain[time - 1]["h"][sequence].numpy() if time else np.zeros((WIDTH, SIDE, SIDE))
        for n, gate in enumerate(GATES):
            kernel, sums = weights[n * WIDTH + channel], {"frame": 0.0, "h": 0.0}
            for source, values, first in (("frame", x[sequence, time].numpy(), 0), ("h", h, 2)):
                for k in range(len(values)):
                    for down in (-1, 0, 1):
                        for right in (-1, 0, 1):
                            at = row + down, column + right
                            if min(at) >= 0 and max(at) < SIDE:
                                weight = kernel[first + k, down + 1, right + 1]
                                sums[source] += weight * values[k][at]
            assert terms[gate]["frame"] == pytest.approx(sums["frame"])
            assert terms[gate]["h"] == pytest.approx(sums["h"], abs=1e-12)
            total = math.fsum(terms[gate][name] for name in ("frame", "h", "bias", "peephole"))
            value = math.tanh(total) if gate == "g" else 1 / (1 + math.exp(-total))
            assert terms[gate]["value"] == pytest.approx(value)
            of_layer = plain[time][gate][sequence, channel, row, column].item()
            assert terms[gate]["value"] == pytest.approx(of_layer)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("channel", [None, 1])
@pytest.mark.parametrize("peephole", [False, True])
@torch.no_grad()
def test_a_part_switched_off_for_a_while_is_off_in_the_equations(part, channel, peephole):
    layer, x = layer_of(peephole=peephole), frames()

    def off(name, values, time):
        if name == part and 1 <= time < 4:
            values = values.clone()
            values[:, slice(None) if channel is None else channel] = 0
        return values

    change = Intervention(part, channel=channel, start=1, stop=4)
    (output, _), [cell] = trace(layer, lambda: layer(x), [change])
    plain = plainly(layer.cells[0], x, off)
    torch.testing.assert_close(output, torch.stack([parts["h"] for parts in plain], 1))
    for time, parts in enumerate(plain):
        torch.testing.assert_close(cell.at(time), parts)


@torch.no_grad()
def test_a_part_held_stays_as_it_was_and_others_go_on():
    layer, x = layer_of(), frames()
    held = {}

    def hold(name, values, time):
        if name == "f" and time >= 2:
            return held.setdefault("f", values)
        return values

    (output, _), [cell] = trace(layer, lambda: layer(x), [Intervention("f", how="hold", start=2)])
    plain = plainly(layer.cells[0], x, hold)
    torch.testing.assert_close(output[:, -1], plain[-1]["h"])
    assert torch.equal(cell.at(2)["f"], cell.at(4)["f"])
    assert not torch.equal(cell.at(2)["i"], cell.at(4)["i"])


@torch.no_grad()
def test_swapped_channels_change_places():
    layer, x = layer_of(), frames()

    def swap(name, values, time):
        return values[:, [2, 1, 0]] if name == "c" else values

    change = Intervention("c", channel=0, how="swap", other=2)
    (output, _), _ = trace(layer, lambda: layer(x), [change])
    plain = plainly(layer.cells[0], x, swap)
    torch.testing.assert_close(output[:, -1], plain[-1]["h"])


@torch.no_grad()
def test_a_state_set_whole_is_a_sequence_that_goes_on_from_another():
    layer, x, other = layer_of(num_layers=2), frames(), frames(seed=7)
    _, cells = trace(layer, lambda: layer(other[:, :3]))
    changes = [
        Intervention(part, cell=n, value=cell.states[3]["hc".index(part)], start=2, stop=3)
        for n, cell in enumerate(cells)
        for part in ("c", "h")
    ]
    (output, _), _ = trace(layer, lambda: layer(x), changes)
    expected, _ = layer(x[:, 3:], [cell.states[3] for cell in cells])
    torch.testing.assert_close(output[:, 3:], expected)


@torch.no_grad()
def test_each_cell_of_a_stack_has_a_trace_of_its_own_in_order():
    layer, x = layer_of(num_layers=2, bidirectional=True), frames()
    (output, states), cells = trace(layer, lambda: layer(x))
    assert [cell.name for cell in cells] == [f"cells.{n}" for n in range(4)]
    for state, cell in zip(states, cells, strict=True):
        torch.testing.assert_close(cell.at(-1)["h"], state[0])
    plain_output, _ = layer(x)
    torch.testing.assert_close(output, plain_output)


@torch.no_grad()
def test_a_module_is_as_it_was_afterwards_and_a_trace_is_of_its_time():
    layer, x = layer_of(), frames()
    before, _ = layer(x)
    _, [cell] = trace(layer, lambda: layer(x), [Intervention("i")])
    with pytest.raises(ZeroDivisionError):
        trace(layer, lambda: 1 // 0)
    after, _ = layer(x)
    assert torch.equal(before, after)
    forgets = cell.at(0)["f"].clone()
    layer.cells[0].gates.weight.zero_()
    assert torch.equal(cell.at(0)["f"], forgets)


def test_no_gradient_is_kept():
    layer, x = layer_of(), frames()
    (output, _), [cell] = trace(layer, lambda: layer(x))
    assert not output.requires_grad
    assert not any(values.requires_grad for values in cell.at(0).values())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"part": "z"}, "part is 'z': must be one of i, f, g, o, c, h."),
        ({"part": "f", "how": "break"}, "how is 'break'"),
        ({"part": "f", "how": "swap", "channel": 1}, "needs channel and other"),
        ({"part": "f", "start": -1}, "start is -1"),
        ({"part": "f", "start": 5, "stop": 5}, "stop is 5: must be more than start, 5."),
        ({"part": "f", "cell": 1}, "cell is 1: must be from 0 to 0."),
        ({"part": "f", "channel": 3}, "channel is 3: must be from 0 to 2."),
        ({"part": "f", "how": "swap", "channel": 0, "other": 9}, "other is 9"),
    ],
)
def test_what_does_not_fit_is_refused(values, says):
    layer, x = layer_of(), frames()
    with pytest.raises(ValueError, match=says.replace("(", "\\(")):
        trace(layer, lambda: layer(x), [Intervention(**values)])


def test_pixels_and_frames_that_are_not_there_are_refused():
    layer, x = layer_of(), frames()
    _, [cell] = trace(layer, lambda: layer(x))
    for wrong in ((5, 0, 0, 0), (0, 3, 0, 0), (0, 0, 6, 0), (0, 0, 0, 6)):
        with pytest.raises(IndexError):
            cell.terms(*wrong)
