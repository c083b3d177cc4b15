"""The scan as a GPU likes it: few launches, each of which does much.

What it does is in `recurrence.step`, which it is tested against; this is how it is fast:

- Frames lie channels last, which is what tensor cores read.
- The input's convolution is one call for all frames.
- What is left of a frame is one convolution and one kernel, forward and backward.
- The weights' gradients are computed for all frames at once.

No cell calls it yet: a GPU has not said that it wins. The benchmark has it as a contestant. Axes: T
time (frames), B batch, C channels, H height (px), W width (px). Tensors of frames have these axes
in this order, and memory in the order (T, B, H, W, C).
"""

import functools
import importlib.util
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from convlstm.layer import kernels_eager
from convlstm.layer.kernels_cpu import channels_last
from convlstm.layer.recurrence import (
    PLAIN,
    Geometry,
    State,
    Weights,
    apart,
    computed_in,
    in_one_type,
    reference_scan,
)

_MOST_ELEMENTS = 2**31  # of a frame's gates: kernels count in 32 bits


class Kernels(Protocol):
    """A frame's gates; what the calls take is said in `kernels_eager`."""

    def advance(self, gates: Tensor, *others: Tensor | None, keeps_gates: bool) -> None:
        """Turn a frame's convolutions into its state."""

    def go_back(self, d_output: Tensor, *others: Tensor | None) -> None:
        """Turn a frame's gradients into those before it."""


def has_triton() -> bool:
    """Whether Triton, which comes with PyTorch's CUDA builds on Linux, is installed."""
    return importlib.util.find_spec("triton") is not None


@functools.cache
def kernels_for(device_type: str) -> Kernels:
    """Return the kernels for a kind of device: Triton's on a GPU that has it."""
    if device_type != "cuda" or not has_triton():
        return kernels_eager
    from convlstm.layer import kernels_triton  # a second to import

    return kernels_triton


