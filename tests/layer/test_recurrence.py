"""The fast scan against the reference: the same outputs and gradients, whatever the sizes."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F

from convlstm.layer import kernels_cpu, layout, scan_cpu
from convlstm.layer.recurrence import Weights, reference_scan
from convlstm.layer.scan_cpu import Scanner

# T, B, in, C, H, kernel, first state, bias, peephole. W is H + 1.
CASES = [
    (4, 3, 2, 5, 9, 3, True, True, True),
    (1, 1, 1, 1, 4, 1, False, False, False),
    (1, 2, 1, 3, 4, 3, False, True, True),
    (9, 8, 1, 16, 32, 3, False, True, False),
    (3, 1, 4, 8, 7, 5, True, True, False),
    (2, 2, 16, 16, 8, 7, False, False, True),
    (3, 2, 1, 1, 1, 1, True, True, True),
    (5, 7, 3, 4, 1, 3, True, True, True),
    (2, 4, 32, 32, 16, 5, True, True, False),
]
# Of the reference in float32, relative, by norm. In bfloat16 the reference itself is 0.01 away.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.03}
NAMES = ("outputs", "h", "c", "d_x", "d_h", "d_c", "d_gates", "d_bias", "d_peephole")


def scan(x, state, weights):
    return Scanner(weights)(x, state)


def draw(case: tuple) -> tuple:
    """The tensors of a case: x, h, c, gates, bias, peephole; None where it has none."""
    T, B, in_channels, C, H, kernel, has_state, has_bias, has_peephole = case
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) - 0.5

    return (
        uniform(T, B, in_channels, H, H + 1),
        uniform(B, C, H, H + 1) if has_state else None,
        uniform(B, C, H, H + 1) if has_state else None,
        uniform(4 * C, in_channels + C, kernel, kernel),
        uniform(4 * C) if has_bias else None,
        uniform(3, C, 1, 1) if has_peephole else None,
    )


def read(function, tensors: tuple, dtype: torch.dtype = torch.float32) -> tuple:
    """(outputs, h, c) of a scan, under autocast where dtype is bfloat16."""
    x, h, c, *weights = tensors
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs, last = function(x, None if h is None else (h, c), Weights(*weights))
    return outputs, *last


def results_and_gradients(function, case: tuple, dtype: torch.dtype) -> list:
    tensors = tuple(t if t is None else t.requires_grad_() for t in draw(case))
    results = read(function, tensors, dtype)
    generator = torch.Generator().manual_seed(1)
    sum((r.float() * torch.rand(r.shape, generator=generator)).sum() for r in results).backward()
    return [*results, *(None if t is None else t.grad for t in tensors)]


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.detach().float(), expected.detach()
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_fast_scan_gives_the_reference_s_numbers_and_gradients(case, dtype):
    expected = results_and_gradients(reference_scan, case, torch.float32)
    found = results_and_gradients(scan, case, dtype)
    for name, ours, theirs in zip(NAMES, found, expected, strict=True):
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert ours.shape == theirs.shape, name
            assert distance(ours, theirs) < TOLERANCE[dtype], name
    assert found[0].dtype == dtype
    assert all(gradient.dtype == torch.float32 for gradient in found[3:] if gradient is not None)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_gradients_the_numbers_are_the_same(case):
    tensors = draw(case)
    with_gradients = read(scan, tuple(t if t is None else t.requires_grad_() for t in tensors))
    with torch.no_grad():
        without = read(scan, tensors)
    for one, two in zip(with_gradients, without, strict=True):
        assert torch.equal(one, two)
        assert not two.requires_grad


def test_the_fast_scan_is_what_runs_here_or_these_tests_say_nothing(monkeypatch):
    taken = []
    fast = scan_cpu.Scan.apply
    monkeypatch.setattr(scan_cpu.Scan, "apply", lambda *given: taken.append(1) or fast(*given))
    read(scan, draw(CASES[0]))
    assert taken == [1]


@pytest.mark.parametrize("of", ["outputs", "c"])
def test_one_result_alone_can_be_differentiated(of):
    case, index = CASES[0], {"outputs": 0, "c": 2}[of]
    gradients = []
    for function in (reference_scan, scan):
        tensors = tuple(t.requires_grad_() for t in draw(case))
        gradients.append(torch.autograd.grad(read(function, tensors)[index].sum(), tensors[3])[0])
    assert distance(gradients[1], gradients[0]) < 1e-5


def test_gradients_have_gradients():
    found = []
    for function in (reference_scan, scan):
        tensors = tuple(t.requires_grad_() for t in draw(CASES[0]))
        outputs, _, c = read(function, tensors)
        loss = outputs.square().sum() + c.square().sum()
        gradients = torch.autograd.grad(loss, tensors, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in gradients), tensors))
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert distance(ours, theirs) < 1e-5


def test_only_the_gradients_that_are_wanted_are_made():
    tensors = draw(CASES[0])
    tensors[3].requires_grad_()  # the gates' weights; neither the frames nor the state
    read(scan, tensors)[0].sum().backward()
    assert tensors[3].grad is not None
    assert all(t.grad is None for n, t in enumerate(tensors) if n != 3)


def test_given_tensors_are_left_as_they_were():
    tensors = tuple(t.requires_grad_() for t in draw(CASES[0]))
    before = [t.detach().clone() for t in tensors]
    read(scan, tensors)[2].sum().backward()
    for now, then in zip(tensors, before, strict=True):
        assert torch.equal(now, then)


def test_a_state_read_twice_gives_the_same_again():
    """The outputs of one call are the state of two others: nothing may be written over."""
    x, _, _, *weights = draw(CASES[0])
    _, state = scan(x, None, Weights(*weights))
    kept = [s.clone() for s in state]
    first, second = scan(x, state, Weights(*weights))[0], scan(x, state, Weights(*weights))[0]
    assert torch.equal(first, second)
    assert all(torch.equal(now, then) for now, then in zip(state, kept, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_types_take_the_reference(dtype):
    tensors = tuple(t.to(dtype) for t in draw(CASES[0]))
    for one, two in zip(read(scan, tensors), read(reference_scan, tensors), strict=True):
        assert torch.equal(one, two)


def test_vmap_takes_the_reference():
    x, h, c, *weights = draw(CASES[4])
    many = torch.stack([x, 2 * x])
    found = torch.vmap(lambda one: scan(one, (h, c), Weights(*weights))[0])(many)
    expected = reference_scan(2 * x, (h, c), Weights(*weights))[0]
    torch.testing.assert_close(found[1], expected)


def test_without_onednn_the_reference_is_taken(monkeypatch):
    x = torch.zeros(1, 1, 1, 1, 1)
    assert scan_cpu.is_supported(torch.float32, x)
    monkeypatch.setattr(torch._C, "_get_mkldnn_enabled", lambda: False)
    assert not scan_cpu.is_supported(torch.float32, x)
    monkeypatch.undo()
    monkeypatch.setattr(kernels_cpu, "_FOUND", False)
    assert not scan_cpu.is_supported(torch.float32, x)


def test_a_batch_of_none_takes_the_reference():
    x, _, _, *weights = draw(CASES[0])
    assert scan(x[:, :0], None, Weights(*weights))[0].shape == (4, 0, 5, 9, 10)


def test_frames_in_any_order_of_memory_give_the_same():
    x, h, c, *weights = draw(CASES[0])
    expected = scan(x, (h, c), Weights(*weights))[0]
    turned = x.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    last = h.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(scan(turned, (last, c), Weights(*weights))[0], expected)


def test_the_reference_is_the_textbook_cell():
    """One convolution of input and state side by side, as the articles write it."""
    x, h, c, gates, bias, _ = draw(CASES[0])
    outputs = []
    for frame in x:
        values = F.conv2d(torch.cat((frame, h), 1), gates, bias, padding=1)
        i, f, g, o = values.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    _, first_h, first_c, *_ = draw(CASES[0])
    found = reference_scan(x, (first_h, first_c), Weights(gates, bias, None))[0]
    torch.testing.assert_close(found, torch.stack(outputs))


def rollout(read, frames, count):
    """Read frames, then go on with what came out, frame by frame; return all outputs."""
    outputs, state = read(frames, None)
    for _ in range(count):
        following, state = read(torch.tanh(outputs[-1:, :, :3]), state)
        outputs = torch.cat([outputs, following])
    return outputs


@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize("size", [(2, 9), (3, 40)])  # of which the larger flushes several times
def test_a_rollout_with_shared_weights_has_the_reference_s_gradients(size, peephole):
    (B, side), generator = size, torch.Generator().manual_seed(0)
    x = torch.randn(4, B, 3, side, side, generator=generator)
    gates = (torch.randn(64, 19, 3, 3, generator=generator) / 9).requires_grad_()
    bias = torch.randn(64, generator=generator).requires_grad_()
    given = [gates, bias]
    if peephole:
        given.append(torch.randn(3, 16, 1, 1, generator=generator).requires_grad_())
    weights = Weights(*given, *[None] * (3 - len(given)))
    sign = torch.randn(9, B, 16, side, side, generator=generator)
    results = []
    for read in (lambda x, state: reference_scan(x, state, weights), Scanner(weights)):
        outputs = rollout(read, x, 5)
        results.append([outputs, *torch.autograd.grad((outputs * sign).sum(), given)])
    for found, expected in zip(*reversed(results), strict=True):
        # By norm: a gradient near zero is what is left of 40,000 that cancel, in an order that the
        # machine's vectors decide.
        assert distance(found, expected) < 1e-5


def test_a_backward_pass_that_asks_for_no_weights_leaves_nothing_for_the_next():
    tensors = draw(CASES[0])
    x, h, c, *weights = (t if t is None else t.requires_grad_() for t in tensors)
    scanner = Scanner(Weights(*weights))
    loss = scanner(x, None if h is None else (h, c))[0].square().sum()
    torch.autograd.grad(loss, x, retain_graph=True)
    once = torch.autograd.grad(loss, weights[0], retain_graph=True)[0]
    twice = torch.autograd.grad(loss, weights[0])[0]
    torch.testing.assert_close(once, twice, rtol=0, atol=0)
    fresh = scan(x, None if h is None else (h, c), Weights(*weights))[0].square().sum()
    torch.testing.assert_close(torch.autograd.grad(fresh, weights[0])[0], once, rtol=0, atol=0)


def test_frozen_weights_stay_without_a_gradient():
    tensors = draw(CASES[0])
    x, h, c, *weights = tensors
    x.requires_grad_()
    outputs, _ = scan(x, None if h is None else (h, c), Weights(*weights))
    outputs.sum().backward()
    assert x.grad is not None
    assert all(w is None or w.grad is None for w in weights)


def test_weights_changed_before_the_backward_pass_are_an_error():
    tensors = draw(CASES[0])
    x, h, c, *weights = (t if t is None else t.requires_grad_() for t in tensors)
    outputs, _ = scan(x, None if h is None else (h, c), Weights(*weights))
    with torch.no_grad():
        weights[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def test_one_scanner_reads_without_and_with_gradients_and_in_two_sizes():
    (x, _, _, *weights), generator = draw(CASES[0]), torch.Generator().manual_seed(0)
    weights[0].requires_grad_()
    scanner = Scanner(Weights(*weights))
    with torch.no_grad():
        scanner(x, None)
    other = torch.randn(3, 2, x.shape[2], 6, 7, generator=generator)
    loss = scanner(x, None)[0].sum() + scanner(other, None)[0].sum()
    found = torch.autograd.grad(loss, weights[0])[0]
    parts = [scan(frames, None, Weights(*weights))[0].sum() for frames in (x, other)]
    torch.testing.assert_close(found, torch.autograd.grad(sum(parts), weights[0])[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_recomputed_gates_give_the_same_gradients_bit_for_bit(case, dtype):
    (x, h, c, *weights), results = draw(case), []
    state = None if h is None else (h, c)
    given = [t.requires_grad_() for t in (x, *weights) if t is not None]
    for recompute in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            outputs, _ = Scanner(Weights(*weights), recompute=recompute)(x, state)
        results.append([outputs, *torch.autograd.grad(outputs.float().square().sum(), given)])
    for found, expected in zip(*results, strict=True):
        assert torch.equal(found, expected)


def test_the_reference_recomputes_too():
    (x, h, c, *weights), results = draw(CASES[0]), []
    given = [t.requires_grad_() for t in (x, *weights) if t is not None]
    for recompute in (False, True):
        outputs, _ = reference_scan(x, (h, c), Weights(*weights), recompute=recompute)
        results.append(torch.autograd.grad(outputs.square().sum(), given))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_gradients_of_gradients_go_through_a_rollout():
    (x, _, _, *weights), results = draw(CASES[0]), []
    weights = [None if w is None else w.requires_grad_() for w in weights]

    def reference(frames, state):
        return reference_scan(frames, state, Weights(*weights))

    for read in (reference, Scanner(Weights(*weights))):
        outputs, state = read(x, None)
        second, _ = read(x, state)
        loss = outputs.square().sum() + second.square().sum()
        (first_order,) = torch.autograd.grad(loss, weights[0], create_graph=True)
        (second_order,) = torch.autograd.grad(first_order.square().sum(), weights[0])
        results.append((first_order, second_order))
    for found, expected in zip(*reversed(results), strict=True):
        assert (found - expected).norm() < 1e-5 * expected.norm()


def test_a_finished_rollout_s_weights_are_freed_at_once():
    (x, _, _, *weights) = draw(CASES[0])
    weights[0].requires_grad_()
    scanner = Scanner(Weights(*weights))
    scanner(x, None)[0].sum().backward()
    packed = weakref.ref(next(iter(scanner._packed.values())).from_x)
    gc.disable()
    try:
        del scanner
        assert packed() is None  # without waiting for a collection of cycles
    finally:
        gc.enable()


@pytest.mark.parametrize("channels", [1, 3])
def test_merged_frames_keep_the_strides_of_channels_last(channels):
    frames = layout.empty_frames(4, 2, channels, 6, 5, torch.float32)
    frames.copy_(torch.rand(frames.shape, generator=torch.Generator().manual_seed(0)))
    merged = layout.merged(frames[1:3])
    assert torch.equal(merged, frames[1:3].flatten(0, 1))
    assert merged.stride() == (30 * channels, 1, 5 * channels, channels)
