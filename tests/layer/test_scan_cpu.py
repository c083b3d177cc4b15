"""The fast scan on a CPU: when it runs, and what it gives besides what every fast scan owes."""

import gc
import weakref

import pytest
import torch

from convlstm.layer import kernels_cpu, layout, scan_cpu
from convlstm.layer.recurrence import Weights, reference_scan
from convlstm.layer.scan_cpu import Scanner
from tests.layer.scans import CASES, distance, draw, read


def scan(x, state, weights):
    return Scanner(weights)(x, state)


def test_the_fast_scan_is_what_runs_here_or_these_tests_say_nothing(monkeypatch):
    taken = []
    fast = scan_cpu.Scan.apply
    monkeypatch.setattr(scan_cpu.Scan, "apply", lambda *given: taken.append(1) or fast(*given))
    read(scan, draw(CASES[0]))
    assert taken == [1]


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


def test_gradients_of_gradients_go_through_a_rollout():
    (x, _, _, *weights), results = draw(CASES[0]), []
    weights = [None if w is None else w.requires_grad_() for w in weights]

    def reference(frames, state):
        return reference_scan(frames, state, Weights(*weights))

    for reads in (reference, Scanner(Weights(*weights))):
        outputs, state = reads(x, None)
        second, _ = reads(x, state)
        loss = outputs.square().sum() + second.square().sum()
        (first_order,) = torch.autograd.grad(loss, weights[0], create_graph=True)
        (second_order,) = torch.autograd.grad(first_order.square().sum(), weights[0])
        results.append((first_order, second_order))
    for found, expected in zip(*reversed(results), strict=True):
        assert (found - expected).norm() < 1e-5 * expected.norm()


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
