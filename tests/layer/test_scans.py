"""What every fast scan owes: the reference's outputs and gradients, however it is called."""

import pytest
import torch

from convlstm.layer.recurrence import Weights, reference_scan
from convlstm.layer.scan_cpu import Scanner
from convlstm.layer.scan_cuda import CudaScanner
from tests.layer.scans import (
    CASES,
    NAMES,
    TOLERANCE,
    distance,
    draw,
    plain,
    read,
    results_and_gradients,
    rolled_out,
)


@pytest.fixture(params=[Scanner, CudaScanner], ids=["cpu", "cuda"])
def scanner(request):
    """A scanner's class; that for a GPU runs here, too, by eager kernels."""
    return request.param


@pytest.fixture
def scan(scanner):
    return lambda x, state, weights: scanner(weights)(x, state)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_gives_the_reference_s_numbers_and_gradients(scan, case, dtype):
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
def test_without_gradients_the_numbers_are_the_same(scan, case):
    tensors = draw(case)
    with_gradients = read(scan, tuple(t if t is None else t.requires_grad_() for t in tensors))
    with torch.no_grad():
        without = read(scan, tensors)
    for one, two in zip(with_gradients, without, strict=True):
        assert torch.equal(one, two)
        assert not two.requires_grad


@pytest.mark.parametrize("of", ["outputs", "c"])
def test_one_result_alone_can_be_differentiated(scan, of):
    case, index = CASES[0], {"outputs": 0, "c": 2}[of]
    gradients = []
    for function in (reference_scan, scan):
        tensors = tuple(t.requires_grad_() for t in draw(case))
        gradients.append(torch.autograd.grad(read(function, tensors)[index].sum(), tensors))
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        assert distance(ours, theirs) < 1e-5


@pytest.mark.parametrize("wanted", range(6))
def test_only_the_gradients_that_are_wanted_are_made(scan, wanted):
    tensors = draw(CASES[0])
    expected = results_and_gradients(reference_scan, CASES[0], torch.float32)[3 + wanted]
    tensors[wanted].requires_grad_()
    results = read(scan, tensors)
    generator = torch.Generator().manual_seed(1)
    sum((r * torch.rand(r.shape, generator=generator)).sum() for r in results).backward()
    assert distance(tensors[wanted].grad, expected) < 1e-5
    assert all(t.grad is None for n, t in enumerate(tensors) if n != wanted)


def test_a_graph_that_is_kept_gives_the_same_gradients_twice(scan):
    tensors = tuple(t.requires_grad_() for t in draw(CASES[0]))
    loss = read(scan, tensors)[0].square().sum()
    first = torch.autograd.grad(loss, tensors, retain_graph=True)
    for one, two in zip(first, torch.autograd.grad(loss, tensors), strict=True):
        assert torch.equal(one, two)


def test_frame_by_frame_is_the_whole_sequence(scanner):
    x, h, c, *weights = draw(CASES[0])
    whole, last = scanner(Weights(*weights))(x, (h, c))
    reads, state, outputs = scanner(Weights(*weights)), (h, c), []
    for frame in x:
        output, state = reads(frame[None], state)
        outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs), whole)
    for one, two in zip(state, last, strict=True):
        torch.testing.assert_close(one, two)


def test_given_tensors_are_left_as_they_were(scan):
    tensors = tuple(t.requires_grad_() for t in draw(CASES[0]))
    before = [t.detach().clone() for t in tensors]
    read(scan, tensors)[2].sum().backward()
    for now, then in zip(tensors, before, strict=True):
        assert torch.equal(now, then)


def test_a_state_read_twice_gives_the_same_again(scan):
    """The outputs of one call are the state of two others: nothing may be written over."""
    x, _, _, *weights = draw(CASES[0])
    _, state = scan(x, None, Weights(*weights))
    kept = [s.clone() for s in state]
    first, second = scan(x, state, Weights(*weights))[0], scan(x, state, Weights(*weights))[0]
    assert torch.equal(first, second)
    assert all(torch.equal(now, then) for now, then in zip(state, kept, strict=True))


def test_frames_in_any_order_of_memory_give_the_same(scan):
    x, h, c, *weights = draw(CASES[0])
    expected = scan(x, (h, c), Weights(*weights))[0]
    turned = x.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    last = h.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(scan(turned, (last, c), Weights(*weights))[0], expected)


