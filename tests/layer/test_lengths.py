"""Sequences of different length in one batch: each is read as if it were alone."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from convlstm.layer import ConvGRU, ConvGRU1d, ConvLSTM, ConvLSTM3d, trace
from tests.layer.test_convlstm import copy_lstm_weights
from tests.layer.test_gru import copy_gru_weights
from tests.layer.test_like_torch import gradients
from tests.layer.test_options import flat, seeded

LENGTHS = [3, 5, 1, 5, 2]
B, T = len(LENGTHS), max(LENGTHS)
LAYERS = {
    "lstm": lambda **more: ConvLSTM(2, 3, **more),
    "two layers": lambda **more: ConvLSTM(2, 3, num_layers=2, residual=True, **more),
    "peephole": lambda **more: ConvLSTM(2, 3, peephole=True, **more),
    "bidirectional": lambda **more: ConvLSTM(2, 3, num_layers=2, bidirectional=True, **more),
    "strided": lambda **more: ConvLSTM(2, 3, stride=2, padding_mode="circular", **more),
    "3d": lambda **more: ConvLSTM3d(2, 3, **more),
    "gru": lambda **more: ConvGRU(2, 3, num_layers=2, **more),
    "gru 1d bidirectional": lambda **more: ConvGRU1d(2, 3, bidirectional=True, **more),
}


def frames(layer: nn.Module, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    shape = B, T, 2, *(6, 5, 4)[: layer.ndim]
    return torch.randn(shape, generator=seeded(1), dtype=dtype)


def states_of(layer: nn.Module, x: torch.Tensor) -> list:
    """Some that differ from zero and from one another."""
    with torch.no_grad():
        return layer(torch.randn(x.shape, generator=seeded(2), dtype=x.dtype))[1]


def one(states: list, n: int) -> list:
    return [
        s[n : n + 1] if isinstance(s, torch.Tensor) else tuple(p[n : n + 1] for p in s)
        for s in states
    ]


@pytest.mark.parametrize("has_states", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_each_sequence_is_read_as_if_it_were_alone(name, has_states):
    layer = LAYERS[name](dtype=torch.float64)
    x = frames(layer)
    states = states_of(layer, x) if has_states else None
    output, last = layer(x, states, lengths=torch.tensor(LENGTHS))
    parameters = list(layer.parameters())
    together = torch.autograd.grad(output.square().sum(), parameters)
    alone = 0
    for n, length in enumerate(LENGTHS):
        expected, ends = layer(x[n : n + 1, :length], states and one(states, n))
        torch.testing.assert_close(output[n : n + 1, :length], expected)
        assert not output[n, length:].any()
        torch.testing.assert_close(flat(one(last, n)), flat(ends))
        alone = alone + expected.square().sum()
    torch.testing.assert_close(together, torch.autograd.grad(alone, parameters))


def pixels(x: torch.Tensor) -> torch.Tensor:
    return x[..., None, None]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_on_one_pixel_it_is_torch_s_packed_sequence(kind, batch_first, bidirectional):
    options = {"num_layers": 2, "batch_first": batch_first, "bidirectional": bidirectional}
    theirs = (nn.LSTM if kind == "lstm" else nn.GRU)(3, 5, **options)
    ours = (ConvLSTM if kind == "lstm" else ConvGRU)(3, 5, 1, **options)
    directions = ["", "_reverse"] if bidirectional else [""]
    suffixes = [f"_l{n}{d}" for n in range(2) for d in directions]
    copy = copy_lstm_weights if kind == "lstm" else copy_gru_weights
    for cell, suffix in zip(ours.cells, suffixes, strict=True):
        copy(theirs, cell, suffix)
    x = torch.rand(*((B, T) if batch_first else (T, B)), 3, generator=seeded(1))
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first, enforce_sorted=False)

    expected, ends = theirs(packed)
    expected, _ = pad_packed_sequence(expected, batch_first)
    output, last = ours(pixels(x), lengths=LENGTHS)

    torch.testing.assert_close(output[..., 0, 0], expected)
    parts = zip(*last, strict=True) if kind == "lstm" else [last]
    for found, end in zip(parts, ends if kind == "lstm" else [ends], strict=True):
        torch.testing.assert_close(torch.stack(list(found))[..., 0, 0], end)


@pytest.mark.parametrize("name", LAYERS)
def test_what_stands_behind_a_length_is_never_read(name):
    layer = LAYERS[name]()
    x = frames(layer, torch.float32)
    dirty = x.clone()
    for n, length in enumerate(LENGTHS):
        x[n, length:], dirty[n, length:] = 0, torch.nan
    results = []
    for given in (x, dirty):
        given.requires_grad_()
        output, last = layer(given, lengths=LENGTHS)
        output.sum().backward()
        results.append([output, *flat(last), given.grad, *(p.grad for p in layer.parameters())])
        layer.zero_grad()
    for clean, found in zip(*results, strict=True):
        assert torch.equal(clean, found)
    assert not dirty.grad[2, 1:].any()
    assert dirty.grad[2, :1].any()


@pytest.mark.parametrize("name", LAYERS)
def test_full_lengths_change_nothing(name):
    layer = LAYERS[name]()
    x = frames(layer, torch.float32)
    torch.testing.assert_close(layer(x, lengths=[T] * B), layer(x))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_whole_numbers_of_any_type_will_do(dtype):
    layer = LAYERS["lstm"]()
    x = frames(layer, torch.float32)
    expected = layer(x, lengths=LENGTHS)
    torch.testing.assert_close(layer(x, lengths=torch.tensor(LENGTHS, dtype=dtype)), expected)


@pytest.mark.parametrize("way", ["hooks", "recompute", "unroll", "compile", "vmap"])
@pytest.mark.parametrize("name", ["bidirectional", "gru"])
def test_every_way_gives_the_same(name, way):
    layer, lengths = LAYERS[name](), torch.tensor(LENGTHS)
    x = frames(layer, torch.float32)
    expected, states = layer(x, lengths=lengths)
    expected_gradients = gradients(expected, layer)
    if way == "vmap":
        found = torch.vmap(lambda x, n: layer(x[None], lengths=n[None])[0][0])(x, lengths)
    elif way == "compile":
        torch.compiler.reset()
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        found = compiled(x, lengths=lengths)[0]
    elif way == "unroll":
        found, last = layer.unroll()(x, None, lengths)
        torch.testing.assert_close(flat(last), flat(states))
    else:
        if way == "hooks":
            layer.cells[0].register_forward_hook(lambda *_: None)
        layer.recompute = way == "recompute"
        found, last = layer(x, lengths=lengths)
        torch.testing.assert_close(flat(last), flat(states))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, layer), expected_gradients)


@torch.no_grad()
def test_a_trace_shows_what_a_sequence_does_up_to_its_length():
    layer = LAYERS["bidirectional"]()
    x = frames(layer, torch.float32)
    (output, _), [forwards, backwards, *_] = trace(layer, lambda: layer(x, lengths=LENGTHS))
    torch.testing.assert_close(output, layer(x, lengths=LENGTHS)[0])
    for n, length in enumerate(LENGTHS):
        _, [first, second, *_] = trace(layer, lambda n=n, m=length: layer(x[n : n + 1, :m]))
        for part in "ifgoch":
            torch.testing.assert_close(forwards.all(part)[:length, n], first.all(part)[:, 0])
            torch.testing.assert_close(backwards.all(part)[-length:, n], second.all(part)[:, 0])


def given(lengths: object) -> object:
    return ConvLSTM(2, 3)(torch.zeros(B, T, 2, 6, 5), lengths=lengths)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3, 5, 0, 5, 2], "lengths has 0: must be from 1 to T=5."),
        ([3, 6, 1, 5, 2], "lengths has 6: must be from 1 to T=5."),
        ([3, -1, 1, 5, 2], "lengths has -1: must be from 1 to T=5."),
        ([3, 5], r"lengths has shape \(2,\): must be \(B=5,\)."),
        (torch.ones(5, 1, dtype=torch.long), r"lengths has shape \(5, 1\): must be \(B=5,\)."),
        (5, r"lengths has shape \(\): must be \(B=5,\)."),
        (torch.ones(5), "lengths has type torch.float32: must be whole numbers."),
        ([True] * 5, "lengths has type torch.bool: must be whole numbers."),
    ],
    ids=str,
)
def test_lengths_that_do_not_fit_are_refused(lengths, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        given(lengths)
