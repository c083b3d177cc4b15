"""The recurrence itself, as functions of tensors: one step, and a scan over a sequence.

`step` says what a ConvLSTM computes, `reference_scan` repeats it, and a `scan_cpu.Scanner` takes
the fastest way to the same numbers. Axes: T time (frames), B batch, C channels, H height (px), W
width (px); in one dimension the last two are one, L, and in three D, H, W. With a stride s, frames
are H x W and states ceil(H / s) x ceil(W / s).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

State = tuple[Tensor, Tensor]
AnyState = State | Tensor  # of a ConvLSTM, or of a ConvGRU, which has h alone


class Weights(NamedTuple):
    """What a cell has learnt.

    Attributes:
        gates: (4C, in + C, k, k), gates packed i, f, g, o; the input's channels come before h's.
            Or both `apart`.
        bias: (4C,), or None.
        peephole: (3, C, 1, 1) for i, f and o, or None.
    """

    gates: Tensor | tuple[Tensor, Tensor]
    bias: Tensor | None
    peephole: Tensor | None


def apart(gates: Tensor | tuple[Tensor, Tensor], in_channels: int) -> tuple[Tensor, Tensor]:
    """Return the kernels of the input and those of h; once for many steps is enough."""
    if isinstance(gates, tuple):
        return gates
    of_x, of_h = gates.split([in_channels, gates.shape[1] - in_channels], 1)
    return of_x.contiguous(), of_h.contiguous()


class Geometry(NamedTuple):
    """Where a cell's kernels look, besides their sides.

    Attributes:
        stride: of the frame's kernels, px along each axis; the state's have 1.
        dilation: from one of a kernel's pixels to the next, px along each axis.
        padding_mode: what lies beyond the edges, as in `nn.Conv2d`.
    """

    stride: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    padding_mode: str = "zeros"

    def padding(self, sides: Sequence[int]) -> list[int]:
        """Return how far kernels of these sides reach beyond each edge, px."""
        return [each * (side // 2) for each, side in zip(self.dilation, sides, strict=True)]


PLAIN = Geometry()
_CONVOLUTIONS = F.conv1d, F.conv2d, F.conv3d


def convolve(
    x: Tensor, kernels: Tensor, bias: Tensor | None, geometry: Geometry, *, strides: bool = False
) -> Tensor:
    """Convolve x (B, in, H, W) with kernels (out, in, k, k); H and W stay, but for a stride."""
    sides = kernels.shape[2:]
    padding = geometry.padding(sides)
    if geometry.padding_mode != "zeros":
        x, padding = pad(x, padding, geometry.padding_mode), 0
    stride = geometry.stride if strides else 1
    convolution = _CONVOLUTIONS[len(sides) - 1]
    return convolution(x, kernels, bias, stride, padding, geometry.dilation)


def pad(x: Tensor, padding: Sequence[int], mode: str) -> Tensor:
    """Continue x (..., C, H, W) beyond its edges, by so many px at both ends of each axis."""
    if mode == "circular":  # F.pad copies into slices, whose gradients cost as much again
        for axis, each in enumerate(padding, x.ndim - len(padding)):
            if each:
                last, first = x.narrow(axis, x.shape[axis] - each, each), x.narrow(axis, 0, each)
                x = torch.cat([last, x, first], axis)
        return x
    around = [each for each in reversed(padding) for _ in range(2)]
    return F.pad(x, around, "constant" if mode == "zeros" else mode)


def _unchanged(part: str, values: Tensor) -> Tensor:
    return values


def step(
    x: Tensor,
    state: State | None,
    weights: Weights,
    geometry: Geometry = PLAIN,
    change: Callable[[str, Tensor], Tensor] = _unchanged,
) -> State:
    """Advance a state by one frame.

    Args:
        x: input frame, (B, in, H, W).
        state: (h, c), each (B, C, H, W); None means zeros.
        weights: the cell's.
        geometry: where its kernels look.
        change: sees "i", "f", "g", "c", "o" and "h" by name, in this order, each (B, C, H, W), and
            returns what takes its place.

    Returns:
        The next (h, c), same shapes.
    """
    # Two convolutions and their sum are one convolution of the concatenation, without the copy;
    # a zero state needs no convolution at all.
    of_x, of_h = apart(weights.gates, x.shape[1])
    gates = convolve(x, of_x, weights.bias, geometry, strides=True)
    return _advance(gates, state, of_h, weights.peephole, geometry, change)


def _advance(
    gates: Tensor,
    state: State | None,
    of_h: Tensor,
    peephole: Tensor | None,
    geometry: Geometry,
    change: Callable[[str, Tensor], Tensor] = _unchanged,
) -> State:
    """Advance a state by one frame of which only its convolution is left, (B, 4C, H, W)."""
    if state is not None:
        h, c = state
        gates = gates + convolve(h, of_h, None, geometry)
    i, f, g, o = gates.chunk(4, dim=1)
    if peephole is not None and state is not None:
        i = i + peephole[0] * c
        f = f + peephole[1] * c
    i, f, g = change("i", i.sigmoid()), change("f", f.sigmoid()), change("g", g.tanh())
    c = change("c", i * g + (f * c if state is not None else 0))
    if peephole is not None:
        o = o + peephole[2] * c
    o = change("o", o.sigmoid())
    return change("h", o * c.tanh()), c


def repeat(
    advance: Callable[..., AnyState],
    x: Tensor,
    state: AnyState | None,
    running: Tensor | None = None,
    *,
    recompute: bool = False,
) -> tuple[Tensor, AnyState]:
    """Read a sequence of frames, one after the other.

    Args:
        advance: reads one frame, (B, in, H, W), after a state, and returns the next state.
        x: frames, (T, B, in, H, W), T of 1 or more.
        state: (h, c), each (B, C, H, W), or such as advance takes; None means zeros.
        running: which frames a sequence has, (T, B) of bool; at others its state stays as it is.
            None for all.
        recompute: whether the backward pass computes each step again instead of keeping it.

    Returns:
        h after every frame, (T, B, C, H, W), zeros at those that a sequence does not have; and the
        last state.
    """
    if recompute and torch.is_grad_enabled():
        advance = partial(checkpoint, advance, use_reentrant=False, preserve_rng_state=False)
    outputs, here = [], None if running is None else over(running, x)
    for time, frame in enumerate(x.unbind()):
        after = advance(frame, state)
        state = after if here is None else _where(here[time], after, state)
        outputs.append(parts_of(state)[0])
    outputs = torch.stack(outputs)
    return outputs if here is None else torch.where(here, outputs, 0), state


def over(running: Tensor, frames: Tensor) -> Tensor:
    """Give (T, B) the axes that it needs to go with frames, (T, B, C, H, W)."""
    return running.reshape(*running.shape, *[1] * (frames.ndim - 2))


def parts_of(state: AnyState | None) -> tuple[Tensor, ...]:
    """Return the tensors of a state, h first; none of None."""
    if state is None:
        return ()
    return (state,) if isinstance(state, Tensor) else tuple(state)


def _where(here: Tensor, after: AnyState, before: AnyState | None) -> AnyState:
    """Return the state after a frame where one was read, and elsewhere the one before."""
    if isinstance(after, Tensor):
        return torch.where(here, after, 0 if before is None else before.to(after.dtype))
    return tuple(_where(here, *pair) for pair in zip(after, before or (None, None), strict=True))


def reference_scan(
    x: Tensor,
    state: State | None,
    weights: Weights,
    geometry: Geometry = PLAIN,
    running: Tensor | None = None,
    *,
    recompute: bool = False,
) -> tuple[Tensor, State]:
    """Read a sequence of frames, one `step` after the other: `repeat`, with these weights."""
    of_x, of_h = apart(weights.gates, x.shape[2])
    if recompute:  # which is there to keep less of a frame than its convolution
        weights = weights._replace(gates=(of_x, of_h))
        advance = partial(step, weights=weights, geometry=geometry)
        return repeat(advance, x, state, running, recompute=True)
    # All frames at once: a call each costs small ones more than the arithmetic.
    convolved = convolve(x.flatten(0, 1), of_x, weights.bias, geometry, strides=True)
    advance = partial(_advance, of_h=of_h, peephole=weights.peephole, geometry=geometry)
    return repeat(advance, convolved.unflatten(0, x.shape[:2]), state, running)


def computed_in(x: Tensor, state: AnyState | None, weights: NamedTuple) -> torch.dtype:
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

    named = [*zip("hc", parts_of(state), strict=False), *zip(weights._fields, weights, strict=True)]
    for name, tensor in named:
        if tensor is not None and of(tensor) != of(x):
            raise ValueError(
                f"x has type {x.dtype} and {name} {tensor.dtype}: must be one type,"
                " or such as torch.autocast makes one."
            )
    return of(x)


def in_one_type(
    x: Tensor, state: AnyState | None, weights: NamedTuple
) -> tuple[Tensor, AnyState | None, NamedTuple]:
    """Return the same in the type to compute in.

    So the results have autocast's type under autocast, whatever the machine: without this a float32
    state or peephole would turn them into float32.

    Raises:
        ValueError: as in `computed_in`.
    """
    dtype = computed_in(x, state, weights)
    if isinstance(state, Tensor):
        state = state.to(dtype)
    elif state is not None:
        state = state[0].to(dtype), state[1].to(dtype)
    cast = (None if w is None else w.to(dtype) for w in weights)
    return x.to(dtype), state, type(weights)(*cast)