def test_a_batch_of_none_is_read(scan):
    x, _, _, *weights = draw(CASES[0])
    assert scan(x[:, :0], None, Weights(*weights))[0].shape == (4, 0, 5, 9, 10)


def rollout(reads, frames, count):
    """Read frames, then go on with what came out, frame by frame; return all outputs."""
    outputs, state = reads(frames, None)
    for _ in range(count):
        following, state = reads(torch.tanh(outputs[-1:, :, :3]), state)
        outputs = torch.cat([outputs, following])
    return outputs


@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize("size", [(2, 9), (3, 40)])  # of which the larger flushes several times
def test_a_rollout_with_shared_weights_has_the_reference_s_gradients(scanner, size, peephole):
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
    for reads in (plain(weights), scanner(weights)):
        outputs = rollout(reads, x, 5)
        results.append([outputs, *torch.autograd.grad((outputs * sign).sum(), given)])
    for found, expected in zip(*reversed(results), strict=True):
        # By norm: a gradient near zero is what is left of 40,000 that cancel, in an order that the
        # machine's vectors decide.
        assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[6]], ids=str)
def test_a_rollout_that_feeds_parts_of_itself_has_the_reference_s_gradients(scanner, case, dtype):
    found = rolled_out(scanner, case, dtype)
    for ours, theirs in zip(found, rolled_out(plain, case), strict=True):
        assert distance(ours, theirs) < (1e-5 if dtype == torch.float32 else 0.05)


def test_a_backward_pass_that_asks_for_no_weights_leaves_nothing_for_the_next(scanner):
    tensors = draw(CASES[0])
    x, h, c, *weights = (t if t is None else t.requires_grad_() for t in tensors)
    reads = scanner(Weights(*weights))
    loss = reads(x, None if h is None else (h, c))[0].square().sum()
    torch.autograd.grad(loss, x, retain_graph=True)
    once = torch.autograd.grad(loss, weights[0], retain_graph=True)[0]
    twice = torch.autograd.grad(loss, weights[0])[0]
    torch.testing.assert_close(once, twice, rtol=0, atol=0)
    fresh = scanner(Weights(*weights))(x, None if h is None else (h, c))[0].square().sum()
    torch.testing.assert_close(torch.autograd.grad(fresh, weights[0])[0], once, rtol=0, atol=0)


def test_frozen_weights_stay_without_a_gradient(scan):
    tensors = draw(CASES[0])
    x, h, c, *weights = tensors
    x.requires_grad_()
    outputs, _ = scan(x, None if h is None else (h, c), Weights(*weights))
    outputs.sum().backward()
    assert x.grad is not None
    assert all(w is None or w.grad is None for w in weights)


@pytest.mark.parametrize("changed", ["gates", "bias", "peephole"])
def test_weights_changed_before_the_backward_pass_spoil_no_gradient(scan, changed):
    found = []
    for change in (0, 1):
        x, h, c, *weights = (t.requires_grad_() for t in draw(CASES[0]))
        given = Weights(*weights)
        outputs, _ = scan(x, (h, c), given)
        if change:
            with torch.no_grad():
                getattr(given, changed).add_(change)
        try:
            found.append(torch.autograd.grad(outputs.sum(), (x, *weights)))
        except RuntimeError as error:  # as torch's own operators do
            assert change and "modified by an inplace operation" in str(error)
            return
    for ours, theirs in zip(*found, strict=True):  # it had kept what it read with
        torch.testing.assert_close(ours, theirs)


def test_one_scanner_reads_without_and_with_gradients_and_in_two_sizes(scanner):
    (x, _, _, *weights), generator = draw(CASES[0]), torch.Generator().manual_seed(0)
    weights[0].requires_grad_()
    reads = scanner(Weights(*weights))
    with torch.no_grad():
        reads(x, None)
    other = torch.randn(3, 2, x.shape[2], 6, 7, generator=generator)
    loss = reads(x, None)[0].sum() + reads(other, None)[0].sum()
    found = torch.autograd.grad(loss, weights[0])[0]
    parts = [scanner(Weights(*weights))(frames, None)[0].sum() for frames in (x, other)]
    torch.testing.assert_close(found, torch.autograd.grad(sum(parts), weights[0])[0])
