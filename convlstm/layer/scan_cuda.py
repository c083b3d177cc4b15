"""The scan as a GPU likes it: few launches, each of which does much.

What it does is in `recurrence.step`, which it is tested against; this is how it is fast:

- Frames lie channels last, which is what tensor cores read.
- The input's convolution is one call for all frames.
- What is left of a frame is one convolution and one kernel, forward and backward.
- The weights' gradients are computed for all frames at once, those of several calls together.

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
from convlstm.layer.kernels_cuda import convolve, gradients
from convlstm.layer.layout import channels_last, empty_frames, merged
from convlstm.layer.recurrence import (
    PLAIN,
    Geometry,
    State,
    Weights,
    computed_in,
    in_one_type,
    reference_scan,
)
from convlstm.layer.shared_cuda import OnceToken, Part, Ready, WeightGradients, sums_of
from convlstm.layer.shared_sums import running

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

    It may be called several times, with one backward pass through all the calls. Its gradients have
    none, and it is for no transform of torch's.

    Args:
        weights: the cell's.
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
        self._ready: dict[torch.dtype, Ready] = {}
        self._token: Tensor | None = None

    def __call__(
        self, x: Tensor, state: State | None, running: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read frames as `reference_scan` does, in one type.

        Raises:
            ValueError: as in `computed_in`.
        """
        gates = x[0, :, :1].numel() * len(self._weights.gates)
        is_fast = self._geometry == PLAIN and not self._recompute and running is None
        if not is_fast or not 0 < gates < _MOST_ELEMENTS:
            x, state, weights = in_one_type(x, state, self._weights)
            options = {"recompute": self._recompute}
            return reference_scan(x, state, weights, self._geometry, running, **options)
        dtype = computed_in(x, state, self._weights)
        records = torch.is_grad_enabled()
        if records and self._token is None:
            self._token = OnceToken.apply(WeightGradients, *self._weights)
        if dtype not in self._ready:
            self._ready[dtype] = Ready.made(dtype, x.shape[2], self._weights)
        kernels = self._kernels or kernels_for(x.device.type)
        token, ready = self._token if records else None, self._ready[dtype]
        outputs, c = _Scan.apply(dtype, kernels, ready, token, x, *(state or (None, None)))
        return outputs, (outputs[-1], c)


class _Read(NamedTuple):
    """What the backward pass needs, in the type to compute in."""

    x: Tensor  # (T, B, in, H, W)
    hs: Tensor  # before the first frame and after every one, (T + 1, B, C, H, W)
    cs: Tensor  # likewise
    gates: Tensor  # after their activation, (T, B, 4C, H, W)


class _Scan(torch.autograd.Function):
    """Reads a sequence.

    From (dtype, kernels, ready, token, x, h, c) to (outputs, c): dtype is what to compute in, ready
    are the weights in it, and token gathers their gradients, or is None where none are recorded. x
    is (T, B, in, H, W); h and c are (B, C, H, W), or both None. outputs are (T, B, C, H, W).
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        dtype: torch.dtype,
        kernels: Kernels,
        ready: Ready,
        _: Tensor | None,
        *inputs: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Read the frames."""
        keeps, x = any(ctx.needs_input_grad), inputs[0]
        with torch.cuda.device_of(x):
            read = _read(dtype, kernels, ready, inputs, keeps=keeps)
        if keeps:
            ctx.kernels, ctx.ready, ctx.has_state = kernels, ready, inputs[1] is not None
            ctx.types = [None if t is None else t.dtype for t in inputs]
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*read)
        return read.hs[1:], read.cs[-1].clone()  # the backward pass needs it as it is

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_outputs: Tensor | None, d_c: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Go back through the frames."""
        if d_outputs is None and d_c is None:  # whoever read the results passed nothing back
            return (None,) * 7
        token = ctx.next_functions[0][0]  # None where no weight has a gradient
        wants_weights = token is not None and torch._C._will_engine_execute_node(token)
        read, d_token = _Read(*ctx.saved_tensors), None
        with torch.cuda.device_of(read.x):
            d_gates, d_h, d_c = _go_back(
                read, ctx.kernels, ctx.ready, (d_outputs, d_c), ctx.has_state
            )
            if wants_weights:
                running(token).add(Part(ctx.ready, d_gates, *read[:3], ctx.has_state))
                d_token = torch.empty((), device=read.x.device)
            d_x = None
            if ctx.needs_input_grad[4]:
                of_x, frames = ctx.ready.of_x, merged(read.x)
                d_x, _ = gradients(merged(d_gates), frames, of_x, of_input=True)
                d_x = channels_last(d_x).unflatten(0, read.x.shape[:2])
        pairs = zip((d_x, d_h, d_c), ctx.types, strict=True)
        found = (None if t is None or dtype is None else t.to(dtype) for t, dtype in pairs)
        return None, None, None, d_token, *found


def _read(
    dtype: torch.dtype,
    kernels: Kernels,
    ready: Ready,
    inputs: tuple[Tensor, Tensor | None, Tensor | None],
    *,
    keeps: bool,
) -> _Read:
    """Read the frames; where nothing is kept, of the cell states only the last is there."""
    x, h, c = inputs
    x = channels_last(x.to(dtype))
    (T, B), sides, C = x.shape[:2], x.shape[3:], ready.of_h.shape[1]
    # With no bias: that would be one more launch, over all of the gates.
    gates = channels_last(convolve(merged(x), ready.of_x)).unflatten(0, (T, B))
    hs = empty_frames(T + 1, B, C, *sides, x.dtype, x.device)
    cs = empty_frames(T + 1 if keeps else 1, B, C, *sides, x.dtype, x.device)
    if h is not None:
        hs[0].copy_(h)
        cs[0].copy_(c)
    for t in range(T):
        is_zero = h is None and t == 0
        of_h = None if is_zero else channels_last(convolve(hs[t], ready.of_h))
        before, after = (cs[t], cs[t + 1]) if keeps else (cs[0], cs[0])
        kernels.advance(
            gates[t],
            of_h,
            ready.bias,
            ready.peephole,
            None if is_zero else before,
            after,
            hs[t + 1],
            keeps_gates=keeps,
        )
    return _Read(x, hs, cs, gates)


def _go_back(
    read: _Read,
    kernels: Kernels,
    ready: Ready,
    d_results: tuple[Tensor | None, Tensor | None],
    has_state: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the gradients of the gates before their activation, and of the first h and c.

    Those of h and c are undefined where there is no first state.
    """
    x, hs, cs, gates = read
    d_outputs, d_c = d_results
    d_outputs = torch.zeros_like(hs[1:]) if d_outputs is None else channels_last(d_outputs)
    d_gates = empty_frames(*gates.shape, gates.dtype, gates.device)
    # It is carried through all frames, and so has more digits than they have.
    (carried,) = empty_frames(1, *cs.shape[1:], sums_of(cs.dtype), cs.device)
    carried = carried.zero_() if d_c is None else carried.copy_(d_c)
    d_h = None
    for t in reversed(range(len(x))):
        is_zero = t == 0 and not has_state
        before = None if is_zero else cs[t]
        kernels.go_back(
            d_outputs[t], d_h, carried, gates[t], before, cs[t + 1], ready.peephole, d_gates[t]
        )
        if not is_zero:
            d_h = channels_last(gradients(d_gates[t], hs[t], ready.of_h, of_input=True)[0])
    return d_gates, d_h, carried
