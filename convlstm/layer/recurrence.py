"""The recurrence itself, as functions of tensors: one step, and a scan over a sequence.

`step` says what a ConvLSTM computes, `reference_scan` repeats it, and a `scan_cpu.Scanner` takes
the fastest way to the same numbers. Axes: T time (frames), B batch, C channels, H height (px), W
width (px).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

State = tuple[Tensor, Tensor]


class Weights(NamedTuple):
    """What a cell has learnt.

    Attributes:
        gates: (4C, in + C, k, k), gates packed i, f, g, o; the input's channels come before h's.
        bias: (4C,), or None.
        peephole: (3, C, 1, 1) for i, f and o, or None.
    """

    gates: Tensor
    bias: Tensor | None
    peephole: Tensor | None


def _unchanged(part: str, values: Tensor) -> Tensor:
    return values


def step(
    x: Tensor,
    state: State | None,
    weights: Weights,
    change: Callable[[str, Tensor], Tensor] = _unchanged,
) -> State:
    """Advance a state by one frame.

    Args:
        x: input frame, (B, in, H, W).
        state: (h, c), each (B, C, H, W); None means zeros.
        weights: the cell's.
        change: sees "i", "f", "g", "c", "o" and "h" by name, in this order, each (B, C, H, W), and
            returns what takes its place.

    Returns:
        The next (h, c), same shapes.
    """
    in_channels, padding = x.shape[1], weights.gates.shape[-1] // 2
    # Two convolutions and their sum are one convolution of the concatenation, without the copy;
    # a zero state needs no convolution at all.
    gates = F.conv2d(x, weights.gates[:, :in_channels], weights.bias, padding=padding)
    if state is not None:
        h, c = state
        gates = gates + F.conv2d(h, weights.gates[:, in_channels:], padding=padding)
    i, f, g, o = gates.chunk(4, dim=1)
    if weights.peephole is not None and state is not None:
        i = i + weights.peephole[0] * c
        f = f + weights.peephole[1] * c
    i, f, g = change("i", i.sigmoid()), change("f", f.sigmoid()), change("g", g.tanh())
    c = change("c", i * g + (f * c if state is not None else 0))
    if weights.peephole is not None:
        o = o + weights.peephole[2] * c
    o = change("o", o.sigmoid())
    return change("h", o * c.tanh()), c


def repeat(
    advance: Callable[..., State], x: Tensor, state: State | None, *, recompute: bool = False
) -> tuple[Tensor, State]:
    """Read a sequence of frames, one after the other.

    Args:
        advance: reads one frame, (B, in, H, W), after a state, and returns the next state.
        x: frames, (T, B, in, H, W), T of 1 or more.
        state: (h, c), each (B, C, H, W); None means zeros.
        recompute: whether the backward pass computes each step again instead of keeping it.

    Returns:
        h after every frame, (T, B, C, H, W), and the last state.
    """
    if recompute and torch.is_grad_enabled():
        advance = partial(checkpoint, advance, use_reentrant=False, preserve_rng_state=False)
    outputs = []
    for frame in x.unbind():
        state = advance(frame, state)
        outputs.append(state[0])
    return torch.stack(outputs), state


def reference_scan(
    x: Tensor, state: State | None, weights: Weights, *, recompute: bool = False
) -> tuple[Tensor, State]:
    """Read a sequence of frames, one `step` after the other: `repeat`, with these weights."""
    return repeat(partial(step, weights=weights), x, state, recompute=recompute)


def computed_in(x: Tensor, state: State | None, weights: Weights) -> torch.dtype:
    """Return the type to compute in: the one that all tensors have, or else autocast's.

    Raises:
        ValueError: they have several types, and no autocast makes them one.
    """
    device = x.device.type
    is_cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)

    def of(tensor: Tensor) -> torch.dtype:
        # Autocast leaves float64 as it is, and integers are no numbers to compute gates with.
        casts = is_cast and tensor.is_floating_point() and tensor.dtype != torch.float64
        return torch.get_autocast_dtype(device) if casts else tensor.dtype

    h, c = state or (None, None)
    for name, tensor in zip(("h", "c", *Weights._fields), (h, c, *weights), strict=True):
        if tensor is not None and of(tensor) != of(x):
            raise ValueError(
                f"x has type {x.dtype} and {name} {tensor.dtype}: must be one type,"
                " or such as torch.autocast makes one."
            )
    return of(x)


def in_one_type(
    x: Tensor, state: State | None, weights: Weights
) -> tuple[Tensor, State | None, Weights]:
    """Return the same in the type to compute in.

    So the results have autocast's type under autocast, whatever the machine: without this a float32
    state or peephole would turn them into float32.

    Raises:
        ValueError: as in `computed_in`.
    """
    dtype = computed_in(x, state, weights)
    if state is not None:
        state = state[0].to(dtype), state[1].to(dtype)
    return x.to(dtype), state, Weights(*(None if w is None else w.to(dtype) for w in weights))
