"""A frame's gates, forward and backward, each in one kernel of Triton's.

By torch's own operations a frame is fifteen launches, which read and write all of the gates again
and again. What they compute is in `kernels_eager`, of the same interface; here sums are of float32
whatever the tensors' type, and of float64 where that is the type. All frames lie channels last: a
pixel's 4C gates are side by side, and a program reads stretches of C.

Axes: B batch, C channels, H height (px), W width (px). Gates are packed i, f, g, o in the channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024  # elements of a program, so that each of its 128 threads has wide loads


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
    """Do what `kernels_eager.advance` does."""
    size, sums = h.numel(), _type_of_sums(h)
    _advance[triton.cdiv(size, _BLOCK),](
        gates, of_h, bias, peephole, before, c, h, size, keeps_gates, sums, h.shape[1], _BLOCK
    )


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
    """Do what `kernels_eager.go_back` does."""
    size, sums = c.numel(), _type_of_sums(c)
    _go_back[triton.cdiv(size, _BLOCK),](
        d_output, d_h, d_c, gates, before, c, peephole, d_gates, size, sums, c.shape[1], _BLOCK
    )


def _type_of_sums(frame: Tensor) -> tl.dtype:
    return tl.float64 if frame.dtype == torch.float64 else tl.float32


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _advance(
    gates,  # (P, 4, C), where P counts pixels of all sequences
    of_h,
    bias,  # (4, C)
    peephole,  # (3, C)
    before,  # (P, C)
    c,
    h,
    size,  # P * C
    KEEPS: tl.constexpr,
    SUMS: tl.constexpr,
    C: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = n < size
    channel = n % C
    # Of i; the others are C, 2C and 3C further. So written, Triton finds what is side by side.
    at = n // C * (4 * C) + channel
    i = tl.load(gates + at, here, 0).to(SUMS)
    f = tl.load(gates + at + C, here, 0).to(SUMS)
    g = tl.load(gates + at + 2 * C, here, 0).to(SUMS)
    o = tl.load(gates + at + 3 * C, here, 0).to(SUMS)
    if of_h is not None:
        i += tl.load(of_h + at, here, 0).to(SUMS)
        f += tl.load(of_h + at + C, here, 0).to(SUMS)
        g += tl.load(of_h + at + 2 * C, here, 0).to(SUMS)
        o += tl.load(of_h + at + 3 * C, here, 0).to(SUMS)
    if bias is not None:
        i += tl.load(bias + channel, here, 0).to(SUMS)
        f += tl.load(bias + channel + C, here, 0).to(SUMS)
        g += tl.load(bias + channel + 2 * C, here, 0).to(SUMS)
        o += tl.load(bias + channel + 3 * C, here, 0).to(SUMS)
    if before is not None:
        old = tl.load(before + n, here, 0).to(SUMS)
        if peephole is not None:
            i += tl.load(peephole + channel, here, 0).to(SUMS) * old
            f += tl.load(peephole + channel + C, here, 0).to(SUMS) * old
    i = tl.sigmoid(i)
    f = tl.sigmoid(f)
    g = _tanh(g)
    new = i * g
    if before is not None:
        new += f * old
    new = new.to(c.dtype.element_ty)  # as the backward pass will see it
    tl.store(c + n, new, here)
    new = new.to(SUMS)
    if peephole is not None:
        o += tl.load(peephole + channel + 2 * C, here, 0).to(SUMS) * new
    o = tl.sigmoid(o)
    tl.store(h + n, (o * _tanh(new)).to(h.dtype.element_ty), here)
    if KEEPS:
        tl.store(gates + at, i.to(gates.dtype.element_ty), here)
        tl.store(gates + at + C, f.to(gates.dtype.element_ty), here)
        tl.store(gates + at + 2 * C, g.to(gates.dtype.element_ty), here)
        tl.store(gates + at + 3 * C, o.to(gates.dtype.element_ty), here)


@triton.jit
def _go_back(
    d_output,  # (P, C)
    d_h,
    d_c,
    gates,  # (P, 4, C)
    before,  # (P, C)
    c,
    peephole,  # (3, C)
    d_gates,  # (P, 4, C)
    size,  # P * C
    SUMS: tl.constexpr,
    C: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = n < size
    channel = n % C
    at = n // C * (4 * C) + channel
    i = tl.load(gates + at, here, 0).to(SUMS)
    f = tl.load(gates + at + C, here, 0).to(SUMS)
    g = tl.load(gates + at + 2 * C, here, 0).to(SUMS)
    o = tl.load(gates + at + 3 * C, here, 0).to(SUMS)
    of_output = tl.load(d_output + n, here, 0).to(SUMS)
    if d_h is not None:
        of_output += tl.load(d_h + n, here, 0).to(SUMS)
    tanh_c = _tanh(tl.load(c + n, here, 0).to(SUMS))
    d_o = of_output * tanh_c * o * (1 - o)
    of_c = tl.load(d_c + n, here, 0).to(SUMS) + of_output * o * (1 - tanh_c * tanh_c)
    if peephole is not None:
        of_c += d_o * tl.load(peephole + channel + 2 * C, here, 0).to(SUMS)
    d_i = of_c * g * i * (1 - i)
    d_g = of_c * i * (1 - g * g)
    d_f = tl.zeros_like(d_i)
    if before is not None:
        d_f = of_c * tl.load(before + n, here, 0).to(SUMS) * f * (1 - f)
        of_c *= f
        if peephole is not None:
            of_c += d_i * tl.load(peephole + channel, here, 0).to(SUMS)
            of_c += d_f * tl.load(peephole + channel + C, here, 0).to(SUMS)
        tl.store(d_c + n, of_c.to(d_c.dtype.element_ty), here)
    tl.store(d_gates + at, d_i.to(d_gates.dtype.element_ty), here)
    tl.store(d_gates + at + C, d_f.to(d_gates.dtype.element_ty), here)
    tl.store(d_gates + at + 2 * C, d_g.to(d_gates.dtype.element_ty), here)
    tl.store(d_gates + at + 3 * C, d_o.to(d_gates.dtype.element_ty), here)
