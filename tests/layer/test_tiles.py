"""A batch that is read in tiles: the same numbers and gradients, whatever the tiles."""

import pytest
import torch

from convlstm.layer import packed_cpu
from convlstm.layer.packed_cpu import Packed
from convlstm.layer.recurrence import Weights, reference_scan
from convlstm.layer.scan_cpu import Scanner
from convlstm.layer.tiles_cpu import tile_sizes

T, B, CHANNELS, C, H, W = 3, 5, 2, 4, 6, 7


@pytest.fixture
def tiles(monkeypatch):
    """Let every batch be read in as many tiles as it has pairs of sequences."""

    def cut(*, per_thread: int = 1) -> None:
        monkeypatch.setattr(packed_cpu, "_PER_THREAD", per_thread)
        monkeypatch.setattr(packed_cpu, "_PER_WEIGHT", 0)

    cut()
    return cut


def draw(*, peephole: bool) -> list[torch.Tensor | None]:
    """x, h, c, gates, bias and peephole."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(T, B, CHANNELS, H, W), (B, C, H, W), (B, C, H, W)]
    shapes += [(4 * C, CHANNELS + C, 3, 3), (4 * C,), *[(3, C, 1, 1)] * peephole]
    drawn = [(torch.rand(s, generator=generator) - 0.5).requires_grad_() for s in shapes]
    return drawn if peephole else [*drawn, None]


def results_and_gradients(scan, tensors, has_state: bool, between=lambda: None) -> list:
    x, h, c, *weights = tensors
    given = [t for t in (x, *((h, c) if has_state else ()), *weights) if t is not None]
    outputs, state = scan(x, (h, c) if has_state else None, Weights(*weights))
    between()
    weighed = (t * torch.linspace(-1, 1, t.numel()).view(t.shape) for t in (outputs, *state))
    return [outputs, *state, *torch.autograd.grad(sum(t.sum() for t in weighed), given)]


def assert_same(found: list, expected: list) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_tiles_give_the_reference_s_numbers_and_gradients(tiles, recompute, peephole, has_state):
    tensors = draw(peephole=peephole)
    packed = Packed.made(torch.float32, B, H, W, tensors[3:])
    assert tile_sizes(packed, B, H, W) == [3, 2]

    def scan(x, state, weights):
        return Scanner(weights, recompute=recompute)(x, state)

    found = results_and_gradients(scan, tensors, has_state)
    assert_same(found, results_and_gradients(reference_scan, tensors, has_state))


def test_a_backward_pass_with_other_threads_keeps_to_the_tiles_of_the_forward_pass(tiles):
    """More threads make larger portions, and a tile's frames do not lie side by side."""
    tensors = draw(peephole=False)
    found = results_and_gradients(
        lambda x, state, weights: Scanner(weights)(x, state),
        tensors,
        True,
        between=lambda: tiles(per_thread=2**30),
    )
    assert_same(found, results_and_gradients(reference_scan, tensors, True))


@pytest.mark.parametrize(
    ("channels", "hidden", "kernel", "batch", "side", "sizes"),
    [
        (1, 16, 3, 8, 64, {1: [2, 2, 2, 2], 2: [4, 4], 8: [8]}),
        (1, 16, 3, 7, 64, {1: [3, 2, 2], 2: [7]}),
        (1, 16, 3, 1, 256, {1: [1]}),  # not even where it is large, since a single one is slow
        (1, 16, 3, 5, 256, {1: [3, 2]}),
        (16, 64, 5, 8, 32, {1: [8], 2: [8]}),  # for its weights
        (1, 4, 3, 2, 16, {1: [2], 2: [2]}),
    ],
)
def test_tiles_are_what_a_cache_holds_but_large_enough_for_the_weights(
    channels, hidden, kernel, batch, side, sizes, monkeypatch
):
    gates = torch.zeros(4 * hidden, channels + hidden, kernel, kernel)
    packed = Packed.made(torch.float32, batch, side, side, (gates, None, None))
    for threads, expected in sizes.items():
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert tile_sizes(packed, batch, side, side) == expected
