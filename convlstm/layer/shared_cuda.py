"""A cell's weights on a GPU, made ready once for many scans, and their gradients found together.

A rollout calls its layers frame by frame: a gradient of the weights for each frame would be many
small convolutions, each with a copy of all the weights to add up.

Axes: T time (frames), B batch, C channels, H height (px), W width (px).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from convlstm.layer.kernels_cuda import gradients
from convlstm.layer.layout import channels_last, merged
from convlstm.layer.recurrence import apart
from convlstm.layer.shared_sums import Token


class Ready(NamedTuple):
    """The weights in the type to compute in, and apart what one convolution takes."""

    of_x: Tensor  # (4C, in, k, k), channels last
    of_h: Tensor  # (4C, C, k, k), likewise
    bias: Tensor | None  # (4C,)
    peephole: Tensor | None  # (3, C, 1, 1)

    @classmethod
    def made(
        cls, dtype: torch.dtype, in_channels: int, weights: Sequence[Tensor | None]
    ) -> "Ready":
        """Make copies of weights, as in `recurrence.Weights`: an optimiser may change those."""
        gates, *others = (None if w is None else w.detach() for w in weights)
        parts = map(channels_last, apart(gates.to(dtype), in_channels))
        return cls(*parts, *(None if w is None else w.to(dtype, copy=True) for w in others))


class Part(NamedTuple):
    """What a scan contributes to the gradients, all of one type."""

    ready: Ready  # what it was read with
    d_gates: Tensor  # gradients of the gates before their activation, (T, B, 4C, H, W)
    x: Tensor  # (T, B, in, H, W)
    hs: Tensor  # before the first frame and after every one, (T + 1, B, C, H, W)
    cs: Tensor  # likewise
    has_state: bool  # whether there is anything before the first


class WeightGradients:
    """What scans add, in one backward pass, to the gradients of the weights that they share.

    Args:
        weights: gates, bias and peephole, as in `recurrence.Weights`.
    """

    def __init__(self, weights: Sequence[Tensor | None]) -> None:
        self._weights = weights
        # Of frames: gradients of the gates, x, the h before; and the kernels that read both.
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._kernels: tuple[Tensor, Tensor] = ()
        self._totals = [
            None if w is None else torch.zeros_like(w, dtype=sums_of(w.dtype)) for w in weights
        ]

    def add(self, part: Part) -> None:
        """Note what a scan contributes; its tensors are not to be written to afterwards."""
        _, d_bias, d_peephole = self._totals
        if d_bias is not None:
            d_bias += merged(part.d_gates).sum((0, 2, 3), dtype=d_bias.dtype)
        if d_peephole is not None:
            d_peephole += _of_peephole(part, d_peephole.dtype)
        of_x, of_h = part.ready[:2]
        if part.has_state:
            frames = tuple(map(merged, (part.d_gates, part.x, part.hs[:-1])))
            if self._pending and not _go_together(self._pending[0], frames):
                self._add_up()
            self._pending.append(frames)
            self._kernels = of_x, of_h
            return
        self._add(merged(part.d_gates), (merged(part.x), of_x))
        if len(part.x) > 1:  # a zero state adds nothing
            self._add(merged(part.d_gates[1:]), h=(merged(part.hs[1:-1]), of_h))

    def totals(self) -> list[Tensor | None]:
        """Return the gradients of gates, bias and peephole, in the weights' types."""
        self._add_up()
        pairs = zip(self._totals, self._weights, strict=True)
        return [None if total is None else total.to(weight.dtype) for total, weight in pairs]

    def _add_up(self) -> None:
        if self._pending:
            d_gates, x, h = (
                frames[0] if len(frames) == 1 else channels_last(torch.cat(frames))
                for frames in zip(*self._pending, strict=True)
            )
            self._pending = []
            of_x, of_h = self._kernels
            self._add(d_gates, (x, of_x), (h, of_h))

    def _add(
        self,
        d_gates: Tensor,
        x: tuple[Tensor, Tensor] | None = None,
        h: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Add the gradients of the kernels that read these frames, each with its kernel."""
        of_h = self._weights[0].shape[0] // 4  # channels, the last ones
        for part, read in ((slice(None, -of_h), x), (slice(-of_h, None), h)):
            if read is not None:
                self._totals[0][:, part] += gradients(d_gates, *read, of_kernel=True)[1]


class OnceToken(Token):
    """A token of weights whose gradients have none, as those of a scan here."""

    backward = staticmethod(once_differentiable(Token.backward))


def sums_of(dtype: torch.dtype) -> torch.dtype:
    """Return the type to add up in what has this one."""
    return torch.promote_types(dtype, torch.float32)


def _go_together(one: Sequence[Tensor], two: Sequence[Tensor]) -> bool:
    pairs = zip(one, two, strict=True)
    return all((a.dtype, a.shape[1:]) == (b.dtype, b.shape[1:]) for a, b in pairs)


def _of_peephole(part: Part, dtype: torch.dtype) -> Tensor:
    """Return (3, C, 1, 1)."""
    d_i, d_f, _, d_o = part.d_gates.chunk(4, 2)
    first = 0 if part.has_state else 1
    before = part.cs[first:-1]
    pairs = (d_i[first:], before), (d_f[first:], before), (d_o, part.cs[1:])
    sums = [(d * seen).sum((0, 1, 3, 4), dtype=dtype) for d, seen in pairs]
    return torch.stack(sums)[:, :, None, None]
