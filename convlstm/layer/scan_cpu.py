"""The scan on a CPU as one node of autograd's graph, and the `Scanner` that takes it where it may.

Axes: T time (frames), B batch, C channels, H height (px), W width (px).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx

from convlstm.layer import kernels_cpu
from convlstm.layer.layout import channels_last
from convlstm.layer.packed_cpu import Packed, WeightGradients
from convlstm.layer.recurrence import (
    PLAIN,
    Geometry,
    State,
    Weights,
    computed_in,
    in_one_type,
    reference_scan,
)
from convlstm.layer.recurrence_cpu import Inputs, Read
from convlstm.layer.shared_sums import Token, running
from convlstm.layer.tiles_cpu import go_back_tiles, read_tiles, tile_sizes

Tensors = tuple[Tensor | None, ...]


class Scanner:
    """What `reference_scan` does, in the fastest way there is for these tensors.

    It may be called several times, with one backward pass through all the calls: a rollout calls
    frame by frame, and what can be shared between its calls is.

    Args:
        weights: the cell's; not to be changed before the backward pass.
        geometry: where its kernels look; the fast way is there for `PLAIN` and square kernels.
        recompute: whether the backward pass computes the gates again: two tensors are kept of a
            frame instead of seven (eight with peepholes), for a third more time.
    """

    def __init__(
        self, weights: Weights, geometry: Geometry = PLAIN, *, recompute: bool = False
    ) -> None:
        self._weights, self._geometry, self._recompute = weights, geometry, recompute
        self._has_fast_way = geometry == PLAIN and len(set(weights.gates.shape[2:])) == 1
        self._packed: dict[tuple, Packed] = {}  # by type and shape of the frames
        self._token: Tensor | None = None

    def __call__(
        self, x: Tensor, state: State | None, running: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read frames as `reference_scan` does, in one type.

        Raises:
            ValueError: as in `computed_in`.
        """
        dtype = computed_in(x, state, self._weights)
        h, c = state or (None, None)
        is_fast = self._has_fast_way and running is None
        if not (is_fast and is_supported(dtype, x, h, c, *self._weights)):
            x, state, weights = in_one_type(x, state, self._weights)
            geometry, recompute = self._geometry, self._recompute
            return reference_scan(x, state, weights, geometry, running, recompute=recompute)
        records = torch.is_grad_enabled()
        if records and self._token is None:
            self._token = Token.apply(WeightGradients, *self._weights)
        key = dtype, x.shape[1], *x.shape[3:]
        if key not in self._packed:
            self._packed[key] = Packed.made(*key, self._weights)
        token, packed = self._token if records else None, self._packed[key]
        tensors = x, h, c, *self._weights
        outputs, c = Scan.apply(dtype, self._recompute, packed, token, *tensors)
        return outputs, (outputs[-1], c)


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

    From (dtype, recompute, packed, token, x, h, c, gates, bias, peephole) to (outputs, c): dtype is
    what to compute in; with recompute the backward pass computes each frame's gates again instead
    of keeping them all; packed are the weights made ready, and token gathers their gradients, or is
    None where none are recorded. x is (T, B, in, H, W); h and c are (B, C, H, W), or both None; the
    weights are as in `recurrence.Weights`. outputs are (T, B, C, H, W).

    What a backward pass needs is saved as autograd's own functions save it: freed by the pass, seen
    by hooks on saved tensors, and an error if changed in between.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        dtype: torch.dtype,
        recompute: bool,
        packed: Packed,
        _: Tensor | None,
        *tensors: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Read the frames."""
        keeps = any(ctx.needs_input_grad)
        inputs = Inputs.made(dtype, *tensors[:3])
        _, B, _, H, W = inputs.x.shape
        sizes = tile_sizes(packed, B, H, W)
        reads, (outputs, c) = read_tiles(
            inputs,
            packed,
            sizes,
            keeps_cells=keeps and (recompute or packed.peephole is not None),
            keeps_partials=keeps and not recompute,
        )
        if keeps:
            ctx.dtype, ctx.packed, ctx.sizes = dtype, packed, sizes
            ctx.set_materialize_grads(False)
            kept = (tensor for read in reads for tensor in (*read.cells, *read.partials))
            ctx.save_for_backward(*tensors, outputs, *kept)
        return outputs, c

    @staticmethod
    def backward(ctx: FunctionCtx, d_outputs: Tensor | None, d_c: Tensor | None) -> Tensors:
        """Go back through the frames."""
        if d_outputs is None and d_c is None:  # whoever read the results passed nothing back
            return (None,) * 10
        tensors, outputs, reads = _unpacked(ctx.saved_tensors, ctx.sizes)
        is_batched = any(map(_is_batched, (d_outputs, d_c)))
        if torch.is_grad_enabled() or is_batched:  # the caller differentiates this again, or vmaps
            found = _differentiable(ctx.dtype, tensors, (d_outputs, d_c))
            return None, None, None, None, *found
        token = ctx.next_functions[0][0]  # None where no weight has a gradient
        wants_weights = token is not None and torch._C._will_engine_execute_node(token)
        inputs = Inputs.made(ctx.dtype, *tensors[:3])
        _, B, _, H, W = inputs.x.shape
        packed = ctx.packed or Packed.made(ctx.dtype, B, H, W, tensors[3:])
        # Like what is saved, the packed weights go with the first pass; a second, through a graph
        # that was kept, packs anew.
        ctx.packed = None
        found = go_back_tiles(
            inputs,
            packed,
            reads,
            torch.zeros_like(outputs) if d_outputs is None else channels_last(d_outputs),
            d_c,
            torch.empty_like(inputs.x) if ctx.needs_input_grad[4] else None,
            running(token) if wants_weights else None,
        )
        d_token = outputs.new_zeros((), dtype=torch.float32) if wants_weights else None
        d_inputs = (
            None if gradient is None or tensor is None else gradient.to(tensor.dtype)
            for gradient, tensor in zip(found, tensors[:3], strict=True)
        )
        return None, None, None, d_token, *d_inputs, None, None, None


def _is_batched(tensor: Tensor | None) -> bool:
    """Whether it stands for many, as in `torch.autograd.grad(..., is_grads_batched=True)`."""
    is_one = torch._C._functorch.is_batchedtensor, torch._C._functorch.is_legacy_batchedtensor
    return tensor is not None and any(is_kind(tensor) for is_kind in is_one)


def _unpacked(saved: Tensors, sizes: Sequence[int]) -> tuple[Tensors, Tensor, list[Read]]:
    """Return what was given to a scan (x, h, c and the weights), its outputs, and the tiles."""
    # Hooks on saved tensors give back the numbers, but not always the strides.
    tensors, (outputs, *kept) = saved[:6], map(channels_last, saved[6:])
    count, reads = len(kept) // len(sizes), []
    for n, part in enumerate(outputs.split(sizes, 1)):
        mine = kept[n * count : (n + 1) * count]
        cells, partials = ([t for t in mine if t.ndim == ndim] for ndim in (4, 5))
        reads.append(Read(part, cells, partials))
    return tensors, outputs, reads


def _differentiable(dtype: torch.dtype, tensors: Tensors, d_results: Tensors) -> Tensors:
    """Return the gradients of the tensors as `backward` does, by differentiable operations."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        # Aliases: a state from an earlier scan has a graph of its own, not to be walked here.
        tensors = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
        given = [tensor for tensor in tensors if tensor is not None and tensor.requires_grad]
        x, h, c, *weights = (None if t is None else t.to(dtype) for t in tensors)
        outputs, (_, c) = reference_scan(x, None if h is None else (h, c), Weights(*weights))
        pairs = zip((outputs, c), d_results, strict=True)
        ends, d_ends = zip(*((end, d) for end, d in pairs if d is not None), strict=True)
        options = {"create_graph": create_graph, "allow_unused": True}
        found = iter(torch.autograd.grad(ends, given, d_ends, **options))
    return tuple(next(found) if t is not None and t.requires_grad else None for t in tensors)
