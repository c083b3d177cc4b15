"""Padding, dilation, stride and kernels of any shape, in every layer of one to three dimensions."""

import copy
import io
import itertools

import pytest
import torch
from torch import nn

from convlstm.layer import (
    ConvGRU,
    ConvGRU1d,
    ConvGRU1dCell,
    ConvGRU3d,
    ConvGRUCell,
    ConvLSTM,
    ConvLSTM1d,
    ConvLSTM3d,
    ConvLSTM3dCell,
    ConvLSTMCell,
    scan_cpu,
    trace,
)
from convlstm.layer.tracing import GATES, Intervention
from tests.layer import plain
from tests.layer.test_like_torch import WAYS, gradients

KINDS = {
    "lstm 1d": (ConvLSTM1d, 1),
    "lstm": (ConvLSTM, 2),
    "lstm 3d": (ConvLSTM3d, 3),
    "gru 1d": (ConvGRU1d, 1),
    "gru": (ConvGRU, 2),
    "gru 3d": (ConvGRU3d, 3),
}
SIDES = (7, 6, 5)
# A tuple has as many entries as there are axes.
OPTIONS = {
    "plain": {},
    "circular": {"padding_mode": "circular"},
    "reflect": {"padding_mode": "reflect"},
    "replicate": {"padding_mode": "replicate"},
    "dilation": {"dilation": 2},
    "stride": {"stride": 2},
    "stride of 3": {"stride": 3},
    "kernel with sides": {"kernel_size": (5, 1, 3)},
    "all by axis": {
        "kernel_size": (3, 5, 3),
        "stride": (2, 1, 3),
        "dilation": (2, 1, 1),
        "padding_mode": "circular",
    },
}
EVERY = list(itertools.product(KINDS, OPTIONS))
CHANGED = [(kind, name) for kind, name in EVERY if name != "plain"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(kind: str, option: str, **more: object) -> nn.Module:
    layer_type, ndim = KINDS[kind]
    values = OPTIONS[option] | more
    values = {n: v[:ndim] if isinstance(v, tuple) else v for n, v in values.items()}
    layer = layer_type(2, 3, **{"dtype": torch.float64} | values)
    layer.reset_parameters(seeded(0))
    return layer


def frames(kind: str, B: int = 2, T: int = 4, seed: int = 1) -> torch.Tensor:
    sides = SIDES[: KINDS[kind][1]]
    return torch.randn(B, T, 2, *sides, generator=seeded(seed), dtype=torch.float64)


def flat(states: list) -> list[torch.Tensor]:
    return [part for s in states for part in ([s] if isinstance(s, torch.Tensor) else s)]


@pytest.mark.parametrize("has_states", [False, True])
@pytest.mark.parametrize(("kind", "option"), EVERY)
def test_outputs_states_and_gradients_are_a_plain_loop_s(kind, option, has_states):
    layer, x, results = make(kind, option), frames(kind).requires_grad_(), []
    with torch.no_grad():
        states = layer(frames(kind, seed=2))[1] if has_states else None

    def plainly(x, states):
        output, last = plain.read(layer.cells[0], x, states and states[0])
        return output, [last]

    for run in (layer, plainly):
        output, last = run(x, states)
        sign = torch.randn(output.shape, generator=seeded(3), dtype=x.dtype)
        loss = (output * sign).sum() + flat(last)[-1].sum()
        found = torch.autograd.grad(loss, [x, *layer.parameters()])
        results.append([output, *flat(last), *found])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(("kind", "option"), CHANGED)
def test_every_option_changes_the_output(kind, option):
    plain_layer, other, x = make(kind, "plain"), make(kind, option), frames(kind)
    if plain_layer.cells[0].gates.weight.shape == other.cells[0].gates.weight.shape:
        other.load_state_dict(plain_layer.state_dict())
    before, after = plain_layer(x)[0], other(x)[0]
    assert before.shape != after.shape or not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize(("kind", "option"), EVERY)
def test_the_state_is_as_large_as_the_frame_over_the_stride_rounded_up(kind, option):
    layer, x = make(kind, option), frames(kind)
    stride = layer.cells[0].geometry.stride
    sides = tuple(-(-side // step) for side, step in zip(x.shape[3:], stride, strict=True))
    output, states = layer(x)
    assert output.shape == (2, 4, 3, *sides)
    assert {tuple(part.shape) for part in flat(states)} == {(2, 3, *sides)}


@pytest.mark.parametrize(("kind", "option"), EVERY)
def test_a_layer_with_the_option_learns(kind, option):
    layer, x = make(kind, option), frames(kind)
    target = torch.rand(layer(x)[0].shape, generator=seeded(5), dtype=x.dtype) - 0.5
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        losses.append((layer(x)[0] - target).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.98 * losses[0]
    assert all(parameter.grad.any() for parameter in layer.parameters())


@pytest.mark.parametrize(("kind", "option"), EVERY)
def test_saved_weights_make_another_layer_the_same(kind, option):
    layer, other, x, file = make(kind, option), make(kind, option), frames(kind), io.BytesIO()
    other.reset_parameters(seeded(9))
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file))
    assert torch.equal(other(x)[0], layer(x)[0])
    assert str(copy.deepcopy(layer)) == str(layer) == str(other)


def test_weights_saved_before_there_were_options_have_the_same_names_and_shapes():
    found = {
        n: tuple(v.shape) for n, v in ConvLSTM(2, 3, [3, 5], 2, peephole=True).state_dict().items()
    }
    assert found == {
        "cells.0.peephole": (3, 3, 1, 1),
        "cells.0.gates.weight": (12, 5, 3, 3),
        "cells.0.gates.bias": (12,),
        "cells.1.peephole": (3, 3, 1, 1),
        "cells.1.gates.weight": (12, 6, 5, 5),
        "cells.1.gates.bias": (12,),
    }


@pytest.mark.parametrize(("kind", "option"), EVERY)
def test_a_whole_sequence_equals_frame_by_frame_with_carried_states(kind, option):
    layer, x = make(kind, option), frames(kind)
    expected, last = layer(x)
    read, states, outputs = layer.unroll(), None, []
    for frame in x.split(1, 1):
        output, states = read(frame, states)
        outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, 1), expected)
    torch.testing.assert_close(flat(states), flat(last))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_what_leaves_a_circular_world_comes_back_at_its_other_side(kind, stride):
    layer, x = make(kind, "circular", stride=[stride, 1], num_layers=2), frames(kind)
    x = torch.cat([x, x], 3)  # so that the stride divides its first side
    rolled = layer(x.roll(2 * stride, 3))[0]
    torch.testing.assert_close(rolled, layer(x)[0].roll(2, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_dilated_kernel_is_a_larger_one_with_zeros_between(kind):
    layer, x = make(kind, "dilation"), frames(kind)
    larger = make(kind, "plain", kernel_size=5)
    state = layer.state_dict()
    ndim = KINDS[kind][1]
    spread = torch.zeros_like(larger.cells[0].gates.weight)
    spread[(..., *[slice(None, None, 2)] * ndim)] = state["cells.0.gates.weight"]
    larger.load_state_dict(state | {"cells.0.gates.weight": spread})
    torch.testing.assert_close(layer(x)[0], larger(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_strided_first_frame_is_every_other_pixel_of_an_unstrided_one(kind):
    strided, unstrided, x = make(kind, "stride"), make(kind, "plain"), frames(kind, T=1)
    unstrided.load_state_dict(strided.state_dict())
    every_other = (..., *[slice(None, None, 2)] * KINDS[kind][1])
    torch.testing.assert_close(strided(x)[0], unstrided(x)[0][every_other])


@pytest.mark.parametrize("kind", KINDS)
def test_layers_may_differ_in_kernel_stride_and_dilation(kind):
    layer_type, ndim = KINDS[kind]
    sides = (3, 1, 5)[:ndim]
    layer = layer_type(2, 3, [sides, 3], 2, stride=[2, 1], dilation=[1, (2,) * ndim], residual=True)
    assert [cell.gates.kernel_size for cell in layer.cells] == [sides, (3,) * ndim]
    assert [cell.geometry.stride for cell in layer.cells] == [(2,) * ndim, (1,) * ndim]
    assert [cell.geometry.dilation for cell in layer.cells] == [(1,) * ndim, (2,) * ndim]
    assert layer(frames(kind).float())[0].shape[3:] == tuple(-(-s // 2) for s in SIDES[:ndim])


def test_two_numbers_are_two_layers_and_one_layer_s_tuple_its_two_axes():
    for given in ([3, 5], (3, 5)):
        layer = ConvLSTM(1, 2, given, 2)
        assert [cell.gates.kernel_size for cell in layer.cells] == [(3, 3), (5, 5)]
    for given in ((3, 5), [(3, 5)]):
        assert ConvLSTM(1, 2, given).cells[0].gates.kernel_size == (3, 5)


@pytest.mark.parametrize(
    "options",
    [
        {"bias": False},
        {"bidirectional": True},
        {"residual": True},
        {"recompute": True},
        {"batch_first": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["lstm 1d", "gru"])
def test_other_options_go_together_with_them(kind, options):
    layer = make(kind, "replicate", num_layers=2, dilation=2, stride=[2, 1], **options)
    x, output = frames(kind), None
    below = x
    directions = 2 if layer.bidirectional else 1
    for n in range(2):
        cells = layer.cells[n * directions : (n + 1) * directions]
        parts = [plain.read(cells[0], below)[0]]
        if layer.bidirectional:
            parts.append(plain.read(cells[1], below.flip(1))[0].flip(1))
        output = torch.cat(parts, 2)
        below = output + below if layer.residual and n else output
    found = layer(x if layer.batch_first else x.transpose(0, 1))[0]
    torch.testing.assert_close(found if layer.batch_first else found.transpose(0, 1), below)


def test_peepholes_go_together_with_them():
    for kind in ("lstm 1d", "lstm", "lstm 3d"):
        layer, x = make(kind, "reflect", peephole=True, stride=2), frames(kind)
        torch.testing.assert_close(layer(x)[0], plain.read(layer.cells[0], x)[0])


# What the rest of torch does with them.

SOME = {
    "lstm with options": lambda: ConvLSTM(
        2, 4, [(3, 1), 3], 2, stride=[2, 1], dilation=2, padding_mode="circular", peephole=True
    ),
    "lstm 3d": lambda: ConvLSTM3d(2, 4, num_layers=2),
    "gru": lambda: ConvGRU(2, 4, num_layers=2, residual=True, padding_mode="replicate"),
}


@pytest.mark.parametrize("way", [
    "compiled without a graph break", "checkpoint", "hooks", "vmap", "jit.trace", "functional_call",
    "tensors saved elsewhere",
])  # fmt: skip
@pytest.mark.parametrize("name", SOME)
def test_every_way_gives_the_same_outputs_and_gradients(name, way):
    layer = SOME[name]()
    x = torch.rand(2, 3, 2, *(6, 7, 5)[: layer.ndim], generator=seeded(1))
    expected = layer(x)[0]
    expected_gradients = gradients(expected, layer)
    found = WAYS[way](layer, x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, layer), expected_gradients)


@pytest.mark.parametrize("name", ["lstm with options", "gru"])
def test_an_exported_layer_runs_at_other_sizes(name):
    layer, sizes = SOME[name](), {0: torch.export.Dim("B", max=8), 3: torch.export.Dim.AUTO}
    x = torch.rand(2, 3, 2, 8, 7, generator=seeded(1))
    program = torch.export.export(layer, (x,), dynamic_shapes={"x": sizes})
    other = torch.rand(5, 3, 2, 12, 7, generator=seeded(2))
    torch.testing.assert_close(program.module()(other), layer(other))


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("has_hooks", [False, True])
def test_autocast_computes_in_its_type_whatever_the_state_s(name, has_hooks):
    layer = SOME[name]()
    x = torch.rand(2, 3, 2, *(6, 7, 5)[: layer.ndim], generator=seeded(1))
    expected, states = layer(x)
    if has_hooks:
        layer.cells[0].register_forward_hook(lambda *_: None)
    with torch.autocast("cpu", torch.bfloat16):
        output, after = layer(x, states, lengths=[2, 3])
        first = layer(x)[0]
    assert {part.dtype for part in [output, *flat(after)]} == {torch.bfloat16}
    torch.testing.assert_close(first.float(), expected, atol=0.03, rtol=0.03)


def test_only_what_the_fast_scan_covers_takes_it(monkeypatch):
    taken, fast = [], scan_cpu.Scan.apply
    monkeypatch.setattr(scan_cpu.Scan, "apply", lambda *given: taken.append(1) or fast(*given))
    for option in OPTIONS:
        make("lstm", option, dtype=torch.float32)(frames("lstm").float())
        assert bool(taken) == (option == "plain"), option
        taken.clear()
    ConvLSTM(2, 3, [(3, 3)])(frames("lstm").float())
    assert taken.pop()
    ConvLSTM(2, 3)(frames("lstm").float(), lengths=[4, 4])
    for kind in ("lstm 1d", "lstm 3d", "gru"):
        make(kind, "plain", dtype=torch.float32)(frames(kind).float())
    assert not taken


# Looking inside.


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", ["lstm 1d", "lstm", "lstm 3d"])
@torch.no_grad()
def test_a_trace_sees_and_changes_what_the_layer_computes(kind, option):
    layer, x = make(kind, option, peephole=True), frames(kind)
    (output, _), [cell] = trace(layer, lambda: layer(x))
    torch.testing.assert_close(cell.all("h").transpose(0, 1), output)
    torch.testing.assert_close(output, plain.read(layer.cells[0], x)[0])
    (without, _), _ = trace(layer, lambda: layer(x), [Intervention("f")])
    assert not torch.allclose(without, output)


@pytest.mark.parametrize("option", OPTIONS)
@torch.no_grad()
def test_a_pixel_s_terms_add_up_whatever_lies_beyond_the_edges(option):
    layer, x = make("lstm", option, peephole=True), frames("lstm")
    _, [cell] = trace(layer, lambda: layer(x))
    parts = cell.at(2)
    H, W = parts["c"].shape[2:]
    for row, column in itertools.product({0, H // 2, H - 1}, {0, W - 1}):
        terms = cell.terms(2, 1, row, column, sequence=1)
        for gate in GATES:
            total = sum(terms[gate][part] for part in ("frame", "h", "bias", "peephole"))
            total = torch.tensor(total, dtype=torch.float64)
            value = total.tanh() if gate == "g" else total.sigmoid()
            torch.testing.assert_close(value, parts[gate][1, 1, row, column])
    with pytest.raises(IndexError):
        cell.terms(2, 1, H, 0)


def test_terms_of_other_axes_and_traces_of_a_gru_are_refused():
    layer = ConvLSTM1d(2, 3)
    _, [cell] = trace(layer, lambda: layer(torch.rand(1, 2, 2, 7)))
    with pytest.raises(ValueError, match=r"cells.0 reads no pixels: terms are those of a 2-D cell"):
        cell.terms(0, 0, 0, 0)
    with pytest.raises(ValueError, match=r"cells.0 is a ConvGRUCell: trace knows a ConvLSTM's"):
        trace(ConvGRU(2, 3), lambda: None)


# What is refused.


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape)


OF_EACH = "must be a whole number of 1 or more for each of"
REACH = (
    "W of {} is {} px: must be at least {} for padding_mode {!r} with kernel_size {} and"
    " dilation {}."
)
WRONG = [
    (
        lambda: ConvLSTM(1, 4, padding_mode="same"),
        "padding_mode is 'same': must be one of zeros, circular, reflect, replicate.",
    ),
    (lambda: ConvGRU(1, 4, padding_mode=1), "padding_mode is 1: must be one of zeros, "),
    (lambda: ConvLSTM(1, 4, (3, 4)), "kernel_size is (3, 4): must be odd, to have a middle."),
    (lambda: ConvLSTM1d(1, 4, 2), "kernel_size is 2: must be odd, to have a middle."),
    (lambda: ConvLSTM(1, 4, (3, 0)), f"kernel_size is (3, 0): {OF_EACH} H, W."),
    (lambda: ConvLSTM(1, 4, (3, 3, 3)), f"kernel_size is (3, 3, 3): {OF_EACH} H, W."),
    (lambda: ConvLSTM3d(1, 4, (3, 5)), f"kernel_size is (3, 5): {OF_EACH} D, H, W."),
    (lambda: ConvLSTM(1, 4, (3, 5), 3), "kernel_size has 2 entries: must be num_layers=3."),
    (lambda: ConvLSTM(1, 4, [3, 5]), "kernel_size has 2 entries: must be num_layers=1."),
    (lambda: ConvLSTM(1, (4, 5)), "hidden_channels has 2 entries: must be num_layers=1."),
    (lambda: ConvLSTM(1, 4, stride=0), "stride is 0: must be a whole number of 1 or more."),
    (lambda: ConvLSTM(1, 4, stride=1.5), "stride is 1.5: must be a whole number of 1 or more."),
    (lambda: ConvLSTM(1, 4, stride=(2, True)), f"stride is (2, True): {OF_EACH} H, W."),
    (lambda: ConvLSTM(1, 4, 3, 3, stride=[2, 1]), "stride has 2 entries: must be num_layers=3."),
    (lambda: ConvLSTM(1, 4, dilation=0), "dilation is 0: must be a whole number of 1 or more."),
    (lambda: ConvGRU(1, 4, 3, 2, dilation=[(1, 2), 0]), "dilation is 0: must be a whole number"),
    (
        lambda: ConvLSTM(1, 4, num_layers=2, residual=True, stride=2),
        "residual is True: stride 2 must be 1 in every layer after the first, as in [2, 1].",
    ),
    (lambda: ConvGRU(1, 4, residual=True), "residual is True: needs num_layers of 2 or more."),
    (lambda: ConvGRUCell(1, 0), "hidden_channels is 0: must be a whole number of 1 or more."),
    (
        lambda: ConvGRUCell(2, 4)(zeros(1, 2, 5)),
        "x has shape (1, 2, 5): must be (B, in_channels=2, H, W).",
    ),
    (
        lambda: ConvLSTM3dCell(2, 4)(zeros(1, 2, 5, 5)),
        "x has shape (1, 2, 5, 5): must be (B, in_channels=2, D, H, W).",
    ),
    (
        lambda: ConvGRU1dCell(2, 4)(zeros(1, 3, 5)),
        "x has shape (1, 3, 5): must be (B, in_channels=2, L).",
    ),
    (
        lambda: ConvLSTM1d(2, 4)(zeros(1, 3, 2, 5, 5)),
        "x has shape (1, 3, 2, 5, 5): must be (B, T, in_channels=2, L).",
    ),
    (
        lambda: ConvLSTM3d(2, 4, batch_first=False)(zeros(1, 3, 2, 5, 5)),
        "x has shape (1, 3, 2, 5, 5): must be (T, B, in_channels=2, D, H, W).",
    ),
    (
        lambda: ConvLSTM(2, 4, 5, padding_mode="reflect")(zeros(1, 1, 2, 9, 2)),
        REACH.format("x", 2, 3, "reflect", 5, 1),
    ),
    (
        lambda: ConvLSTM(2, 4, dilation=3, padding_mode="circular")(zeros(1, 1, 2, 9, 2)),
        REACH.format("x", 2, 3, "circular", 3, 3),
    ),
    (
        lambda: ConvGRU(2, 4, stride=4, padding_mode="reflect")(zeros(1, 1, 2, 9, 4)),
        REACH.format("the state", 1, 2, "reflect", 3, 1),
    ),
    (
        lambda: ConvLSTMCell(2, 4, stride=2)(zeros(1, 2, 5, 5), (zeros(1, 4, 5, 5),) * 2),
        "h has shape (1, 4, 5, 5): must be (1, 4, 3, 3).",
    ),
    (
        lambda: ConvGRUCell(2, 4)(zeros(1, 2, 5, 5), (zeros(1, 4, 5, 5),) * 2),
        "state has 2 tensors: must be h.",
    ),
    (
        lambda: ConvLSTMCell(2, 4)(zeros(1, 2, 5, 5), zeros(1, 4, 5, 5)),
        "state has 1 tensors: must be h, c.",
    ),
    (
        lambda: ConvGRU(2, 4)(zeros(1, 1, 2, 5, 5), [zeros(1, 4, 5, 5).double()]),
        "x has type torch.float32 and h torch.float64: must be one type",
    ),
    (
        lambda: ConvGRU(2, 4).double()(zeros(1, 1, 2, 5, 5)),
        "x has type torch.float32 and gates torch.float64: must be one type",
    ),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_does_not_fit_is_refused_in_one_line(number):
    call, message = WRONG[number]
    with pytest.raises(ValueError) as refused:
        call()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_printed_names_the_options():
    layer = ConvLSTM(1, 4, (3, 5), stride=2, dilation=(1, 2), padding_mode="circular")
    expected = "1, 4, kernel_size=(3, 5), stride=2, dilation=(1, 2), padding_mode=circular"
    assert layer.extra_repr() == layer.cells[0].extra_repr() == expected
    assert (
        ConvGRU1d(1, [4, 5], num_layers=2).extra_repr() == "1, [4, 5], kernel_size=3, num_layers=2"
    )
    assert ConvGRUCell(1, 4, bias=False).extra_repr() == "1, 4, kernel_size=3, bias=False"
