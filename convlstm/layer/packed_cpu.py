"""A cell's weights on a CPU, made ready once for many scans, and their gradients added up once.

A rollout calls its layers frame by frame. Packed at each call, the weights would cost as much as
the convolutions of a small frame, and one gradient for each frame more than one for all.

Axes: B batch, C channels, H height (px), W width (px).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from convlstm.layer.kernels_cpu import Convolution, identity

# Bytes of gates, for each thread, that stay in its cache while they are worked on; gradients of
# weights take 1.6 times as long from beyond.
_PER_THREAD = 2**21
# Likewise for each byte of the weights: a convolution of less spends its time on reading those.
_PER_WEIGHT = 4


class Packed(NamedTuple):
    """The weights in the type to compute in, and apart what one convolution takes."""

    from_x: Convolution  # to the gates, (B, 4C, H, W)
    from_h: Convolution
    bias: Tensor | None  # (4C,)
    peephole: Tensor | None  # (3, C, 1, 1)
    identity: Tensor  # for `tanh`

    @classmethod
    def made(
        cls, dtype: torch.dtype, B: int, H: int, W: int, weights: Sequence[Tensor | None]
    ) -> "Packed":
        """Make weights, as in `recurrence.Weights`, ready for frames of a type and shape."""
        gates, bias, peephole = (None if w is None else w.detach().to(dtype) for w in weights)
        in_channels = gates.shape[1] - len(gates) // 4
        from_x = Convolution(gates[:, :in_channels], B, H, W)
        from_h = Convolution(gates[:, in_channels:], B, H, W)
        return cls(from_x, from_h, bias, peephole, identity(dtype))

    @property
    def portion(self) -> int:
        """Bytes of gates, or of their gradients, that are best worked on at once."""
        return max(_PER_THREAD * torch.get_num_threads(), _PER_WEIGHT * self.from_h.weight.nbytes)


class WeightGradients:
    """What scans add, in one backward pass, to the gradients of the weights that they share.

    Args:
        weights: gates, bias and peephole, as in `recurrence.Weights`.
    """

    def __init__(self, weights: Sequence[Tensor | None]) -> None:
        self._pending: list[tuple[Packed, Tensor, Tensor, Tensor | None]] = []  # as `add` is given
        self._weights = weights
        self._totals = [
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
        for other, _, _, other_h in self._pending[:1]:
            if other is not packed or (other_h is None) != (h is None):
                self._add_up()
        self._pending.append((packed, d_gates, x, h))
        if sum(d_gates.nbytes for _, d_gates, _, _ in self._pending) >= packed.portion:
            self._add_up()

    def add_peephole(self, gradient: Tensor) -> None:
        """Add to the gradient of the peephole, (3, C, 1, 1)."""
        self._totals[2].add_(gradient)

    def totals(self) -> list[Tensor | None]:
        """Return the gradients of gates, bias and peephole, in the weights' types."""
        self._add_up()
        pairs = zip(self._totals, self._weights, strict=True)
        return [None if total is None else total.to(weight.dtype) for total, weight in pairs]

    def _add_up(self) -> None:
        if not self._pending:
            return
        (packed, *_), d_gates, x, h = zip(*self._pending, strict=True)
        self._pending = []
        d_gates, x = joined(d_gates), joined(x)
        d_weight, d_bias, _ = self._totals
        found, found_bias = packed.from_x.weight_gradient(d_gates, x, wants_bias=d_bias is not None)
        d_weight[:, : x.shape[1]] += found
        if d_bias is not None:
            d_bias += found_bias
        if h[0] is not None:
            d_weight[:, x.shape[1] :] += packed.from_h.weight_gradient(d_gates, joined(h))[0]


def joined(frames: Sequence[Tensor]) -> Tensor:
    """Put frames one behind the other; a single piece is not copied."""
    return frames[0] if len(frames) == 1 else torch.cat(frames)
