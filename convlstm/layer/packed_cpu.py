"""A cell's weights on a CPU, made ready once for many scans, and their gradients added up once.

A rollout calls its layers frame by frame. Packed at each call, the weights would cost as much as
the convolutions of a small frame, and one gradient for each frame more than one for all.

Axes: B batch, C channels, H height (px), W width (px).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from convlstm.layer.kernels_cpu import Convolution

# Bytes of gate gradients that are turned into weight gradients at once. One convolution over many
# small frames is up to 1.5 times as fast as one for each; over more than a cache holds it is not.
TOGETHER = 2**22


class Packed(NamedTuple):
    """The weights in the type to compute in, and apart what one convolution takes."""

    from_x: Convolution  # to the gates, (B, 4C, H, W)
    from_h: Convolution
    bias: Tensor | None  # (4C,)
    peephole: Tensor | None  # (3, C, 1, 1)


class _Pending(NamedTuple):
    """What the weight gradients of some frames are made of, each (n, C or in or 4C, H, W)."""

    packed: Packed
    d_gates: Tensor
    x: Tensor
    h: Tensor | None  # before each frame; None where there was none


class WeightGradients:
    """What scans add, in one backward pass, to the gradients of the weights that they share.

    Args:
        weights: gates, bias and peephole, as in `recurrence.Weights`.
    """

    def __init__(self, weights: tuple[Tensor, Tensor | None, Tensor | None]) -> None:
        self._pending: list[_Pending] = []
        self._totals = [  # of gates, bias, peephole
            None if w is None else torch.zeros_like(w, dtype=torch.float32) for w in weights
        ]

    def add(self, packed: Packed, d_gates: Tensor, x: Tensor, h: Tensor | None) -> None:
        """Note what some frames contribute to the gradients.

        Args:
            packed: the weights that they were read with.
            d_gates: gradient of the gates before their activation, (n, 4C, H, W); not to be
                written to afterwards.
            x: the frames, (n, in, H, W).
            h: the outputs before them, (n, C, H, W), or None for zeros.
        """
        for entry in self._pending[:1]:
            if entry.packed is not packed or (entry.h is None) != (h is None):
                self._add_up()
        self._pending.append(_Pending(packed, d_gates, x, h))
        if sum(entry.d_gates.nbytes for entry in self._pending) >= TOGETHER:
            self._add_up()

    def add_peephole(self, gradient: Tensor) -> None:
        """Add to the gradient of the peephole, (3, C, 1, 1)."""
        self._totals[2].add_(gradient)

    def totals(self) -> list[Tensor | None]:
        """Return the gradients of gates, bias and peephole, in float32."""
        self._add_up()
        return self._totals

    def _add_up(self) -> None:
        if not self._pending:
            return
        entries, self._pending = self._pending, []
        d_gates = _joined([entry.d_gates for entry in entries])
        packed, (d_weight, d_bias, _) = entries[0].packed, self._totals
        x = _joined([entry.x for entry in entries])
        gradient, bias_gradient = packed.from_x.weight_gradient(
            d_gates, x, wants_bias=d_bias is not None
        )
        d_weight[:, : x.shape[1]] += gradient
        if d_bias is not None:
            d_bias += bias_gradient
        if entries[0].h is not None:
            h = _joined([entry.h for entry in entries])
            d_weight[:, x.shape[1] :] += packed.from_h.weight_gradient(d_gates, h)[0]


class Passes:
    """The sums of every backward pass that is under way, apart.

    One may begin inside another (`torch.utils.checkpoint` with reentry), and one that failed must
    leave nothing to the next.

    Args:
        weights: gates, bias and peephole, as in `recurrence.Weights`.
    """

    def __init__(self, weights: tuple[Tensor, Tensor | None, Tensor | None]) -> None:
        self._weights = weights
        self._sums: dict[int, WeightGradients] = {}

    def running(self) -> WeightGradients:
        """Return the sums of the pass that asks, at first zeros."""
        number = torch._C._current_graph_task_id()
        if number not in self._sums:
            self._sums[number] = WeightGradients(self._weights)
        return self._sums[number]

    def take(self) -> list[Tensor | None]:
        """Return the gradients that this pass has added up, and forget them."""
        totals = self.running().totals()
        del self._sums[torch._C._current_graph_task_id()]
        return totals


class PackedWeights:
    """Weights that several scans share.

    Args:
        gates: as in `recurrence.Weights`.
        bias: likewise.
        peephole: likewise.

    Attributes:
        passes: where the scans add to the weights' gradients.
    """

    def __init__(self, gates: Tensor, bias: Tensor | None, peephole: Tensor | None) -> None:
        self._weights = gates, bias, peephole
        self.passes = Passes(self._weights)
        self._packed: dict[tuple, Packed] = {}
        self._token: Tensor | None = None

    @property
    def token(self) -> Tensor | None:
        """What ties a scan to these weights in the graph: asked for its gradient, it gives theirs.

        None while no gradients are recorded.
        """
        if not torch.is_grad_enabled():
            return None
        if self._token is None:
            self._token = _Token.apply(self.passes, *self._weights)
        return self._token

    def packed(self, dtype: torch.dtype, B: int, H: int, W: int) -> Packed:
        """Return the weights for frames of a type and shape."""
        key = dtype, B, H, W
        if key not in self._packed:
            self._packed[key] = pack(*self._weights, dtype, B, H, W)
        return self._packed[key]


def pack(
    gates: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    dtype: torch.dtype,
    B: int,
    H: int,
    W: int,
) -> Packed:
    """Make weights, as in `recurrence.Weights`, ready for frames of a type and shape."""
    gates, bias, peephole = (
        None if w is None else w.detach().to(dtype) for w in (gates, bias, peephole)
    )
    in_channels = gates.shape[1] - len(gates) // 4
    return Packed(
        Convolution(gates[:, :in_channels], B, H, W),
        Convolution(gates[:, in_channels:], B, H, W),
        bias,
        peephole,
    )


class _Token(torch.autograd.Function):
    """Nothing in itself; its backward pass runs after those of all scans that were given it.

    It saves nothing, so that whoever acts on saved tensors, as `torch.utils.checkpoint` does, finds
    the same ones whether a scan is the first to ask for the token or not. The scans save the
    weights, and find out if they change in between.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, passes: Passes, *weights: Tensor | None
    ) -> Tensor:
        ctx.passes = passes  # and not what holds the token, or each would keep the other alive
        ctx.dtypes = [None if w is None else w.dtype for w in weights]
        return torch.empty((), device="cpu")

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, _: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients that the scans have added."""
        return None, *(
            None if dtype is None else gradient.to(dtype)
            for dtype, gradient in zip(ctx.dtypes, ctx.passes.take(), strict=True)
        )


def _joined(frames: list[Tensor]) -> Tensor:
    return frames[0] if len(frames) == 1 else torch.cat(frames)
