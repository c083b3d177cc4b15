"""A frame's gates, forward and backward, by torch's own operations: on any device, in any type.

Of the same interface as `kernels_triton`, which does each in one kernel.

Axes: B batch, C channels, H height (px), W width (px). Gates are packed i, f, g, o in the channels.
"""

from torch import Tensor


def advance(
    gates: Tensor,
    of_h: Tensor | None,
    bias: Tensor | None,
    peephole: Tensor | None,
    before: Tensor | None,
    c: Tensor,
    h: Tensor,
    *,
    keeps_gates: bool,
) -> None:
    """Turn a frame's convolutions into its state; the last three tensors are written to.

    Args:
        gates: the frame's own convolution, (B, 4C, H, W), and afterwards the gates after their
            activation, unless nobody keeps them.
        of_h: the convolution of the state before, likewise, or None for a zero state.
        bias: (4C,), or None.
        peephole: (3, C, 1, 1) for i, f and o, or None.
        before: the cell state before, (B, C, H, W), or None for a zero state.
        c: for the cell state; may be before's memory.
        h: for the output.
        keeps_gates: whether gates are read afterwards.
    """
    if of_h is not None:
        gates += of_h
    if bias is not None:
        gates += bias[:, None, None]
    i, f, g, o = gates.chunk(4, 1)
    if peephole is not None and before is not None:
        i.addcmul_(peephole[0], before)
        f.addcmul_(peephole[1], before)
    written = i.sigmoid_() * g.tanh_()
    f.sigmoid_()
    c.copy_(written if before is None else written.addcmul_(f, before))
    if peephole is not None:
        o.addcmul_(peephole[2], c)
    h.copy_(o.sigmoid_() * c.tanh())


def go_back(
    d_output: Tensor,
    d_h: Tensor | None,
    d_c: Tensor,
    gates: Tensor,
    before: Tensor | None,
    c: Tensor,
    peephole: Tensor | None,
    d_gates: Tensor,
) -> None:
    """Turn a frame's gradients into those before it; d_c and d_gates are written to.

    Args:
        d_output: gradient of the output from outside, (B, C, H, W).
        d_h: from the frame after, likewise, or None.
        d_c: of the cell state after the frame, and afterwards of the one before it, (B, C, H, W);
            of a type of its own, since it is carried through all frames. Left undefined where
            before is None.
        gates: after their activation, (B, 4C, H, W).
        before: the cell state before the frame, (B, C, H, W), or None for zeros.
        c: the cell state after it.
        peephole: (3, C, 1, 1), or None.
        d_gates: for the gradients of the gates before their activation, (B, 4C, H, W).
    """
    i, f, g, o = gates.chunk(4, 1)
    d_i, d_f, d_g, d_o = d_gates.chunk(4, 1)
    d_h = d_output if d_h is None else d_output + d_h
    tanh_c = c.tanh()
    d_o.copy_(d_h * tanh_c * o * (1 - o))
    d_c += d_h * o * (1 - tanh_c * tanh_c)
    if peephole is not None:
        d_c += d_o * peephole[2]
    d_i.copy_(d_c * g * i * (1 - i))
    d_g.copy_(d_c * i * (1 - g * g))
    if before is None:
        d_f.zero_()
        return
    d_f.copy_(d_c * before * f * (1 - f))
    d_c *= f
    if peephole is not None:
        d_c += d_i * peephole[0] + d_f * peephole[1]