class CudaScanner:
    """What `reference_scan` does, for a GPU; as `scan_cpu.Scanner` on a CPU.

    Its gradients have none, and it is for no transform of torch's.

    Args:
        weights: the cell's; not to be changed before the backward pass.
        geometry: where its kernels look; others than `PLAIN` take the reference.
        recompute: whether the backward pass computes the gates again; then the reference does.
        kernels: of the gates; None for the fastest that are there.
    """

    def __init__(
        self,
        weights: Weights,
        geometry: Geometry = PLAIN,
        *,
        recompute: bool = False,
        kernels: Kernels | None = None,
    ) -> None:
        self._weights, self._geometry, self._recompute = weights, geometry, recompute
        self._kernels = kernels

    def __call__(
        self, x: Tensor, state: State | None, running: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read frames as `reference_scan` does, in one type.

        Raises:
            ValueError: as in `computed_in`.
        """
        gates = 4 * x[0, :, :1].numel() * (len(self._weights.gates) // 4)
        is_fast = self._geometry == PLAIN and not self._recompute and running is None
        if not is_fast or not 0 < gates < _MOST_ELEMENTS:
            x, state, weights = in_one_type(x, state, self._weights)
            options = {"recompute": self._recompute}
            return reference_scan(x, state, weights, self._geometry, running, **options)
        dtype = computed_in(x, state, self._weights)
        kernels = self._kernels or kernels_for(x.device.type)
        outputs, c = _Scan.apply(dtype, kernels, x, *(state or (None, None)), *self._weights)
        return outputs, (outputs[-1], c)


class _Read(NamedTuple):
    """What the backward pass needs, in the type to compute in; all of it saved."""

    x: Tensor  # (T, B, in, H, W)
    hs: Tensor  # before the first frame and after every one, (T + 1, B, C, H, W)
    cs: Tensor  # likewise
    gates: Tensor  # after their activation, (T, B, 4C, H, W)
    of_x: Tensor  # (4C, in, k, k)
    of_h: Tensor  # (4C, C, k, k)
    peephole: Tensor | None  # (3, C, 1, 1)


class _Scan(torch.autograd.Function):
    """Reads a sequence.

    From (dtype, kernels, x, h, c, gates, bias, peephole) to (outputs, c): dtype is what to compute
    in; x is (T, B, in, H, W); h and c are (B, C, H, W), or both None; the weights are as in
    `recurrence.Weights`. outputs are (T, B, C, H, W).
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        dtype: torch.dtype,
        kernels: Kernels,
        x: Tensor,
        h: Tensor | None,
        c: Tensor | None,
        *weights: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Read the frames."""
        keeps = any(ctx.needs_input_grad)
        with torch.cuda.device_of(x):
            read = _read(dtype, kernels, (x, h, c), weights, keeps=keeps)
        outputs = read.hs[1:]
        if keeps:
            ctx.kernels, ctx.has_state = kernels, h is not None
            ctx.types = [None if t is None else t.dtype for t in (x, h, c, *weights)]
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*read)
        return outputs, read.cs[-1].clone()  # the backward pass needs it as it is

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_outputs: Tensor | None, d_c: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Go back through the frames."""
        if d_outputs is None and d_c is None:  # whoever read the results passed nothing back
            return (None,) * 8
        read, wanted = _Read(*ctx.saved_tensors), ctx.needs_input_grad[2:]
        with torch.cuda.device_of(read.x):
            found = _go_back(read, ctx.kernels, d_outputs, d_c, ctx.has_state, wanted)
        pairs = zip(found, ctx.types, strict=True)
        return None, None, *(None if t is None else t.to(dtype) for t, dtype in pairs)


def _read(
    dtype: torch.dtype,
    kernels: Kernels,
    inputs: tuple[Tensor, Tensor | None, Tensor | None],
    weights: tuple[Tensor | None, ...],
    *,
    keeps: bool,
) -> _Read:
    """Read the frames; unless gates and cell states are kept, only the last of these is there."""
    x, h, c = (None if t is None else t.to(dtype) for t in inputs)
    gates, bias, peephole = (None if w is None else w.detach().to(dtype) for w in weights)
    (T, B), C = x.shape[:2], len(gates) // 4
    x = channels_last(x)
    of_x, of_h = (channels_last(kernel) for kernel in apart(gates, x.shape[2]))
    # With no bias: that would be one more launch, over all of the gates.
    gates = channels_last(_convolve(_merged(x), of_x)).unflatten(0, (T, B))
    hs = _empty(T + 1, B, C, *x.shape[3:], like=x)
    cs = _empty(T + 1 if keeps else 1, B, C, *x.shape[3:], like=x)
    if h is not None:
        hs[0].copy_(h)
        cs[0].copy_(c)
    for t in range(T):
        is_first = h is None and t == 0
        convolved = None if is_first else channels_last(_convolve(hs[t], of_h))
        before, after = (cs[t], cs[t + 1]) if keeps else (cs[0], cs[0])
        kernels.advance(
            gates[t],
            convolved,
            bias,
            peephole,
            None if is_first else before,
            after,
            hs[t + 1],
            keeps_gates=keeps,
        )
    return _Read(x, hs, cs, gates, of_x, of_h, peephole)


def _go_back(
    read: _Read,
    kernels: Kernels,
    d_outputs: Tensor | None,
    d_c: Tensor | None,
    has_state: bool,
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    """Return the gradients of x, h, c, gates, bias and peephole, those that are wanted."""
    x, hs, cs, gates, of_x, of_h, peephole = read
    outputs = hs[1:]
    d_outputs = torch.zeros_like(outputs) if d_outputs is None else channels_last(d_outputs)
    d_gates = _empty(*gates.shape, like=gates)
    # Carried through all frames, and so of more digits than they have.
    carried = _empty(1, *cs.shape[1:], like=cs, dtype=torch.promote_types(x.dtype, torch.float32))
    carried = carried[0].zero_() if d_c is None else carried[0].copy_(d_c)
    d_h = None
    for t in reversed(range(len(x))):
        is_first = t == 0 and not has_state
        before = None if is_first else cs[t]
        kernels.go_back(
            d_outputs[t], d_h, carried, gates[t], before, cs[t + 1], peephole, d_gates[t]
        )
        if t or (has_state and wanted[1]):
            d_h = channels_last(_gradients(d_gates[t], hs[t], of_h, of_input=True)[0])
    merged = _merged(d_gates)
    d_x, d_of_x = _gradients(merged, _merged(x), of_x, of_input=wanted[0], of_weight=wanted[3])
    d_weight = d_bias = d_peephole = None
    first = 0 if has_state else 1  # a zero state adds nothing to any weight's gradient
    if wanted[3]:
        d_of_h = torch.zeros_like(of_h)
        if len(x) > first:
            earlier, later = _merged(hs[first:-1]), _merged(d_gates[first:])
            _, d_of_h = _gradients(later, earlier, of_h, of_weight=True)
        d_weight = torch.cat((d_of_x, d_of_h), 1)
    if wanted[4]:
        d_bias = merged.sum((0, 2, 3), dtype=carried.dtype)
    if wanted[5]:
        d_i, d_f, _, d_o = d_gates.chunk(4, 2)
        pairs = (d_i[first:], cs[first:-1]), (d_f[first:], cs[first:-1]), (d_o, cs[1:])
        sums = [(d * seen).sum((0, 1, 3, 4), dtype=carried.dtype) for d, seen in pairs]
        d_peephole = torch.stack(sums)[:, :, None, None]
    d_x = None if d_x is None else d_x.unflatten(0, x.shape[:2])
    has_gradients = has_state and wanted[1], has_state and wanted[2]
    d_h, d_c = (d if has else None for d, has in zip((d_h, carried), has_gradients, strict=True))
    return [d_x, d_h, d_c, d_weight, d_bias, d_peephole]


def _empty(*shape: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Make frames (T, B, C, H, W) with nothing in them, channels last."""
    T, B, C, H, W = shape
    frames = torch.empty(T, B, H, W, C, dtype=dtype or like.dtype, device=like.device)
    return frames.permute(0, 1, 4, 2, 3)


def _merged(frames: Tensor) -> Tensor:
    """(T, B, C, H, W) to (T * B, C, H, W), without a copy, and channels last to whoever asks."""
    T, B, C, H, W = frames.shape
    return frames.as_strided((T * B, C, H, W), (C * H * W, 1, W * C, C))


def _padding(kernel: Tensor) -> list[int]:
    return [side // 2 for side in kernel.shape[2:]]


def _convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve x (B, in, H, W) with a kernel (out, in, k, k)."""
    return torch.conv2d(x, kernel, padding=_padding(kernel))


def _gradients(
    d_output: Tensor,
    x: Tensor,
    kernel: Tensor,
    *,
    of_input: bool = False,
    of_weight: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Return a convolution's gradients, of its input and of its kernel, as far as asked for."""
    if not (of_input or of_weight):
        return None, None
    asked = [of_input, of_weight, False]
    settings = [1, 1], _padding(kernel), [1, 1], False, [0, 0], 1, asked
    return torch.ops.aten.convolution_backward(d_output, x, kernel, None, *settings)[:2]
