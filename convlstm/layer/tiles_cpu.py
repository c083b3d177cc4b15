"""A scan on a CPU in tiles: a few sequences of the batch at a time, through all of their frames.

Sequences do not meet in a scan, but in the sums over them that are the weights' gradients. What is
made of a frame is read again at once, dozens of times; of a whole batch it fills more than a cache
holds, and then each of those times it comes from memory.

Axes: T time (frames), B batch, C channels, H height (px), W width (px).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from convlstm.layer.layout import empty_frames
from convlstm.layer.packed_cpu import Packed, WeightGradients, joined
from convlstm.layer.recurrence import State
from convlstm.layer.recurrence_cpu import Inputs, Read, go_back, read_frames

# Sequences: a gradient by a single one takes oneDNN up to ten times as long.
_FEWEST = 2


def tile_sizes(packed: Packed, B: int, H: int, W: int) -> list[int]:
    """Return how many sequences of a batch go together."""
    weight = packed.from_h.weight
    gates = B * len(weight) * H * W * weight.itemsize  # bytes
    count = max(1, min(gates // packed.portion, B // _FEWEST))
    return [B // count + (n < B % count) for n in range(count)]


def read_tiles(
    inputs: Inputs, packed: Packed, sizes: Sequence[int], *, keeps_cells: bool, keeps_partials: bool
) -> tuple[list[Read], State]:
    """Read the frames; return what is kept of each tile, and h after each frame with the last c."""
    T, B, _, H, W = inputs.x.shape
    outputs = empty_frames(T, B, packed.from_h.weight.shape[1], H, W, inputs.x.dtype)
    pairs = zip(inputs.split(sizes), outputs.split(sizes, 1), strict=True)
    reads, cells = zip(
        *(
            read_frames(tile, packed, room, keeps_cells=keeps_cells, keeps_partials=keeps_partials)
            for tile, room in pairs
        ),
        strict=True,
    )
    return list(reads), (outputs, torch.cat(cells))


def go_back_tiles(
    inputs: Inputs,
    packed: Packed,
    reads: Sequence[Read],
    d_outputs: Tensor,
    d_c: Tensor | None,
    d_x: Tensor | None,
    sums: WeightGradients | None,
) -> tuple[Tensor | None, ...]:
    """Do what `go_back` does, tile by tile."""
    sizes = [read.outputs.shape[1] for read in reads]

    def split(tensor: Tensor | None, axis: int) -> Sequence[Tensor | None]:
        return [None] * len(sizes) if tensor is None else tensor.split(sizes, axis)

    rows = zip(
        inputs.split(sizes), reads, split(d_outputs, 1), split(d_c, 0), split(d_x, 1), strict=True
    )
    # The last tile first: some of what is kept of it is still in the cache.
    found = [go_back(tile, packed, *row, sums) for tile, *row in reversed(list(rows))]
    return d_x, *(None if p[0] is None else joined(p[::-1]) for p in zip(*found, strict=True))
