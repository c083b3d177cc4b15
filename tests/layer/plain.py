"""Plain loops, written for these tests alone: no padding, convolution or step of torch or ours."""

import itertools
import math

import torch


def place(at: int, side: int, mode: str) -> int | None:
    """Which pixel of a side stands at a place, which may lie beyond it; None for zero."""
    if 0 <= at < side:
        return at
    if mode == "circular":
        return at % side
    if mode == "replicate":
        return 0 if at < 0 else side - 1
    if mode == "reflect":
        return -at if at < 0 else 2 * (side - 1) - at
    return None


def convolved(x, kernels, stride, dilation, mode):
    """(B, in, *sides) by (out, in, *kernel sides) to (B, out, *(sides / stride, rounded up))."""
    sides, kernel = x.shape[2:], kernels.shape[2:]
    total = 0
    for offset in itertools.product(*map(range, kernel)):
        seen = x
        for axis, (side, k, at, s, d) in enumerate(
            zip(sides, kernel, offset, stride, dilation, strict=True), 2
        ):
            places = [
                place(s * n + d * (at - k // 2), side, mode) for n in range(math.ceil(side / s))
            ]
            there = torch.tensor([each is not None for each in places], dtype=x.dtype)
            seen = seen.index_select(axis, torch.tensor([each or 0 for each in places]))
            seen = seen * there.view(-1, *[1] * (x.ndim - 1 - axis))
        total = total + torch.einsum("bi...,oi->bo...", seen, kernels[(..., *offset)])
    return total


def over_channels(bias, like):
    return bias.view(-1, *[1] * (like.ndim - 2))


def lstm(cell, x, h=None, c=None):
    """Every h, and the last (h, c), of frames (B, T, in, ...), as Shi et al. write it."""
    weight, n, outputs = cell.gates.weight, cell.in_channels, []
    stride, dilation, mode = cell.geometry
    ones = [1] * len(stride)
    for frame in x.unbind(1):
        gates = convolved(frame, weight[:, :n], stride, dilation, mode)
        if h is None:
            h = c = torch.zeros(len(x), cell.hidden_channels, *gates.shape[2:], dtype=x.dtype)
        gates = gates + convolved(h, weight[:, n:], ones, dilation, mode)
        if cell.gates.bias is not None:
            gates = gates + over_channels(cell.gates.bias, gates)
        i, f, g, o = gates.chunk(4, 1)
        pi, pf, po = (0, 0, 0) if cell.peephole is None else cell.peephole
        i, f = 1 / (1 + (-i - pi * c).exp()), 1 / (1 + (-f - pf * c).exp())
        c = f * c + i * g.tanh()
        h = c.tanh() / (1 + (-o - po * c).exp())
        outputs.append(h)
    return torch.stack(outputs, 1), (h, c)


def gru(cell, x, h=None):
    """Every h, and the last, of frames (B, T, in, ...), as `nn.GRU`'s documentation writes it."""
    weight, n, width, outputs = cell.gates.weight, cell.in_channels, cell.hidden_channels, []
    stride, dilation, mode = cell.geometry
    ones = [1] * len(stride)
    for frame in x.unbind(1):
        of_x = convolved(frame, weight[:, :n], stride, dilation, mode)
        if h is None:
            h = torch.zeros(len(x), width, *of_x.shape[2:], dtype=x.dtype)
        of_h = convolved(h, weight[:, n:], ones, dilation, mode)
        if cell.gates.bias is not None:
            none = torch.zeros(2 * width, dtype=x.dtype)
            of_x = of_x + over_channels(cell.gates.bias, of_x)
            of_h = of_h + over_channels(torch.cat([none, cell.reset_bias]), of_h)
        (xr, xz, xn), (hr, hz, hn) = of_x.chunk(3, 1), of_h.chunk(3, 1)
        r, z = 1 / (1 + (-xr - hr).exp()), 1 / (1 + (-xz - hz).exp())
        h = (1 - z) * (xn + r * hn).tanh() + z * h
        outputs.append(h)
    return torch.stack(outputs, 1), h


def read(cell, x, state=None):
    """Whichever of both the cell is."""
    if len(cell.state_names) == 1:
        return gru(cell, x, state)
    return lstm(cell, x, *(state or ()))
