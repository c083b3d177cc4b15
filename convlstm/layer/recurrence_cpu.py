"""The scan on a CPU, forward and backward written out by hand.

What it does is in `recurrence.step`, which it is tested against; this is how it is fast:

- Frames lie channels last and weights are packed once a scan, so that no convolution reorders.
- The frame's convolution adds into the state's in place, and a zero state is not convolved.
- Each gate is copied apart from the others: elementwise kernels vectorise over contiguous memory
  only, and a channels-last gate is 4C apart (a strided sigmoid costs eight times a contiguous one).
  Products need no such copy: their gradients are written to where the convolutions read them.
- What is kept of a frame is what the backward pass multiplies by, computed while all that it is
  made of lies in the cache; so the backward pass fetches each of it once.
- A batch is read in tiles that a cache holds (`tiles_cpu`).
- The weights' gradients are computed for several small frames at once.

Axes: T time (frames), B batch, C channels, H height (px), W width (px). Tensors of frames have
these axes in this order, and memory in the order (T, B, H, W, C).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from convlstm.layer.kernels_cpu import tanh
from convlstm.layer.layout import channels_last, empty_frames, merged
from convlstm.layer.packed_cpu import Packed, WeightGradients
from convlstm.layer.recurrence import State
from convlstm.pieces import leave_if_unwanted


class Inputs(NamedTuple):
    """What a scan reads, in the type to compute in."""

    x: Tensor  # (T, B, in, H, W)
    h: Tensor | None  # (B, C, H, W)
    c: Tensor | None

    @classmethod
    def made(cls, dtype: torch.dtype, *tensors: Tensor | None) -> "Inputs":
        """Return x, h and c as they are computed with: no copy where they already are so."""
        return cls(*(None if t is None else channels_last(t.detach().to(dtype)) for t in tensors))

    def split(self, sizes: Sequence[int]) -> list["Inputs"]:
        """Return the inputs of so many sequences each."""
        h, c = ([None] * len(sizes) if t is None else t.split(sizes) for t in self[1:])
        return list(map(Inputs, self.x.split(sizes, 1), h, c))


class Partials(NamedTuple):
    """Partial derivatives at a frame, each (B, C, H, W): by these the backward pass multiplies."""

    i: Tensor  # of c, by the gate before its activation
    f: Tensor  # likewise
    g: Tensor  # likewise
    o: Tensor  # of h, likewise
    c: Tensor  # of h, by c
    before: Tensor  # of c, by the c before it: the forget gate; without one, anything


class Read(NamedTuple):
    """What a scan has found, and kept for the backward pass."""

    outputs: Tensor  # h after every frame, (T, B, C, H, W)
    cells: list[Tensor]  # c after every frame, (B, C, H, W), or none
    partials: list[Tensor]  # `Partials` of every frame, (6, B, C, H, W), or none


def read_frames(
    inputs: Inputs, packed: Packed, outputs: Tensor, *, keeps_cells: bool, keeps_partials: bool
) -> tuple[Read, Tensor]:
    """Read frames into outputs, (T, B, C, H, W); return what is kept of them, and the last c."""
    x, h, c = inputs
    T, *sizes = outputs.shape
    cells, partials = [], []
    *gates, new_c = empty_frames(5, *sizes, x.dtype)
    for t in range(T):
        leave_if_unwanted()
        if keeps_cells:
            (new_c,) = empty_frames(1, *sizes, x.dtype)
            cells.append(new_c)
        if keeps_partials:
            partials.append(empty_frames(6, *sizes, x.dtype))
        room = Partials(*partials[t]) if keeps_partials else None
        _advance(x[t], h, c, packed, gates, (outputs[t], new_c), room)
        h, c = outputs[t], new_c
    return Read(outputs, cells, partials), c


def _advance(
    frame: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    packed: Packed,
    gates: Sequence[Tensor],
    new: State,
    partials: Partials | None,
) -> None:
    """Read one frame.

    It writes into the new state, whose c may be the old one, into the partials, where they are
    wanted, and into four gates, (B, C, H, W) like all of them, which nobody needs afterwards.
    """
    new_h, new_c = new
    from_x, from_h, bias, peephole, identity = packed
    if h is None:
        values = from_x(frame, bias)
    else:
        values = from_h(h, bias)
        from_x.add_to(values, frame)
    i, f, g, o = gates
    if partials is not None:
        f = partials.before
    for gate, value in zip((i, f, g, o), values.chunk(4, 1), strict=True):
        gate.copy_(value)
    if peephole is not None and c is not None:
        i.addcmul_(peephole[0], c)
        f.addcmul_(peephole[1], c)
    i.sigmoid_()
    g = tanh(g, identity)
    if c is not None:
        f.sigmoid_()
    if partials is not None:
        _sigmoid_backward(g, i, grad_input=partials.i)
        _tanh_backward(i, g, grad_input=partials.g)
        if c is None:
            partials.f.zero_()
        else:
            _sigmoid_backward(c, f, grad_input=partials.f)
    if c is None:
        torch.mul(i, g, out=new_c)
    else:
        torch.mul(f, c, out=new_c).addcmul_(i, g)
    if peephole is not None:
        o.addcmul_(peephole[2], new_c)
    o.sigmoid_()
    tanh_c = tanh(new_c, identity)
    torch.mul(o, tanh_c, out=new_h)
    if partials is not None:
        _sigmoid_backward(tanh_c, o, grad_input=partials.o)
        _tanh_backward(o, tanh_c, grad_input=partials.c)


def go_back(
    inputs: Inputs,
    packed: Packed,
    read: Read,
    d_outputs: Tensor,
    d_c: Tensor | None,
    d_x: Tensor | None,
    sums: WeightGradients | None,
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients of h and c, fill d_x where it is wanted, and give sums the rest."""
    outputs, cells, partials = read
    T, B, C, H, W = outputs.shape
    x, first_h, first_c = inputs
    from_x, from_h, _, peephole, _ = packed
    together = min(T, max(1, packed.portion // (4 * outputs[0].nbytes)))  # frames
    if outputs.stride(0) > outputs[0].numel():  # a tile, whose frames do not lie side by side
        together = 1
    if not partials:  # room for them, and what else a frame needs, computed again
        *again, again_h, again_c = empty_frames(12, B, C, H, W, x.dtype)
    d_h, (through_c,) = None, empty_frames(1, B, C, H, W, x.dtype)
    d_c = through_c.zero_() if d_c is None else through_c.copy_(d_c)
    for t in reversed(range(T)):
        leave_if_unwanted()
        before = (cells[t - 1] if cells else None) if t else first_c
        h = outputs[t - 1] if t else first_h
        by = Partials(*(partials[t] if partials else again[:6]))
        if not partials:
            _advance(x[t], h, before, packed, again[6:], (again_h, again_c), by)
        place = t % together  # so that the group that ends with frame 0 is a whole one
        if place == together - 1 or t == T - 1:
            # Gradients of the gates before their activation, for as many frames as go together.
            d_gates = empty_frames(place + 1, B, 4 * C, H, W, x.dtype)
        d_i, d_f, d_g, d_o = d_gates[place].chunk(4, 1)
        d_h = d_outputs[t] if d_h is None else d_h.add_(d_outputs[t])
        torch.mul(d_h, by.o, out=d_o)
        d_c.addcmul_(d_h, by.c)
        if peephole is not None:
            d_c.addcmul_(d_o, peephole[2])
        torch.mul(d_c, by.i, out=d_i)
        torch.mul(d_c, by.f, out=d_f)
        torch.mul(d_c, by.g, out=d_g)
        if t or first_c is not None:
            d_c.mul_(by.before)
        if peephole is not None:
            if sums is not None:
                sums.add_peephole(_peephole_gradient(d_i, d_f, d_o, before, cells[t]))
            if before is not None:
                d_c.addcmul_(d_i, peephole[0]).addcmul_(d_f, peephole[1])
        if t or first_h is not None:
            d_h = from_h.input_gradient(d_gates[place])
        if place > 0:
            continue
        frames = slice(t, t + len(d_gates))
        if d_x is not None:
            d_x[frames] = from_x.input_gradient(merged(d_gates)).unflatten(0, (-1, B))
        if sums is None:
            continue
        if t == 0:  # the state before it came from outside
            sums.add(packed, d_gates[0], x[0], first_h)
            frames, d_gates = slice(1, frames.stop), d_gates[1:]
        if len(d_gates):
            earlier = outputs[frames.start - 1 : frames.stop - 1]
            sums.add(packed, *(merged(part) for part in (d_gates, x[frames], earlier)))
    return d_h if first_h is not None else None, d_c


def _peephole_gradient(
    d_i: Tensor, d_f: Tensor, d_o: Tensor, before: Tensor | None, c: Tensor
) -> Tensor:
    """Return (3, C, 1, 1), float32; before is the cell state that i and f saw."""
    pairs = ((d_i, before), (d_f, before), (d_o, c))
    unseen = c.new_zeros(c.shape[1], dtype=torch.float32)
    sums = [unseen if seen is None else (d * seen).float().sum((0, 2, 3)) for d, seen in pairs]
    return torch.stack(sums)[:, :, None, None]


_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
