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
    """What scans add to the gradients of the weights that they share.

    Args:
        weights: gates, bias and peephole, as in `recurrence.Weights`.
    """

    def __init__(self, weights: tuple[Tensor, Tensor | None, Tensor | None]) -> None:
        self._weights = weights
        self._pending: list[_Pending] = []
        self._totals: list[Tensor | None] = []  # of gates, bias, peephole, in float32
        self._pass: int | None = None

    def add(self, packed: Packed, d_gates: Tensor, x: Tensor, h: Tensor | None) -> None:
        """Note what some frames contribute to the gradients.

        Args:
            packed: the weights that they were read with.
            d_gates: gradient of the gates before their activation, (n, 4C, H, W); not to be
                written to afterwards.
            x: the frames, (n, in, H, W).
            h: the outputs before them, (n, C, H, W), or None for zeros.
        """
        self._begin()
        for entry in self._pending[:1]:
            if entry.packed is not packed or (entry.h is None) != (h is None):
                self._add_up()
        self._pending.append(_Pending(packed, d_gates, x, h))
        if sum(entry.d_gates.nbytes for entry in self._pending) >= TOGETHER:
            self._add_up()

    def add_peephole(self, gradient: Tensor) -> None:
        """Add to the gradient of the peephole, (3, C, 1, 1)."""
        self._begin()
        self._totals[2].add_(gradient)

    def take(self) -> list[Tensor | None]:
        """Return what was added since this backward pass began, and forget it."""
        self._begin()
        self._add_up()
        totals, self._totals, self._pass = self._totals, [], None
        return totals

    def _begin(self) -> None:
        """Start from zeros in another backward pass; the last may have left something unasked."""
        running = torch._C._current_graph_task_id()
        if self._pass != running:
            self._pass, self._pending = running, []
            self._totals = [
                None if w is None else torch.zeros_like(w, dtype=torch.float32)
                for w in self._weights
            ]

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


class PackedWeights:
    """Weights that several scans share.

    Args:
        gates: as in `recurrence.Weights`.
        bias: likewise.
        peephole: likewise.

    Attributes:
        sums: where the scans add to the weights' gradients.
    """

    def __init__(self, gates: Tensor, bias: Tensor | None, peephole: Tensor | None) -> None:
        self._weights = gates, bias, peephole
        self.sums = WeightGradients(self._weights)
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
            self._token = _Token.apply(self.sums, *self._weights)
        return self._token

    def packed(self, dtype: torch.dtype, B: int, H: int, W: int) -> Packed:
        """Return the weights for frames of a type and shape."""
        key = dtype, B, H, W
        if key not in self._packed:
            gates, bias, peephole = (
                None if w is None else w.detach().to(dtype) for w in self._weights
            )
            in_channels = gates.shape[1] - len(gates) // 4
            self._packed[key] = Packed(
                Convolution(gates[:, :in_channels], B, H, W),
                Convolution(gates[:, in_channels:], B, H, W),
                bias,
                peephole,
            )
        return self._packed[key]


class _Token(torch.autograd.Function):
    """Nothing in itself; its backward pass runs after those of all scans that were given it."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        sums: WeightGradients,
        gates: Tensor,
        bias: Tensor | None,
        peephole: Tensor | None,
    ) -> Tensor:
        ctx.sums = sums  # and not what holds the token, or each would keep the other alive
        ctx.save_for_backward(gates, bias, peephole)  # so that a change in between is an error
        return torch.empty(())

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, _: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients that the scans have added."""
        weights = ctx.saved_tensors
        return None, *(
            None if weight is None else gradient.to(weight.dtype)
            for weight, gradient in zip(weights, ctx.sums.take(), strict=True)
        )


def _joined(frames: list[Tensor]) -> Tensor:
    return frames[0] if len(frames) == 1 else torch.cat(frames)
