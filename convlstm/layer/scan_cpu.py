"""The scan on a CPU as one node of autograd's graph, and when it may be taken.

Axes: T time (frames), B batch, C channels, H height (px), W width (px).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx

from convlstm.layer import kernels_cpu
from convlstm.layer.kernels_cpu import channels_last, empty_frames
from convlstm.layer.packed_cpu import PackedWeights, pack
from convlstm.layer.recurrence_cpu import Inputs, Read, Step, go_back, read_frames

Gradients = tuple[Tensor | None, ...]


def is_supported(dtype: torch.dtype, x: Tensor, *others: Tensor | None) -> bool:
    """Whether a scan of x (T, B, in, H, W) with these others, computed in dtype, can be done here.

    Not while the operations themselves are looked at: the reference is made of ones that every
    transform and every tensor that is more than its numbers knows.
    """
    return (
        not torch.compiler.is_compiling()  # or exported; first, for the compiler reads no further
        and not torch.jit.is_tracing()
        and torch._C._functorch.maybe_current_level() is None  # vmap, jvp and their like
        and torch._C._len_torch_dispatch_stack() == 0  # FLOP counters, fake tensors and their like
        and forward_ad._current_level < 0
        and x.numel() > 0
        and all(t is None or (t.is_cpu and type(t) in (Tensor, nn.Parameter)) for t in (x, *others))
        and kernels_cpu.is_supported(dtype)
    )


class Scan(torch.autograd.Function):
    """Reads a sequence.

    From (again, dtype, recompute, shared, token, x, h, c, gates, bias, peephole) to (outputs, c):
    `again` is the same function by differentiable operations, for gradients of gradients; dtype is
    what to compute in; with recompute the backward pass computes each frame's gates again instead
    of keeping them all; shared holds the weights and gathers their gradients, and token is its
    token. x is (T, B, in, H, W); h and c are (B, C, H, W), or both None; the weights are as in
    `recurrence.Weights`. outputs are (T, B, C, H, W).

    What a backward pass needs is saved as autograd's own functions save it: freed by the pass, seen
    by hooks on saved tensors, and an error if changed in between.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        again: Callable,
        dtype: torch.dtype,
        recompute: bool,
        shared: PackedWeights,
        token: Tensor | None,
        *tensors: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Read the frames."""
        keeps = any(ctx.needs_input_grad)
        inputs = Inputs.made(dtype, *tensors[:3])
        _, B, _, H, W = inputs.x.shape
        packed = shared.packed(dtype, B, H, W)
        read = read_frames(inputs, packed, keeps_cells=keeps, keeps_steps=keeps and not recompute)
        if keeps:
            ctx.again, ctx.dtype, ctx.passes, ctx.packed = again, dtype, shared.passes, packed
            ctx.set_materialize_grads(False)
            kept = (*read.cells, *(tensor for step in read.steps for tensor in step))
            ctx.save_for_backward(*tensors, read.outputs, *kept)
        return read.outputs, read.cells[-1].clone()  # the backward pass needs it as it is

    @staticmethod
    def backward(ctx: FunctionCtx, d_outputs: Tensor | None, d_c: Tensor | None) -> Gradients:
        """Go back through the frames."""
        if d_outputs is None and d_c is None:  # whoever read the results passed nothing back
            return (None,) * 11
        tensors, read = _unpacked(ctx.saved_tensors)
        is_batched = any(map(_is_batched, (d_outputs, d_c)))
        if torch.is_grad_enabled() or is_batched:  # the caller differentiates this again, or vmaps
            found = _differentiable(ctx.again, ctx.dtype, tensors, d_outputs, d_c)
            return None, None, None, None, None, *found
        token = ctx.next_functions[0][0]  # None where no weight has a gradient
        wants_weights = token is not None and torch._C._will_engine_execute_node(token)
        inputs = Inputs.made(ctx.dtype, *tensors[:3])
        T, B, in_channels, H, W = inputs.x.shape
        packed = ctx.packed or pack(*tensors[3:], ctx.dtype, B, H, W)
        # Like what is saved, the packed weights go with the first pass; a second, through a graph
        # that was kept, packs anew.
        ctx.packed = None
        found = go_back(
            inputs,
            packed,
            read,
            torch.zeros_like(read.outputs) if d_outputs is None else channels_last(d_outputs),
            d_c,
            empty_frames(T, B, in_channels, H, W, ctx.dtype) if ctx.needs_input_grad[5] else None,
            ctx.passes.running() if wants_weights else None,
        )
        d_token = read.outputs.new_zeros((), dtype=torch.float32) if wants_weights else None
        d_inputs = (
            None if gradient is None or tensor is None else gradient.to(tensor.dtype)
            for gradient, tensor in zip(found, tensors[:3], strict=True)
        )
        return None, None, None, None, d_token, *d_inputs, None, None, None


def _is_batched(tensor: Tensor | None) -> bool:
    """Whether it stands for many, as in `torch.autograd.grad(..., is_grads_batched=True)`."""
    is_one = torch._C._functorch.is_batchedtensor, torch._C._functorch.is_legacy_batchedtensor
    return tensor is not None and any(is_kind(tensor) for is_kind in is_one)


def _unpacked(saved: tuple[Tensor | None, ...]) -> tuple[tuple[Tensor | None, ...], Read]:
    """Return what was given to a scan (x, h, c and the weights), and what it has kept."""
    # Hooks on saved tensors give back the numbers, but not always the strides.
    tensors, (outputs, *kept) = saved[:6], map(channels_last, saved[6:])
    cells, parts = kept[: len(outputs)], kept[len(outputs) :]
    steps = [Step(*step) for step in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]
    return tensors, Read(outputs, cells, steps)


def _differentiable(
    again: Callable,
    dtype: torch.dtype,
    tensors: tuple[Tensor | None, ...],
    d_outputs: Tensor | None,
    d_c: Tensor | None,
) -> list[Tensor | None]:
    """Return the gradients as `backward` does, by operations that can be differentiated."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        # Aliases: a state from an earlier scan has a graph of its own, not to be walked here.
        tensors = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
        given = [tensor for tensor in tensors if tensor is not None and tensor.requires_grad]
        results = again(*(None if tensor is None else tensor.to(dtype) for tensor in tensors))
        gradients = (d_outputs, d_c)
        pairs = [pair for pair in zip(results, gradients, strict=True) if pair[1] is not None]
        ends, weights = zip(*pairs, strict=True)
        found = iter(
            torch.autograd.grad(ends, given, weights, create_graph=create_graph, allow_unused=True)
        )
    return [next(found) if t is not None and t.requires_grad else None for t in tensors]
