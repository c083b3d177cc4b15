"""The scan on a CPU, forward and backward written out by hand.

What it does is in `recurrence.step`, which it is tested against; this is how it is fast:

- Frames lie channels last and weights are packed once a scan, so that no convolution reorders.
- The frame's convolution adds into the state's in place, and a zero state is not convolved.
- Each gate is copied apart from the others, and its gradient back: elementwise kernels vectorise
  over contiguous memory only, and a channels-last gate is 4C apart (a strided sigmoid costs eight
  times a contiguous one).
- The backward pass writes into the same few buffers for every frame, which stay in the cache.
- The weights' gradients are computed for as many frames at once as the cache holds.

Axes: T time (frames), B batch, C channels, H height (px), W width (px). Tensors of frames have
these axes in this order, and memory in the order (T, B, H, W, C).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from convlstm.layer.kernels_cpu import channels_last, empty_frames, tanh
from convlstm.layer.packed_cpu import TOGETHER, Packed, WeightGradients
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


class Step(NamedTuple):
    """What the backward pass needs of a frame, besides the states."""

    gates: Tensor  # i, f and o after their activation, (3, B, C, H, W)
    g: Tensor  # likewise, (B, C, H, W)
    tanh_c: Tensor  # (B, C, H, W)


class Read(NamedTuple):
    """What a scan has found, and kept for the backward pass."""

    outputs: Tensor  # h after every frame, (T, B, C, H, W)
    cells: list[Tensor]  # c after every frame, or after the last one alone; each (B, C, H, W)
    steps: list[Step]  # of every frame, or none


def read_frames(inputs: Inputs, packed: Packed, *, keeps_cells: bool, keeps_steps: bool) -> Read:
    """Read the frames, and keep of each what is asked for."""
    x, h, c = inputs
    T, B, _, H, W = x.shape
    C = packed.from_h.weight.shape[1]
    outputs = empty_frames(T, B, C, H, W, x.dtype)
    (unused,) = empty_frames(1, B, C, H, W, x.dtype)
    cells, steps = [], []
    for t in range(T):
        leave_if_unwanted()
        if t == 0 or keeps_steps:
            gates = empty_frames(3, B, C, H, W, x.dtype)
        if t == 0 or keeps_cells:
            (new_c,) = empty_frames(1, B, C, H, W, x.dtype)
        step = _advance(x[t], h, c, packed, (gates, unused, new_c, outputs[t]))
        h, c = outputs[t], new_c
        if keeps_steps:
            steps.append(step)
        if keeps_cells or t == T - 1:
            cells.append(c)
    return Read(outputs, cells, steps)


def _advance(
    frame: Tensor, h: Tensor | None, c: Tensor | None, packed: Packed, into: tuple[Tensor, ...]
) -> Step:
    """Read one frame, and write into gates (3, B, C, H, W), unused, c and h (B, C, H, W)."""
    gates, unused, new_c, new_h = into
    from_x, from_h, bias, peephole, identity = packed
    if h is None:
        values = from_x(frame, bias)
    else:
        values = from_h(h, bias)
        from_x.add_to(values, frame)
    i, f, o = gates.unbind()
    for gate, value in zip((i, f, unused, o), values.chunk(4, 1), strict=True):
        gate.copy_(value)
    if peephole is not None and c is not None:
        i.addcmul_(peephole[0], c)
        f.addcmul_(peephole[1], c)
    g = tanh(unused, identity)
    torch.mul(i.sigmoid_(), g, out=unused)
    if c is None:
        new_c.copy_(unused)
    else:
        torch.mul(f.sigmoid_(), c, out=new_c).add_(unused)
    if peephole is not None:
        o.addcmul_(peephole[2], new_c)
    tanh_c = tanh(new_c, identity)
    torch.mul(o.sigmoid_(), tanh_c, out=new_h)
    return Step(gates, g, tanh_c)


def go_back(
    inputs: Inputs,
    packed: Packed,
    read: Read,
    d_outputs: Tensor,
    d_c: Tensor | None,
    d_x: Tensor | None,
    sums: WeightGradients | None,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of x (d_x, filled where it is wanted), h and c; give sums the rest."""
    outputs, cells, steps = read
    T, B, C, H, W = outputs.shape
    x, first_h, first_c = inputs
    from_x, from_h, _, peephole, _ = packed
    together = min(T, max(1, TOGETHER // (4 * outputs[0].nbytes)))  # frames
    d_i, d_f, d_g, d_o, new, through_c, product = empty_frames(7, B, C, H, W, x.dtype).unbind()
    if not steps:
        again = empty_frames(6, B, C, H, W, x.dtype)
        again = again[:3], *again[3:].unbind()  # gates, unused, c and h, computed again
    d_h = None
    d_c = through_c.zero_() if d_c is None else through_c.copy_(d_c)
    for t in reversed(range(T)):
        leave_if_unwanted()
        before, h = (cells[t - 1], outputs[t - 1]) if t else (first_c, first_h)
        gates, g, tanh_c = steps[t] if steps else _advance(x[t], h, before, packed, again)
        i, f, o = gates.unbind()
        d_h = d_outputs[t] if d_h is None else d_h.add_(d_outputs[t])
        _sigmoid_backward(torch.mul(d_h, tanh_c, out=product), o, grad_input=d_o)
        d_c.add_(_tanh_backward(torch.mul(d_h, o, out=product), tanh_c, grad_input=new))
        if peephole is not None:
            d_c.addcmul_(d_o, peephole[2])
        _sigmoid_backward(torch.mul(d_c, g, out=product), i, grad_input=d_i)
        _tanh_backward(torch.mul(d_c, i, out=product), g, grad_input=d_g)
        if before is None:
            d_f.zero_()
        else:
            _sigmoid_backward(torch.mul(d_c, before, out=product), f, grad_input=d_f)
            d_c.mul_(f)
        if peephole is not None:
            if sums is not None:
                sums.add_peephole(_peephole_gradient(d_i, d_f, d_o, before, cells[t]))
            if before is not None:
                d_c.addcmul_(d_i, peephole[0]).addcmul_(d_f, peephole[1])
        place = t % together  # so that the group that ends with frame 0 is a whole one
        if place == together - 1 or t == T - 1:
            # Gradients of the gates before their activation, for as many frames as go together.
            d_gates = empty_frames(place + 1, B, 4 * C, H, W, x.dtype)
        for gate, values in zip(d_gates[place].chunk(4, 1), (d_i, d_f, d_g, d_o), strict=True):
            gate.copy_(values)
        if t or first_h is not None:
            d_h = from_h.input_gradient(d_gates[place])
        if place > 0:
            continue
        frames = slice(t, t + len(d_gates))
        if d_x is not None:
            d_x[frames] = from_x.input_gradient(_merge(d_gates)).unflatten(0, (-1, B))
        if sums is None:
            continue
        if t == 0:  # the state before it came from outside
            sums.add(packed, d_gates[0], x[0], first_h)
            frames, d_gates = slice(1, frames.stop), d_gates[1:]
        if len(d_gates):
            earlier = outputs[frames.start - 1 : frames.stop - 1]
            sums.add(packed, *(_merge(part) for part in (d_gates, x[frames], earlier)))
    return d_x, d_h if first_h is not None else None, d_c


def _merge(frames: Tensor) -> Tensor:
    """(T, B, C, H, W) to (T * B, C, H, W), channels last.

    `flatten` would give one channel the strides of channels first, and a convolution that sees
    them copies everything: a fifth of a training step.
    """
    T, B, C, H, W = frames.shape
    return frames.as_strided((T * B, C, H, W), (C * H * W, 1, W * C, C))


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
