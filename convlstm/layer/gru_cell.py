"""The cell of a convolutional GRU: one step in time.

Axes: B batch, C channels, H height (px), W width (px). A state is h, (B, hidden_channels, H, W).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from convlstm.layer.cell_base import CellBase, PaddingMode, Sizes, describe, weight_of
from convlstm.layer.recurrence import PLAIN, Geometry, apart, convolve, in_one_type, repeat


class GRUWeights(NamedTuple):
    """What a cell has learnt.

    Attributes:
        gates: (3C, in + C, k, k), gates packed r, z, n; the input's channels come before h's.
            Or both `apart`.
        bias: (3C,), or None.
        reset_bias: (C,), of what r multiplies, or None.
    """

    gates: Tensor | tuple[Tensor, Tensor]
    bias: Tensor | None
    reset_bias: Tensor | None


def gru_step(
    x: Tensor, h: Tensor | None, weights: GRUWeights, geometry: Geometry = PLAIN
) -> Tensor:
    """Advance a state by one frame.

    Args:
        x: input frame, (B, in, H, W).
        h: (B, C, H, W); None means zeros.
        weights: the cell's.
        geometry: where its kernels look.

    Returns:
        The next h, same shape.
    """
    of_x, of_h = apart(weights.gates, x.shape[1])
    r, z, n = convolve(x, of_x, weights.bias, geometry, strides=True).chunk(3, dim=1)
    before = None  # what r lets through into n
    if h is not None:
        from_r, from_z, before = convolve(h, of_h, None, geometry).chunk(3, dim=1)
        r, z = r + from_r, z + from_z
    if weights.reset_bias is not None:
        bias = weights.reset_bias.view(-1, *[1] * (x.ndim - 2))
        before = bias if before is None else before + bias
    if before is not None:
        n = n + r.sigmoid() * before
    n, z = n.tanh(), z.sigmoid()
    return n - z * n if h is None else n + z * (h - n)


class ConvGRUCell(CellBase):
    """One step in time of a convolutional GRU.

    With * a convolution and . a product of elements, as in `nn.GRU`:

        r = sigmoid(Wxr * x + Whr * h + br)      n = tanh(Wxn * x + bn + r . (Whn * h + bhn))
        z = sigmoid(Wxz * x + Whz * h + bz)      h' = (1 - z) . n + z . h

    bhn is `reset_bias`; `nn.GRU` keeps two biases of r and of z, too, which act as their sum.

    Args:
        in_channels: channels of the input frame.
        hidden_channels: channels of h.
        kernel_size: side of the kernels in px, odd; or a tuple of one for each axis.
        bias: whether the gates have biases.
        stride: px from one place of the frame's kernels to the next, or one for each axis: the
            state is so many times smaller than the frame, rounded up.
        dilation: px from one of a kernel's pixels to the next, or one for each axis.
        padding_mode: what lies beyond the edges of frame and state, as in `nn.Conv2d`: "zeros",
            "circular" (what is at the other edge), "reflect" or "replicate".
        device: where the parameters are made.
        dtype: their type.

    Raises:
        ValueError: a size is not positive, a kernel is even, or there is no such padding mode.

    `gates` holds weights and is never called, as in `ConvLSTMCell`.

    Source: Ballas et al. 2016 (arXiv:1511.06432), with the reset gate behind the convolution, as in
    cuDNN and `nn.GRU`.
    """

    ndim = 2
    state_names = "h"
    gate_count = 3  # r, z, n, packed as in nn.GRU

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: Sizes = 3,
        *,
        bias: bool = True,
        stride: Sizes = 1,
        dilation: Sizes = 1,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            hidden_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            padding_mode=padding_mode,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        weights = torch.empty(hidden_channels, device=device, dtype=dtype)
        self.register_parameter("reset_bias", nn.Parameter(weights) if bias else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights: uniform within 1/sqrt(fan in), as `nn.Conv2d` and `nn.GRU` do."""
        super().reset_parameters(generator)
        if self.reset_bias is not None:
            bound = self.gates.weight[0].numel() ** -0.5
            self.reset_bias.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Advance the state by one frame.

        Args:
            x: input frame, (B, in_channels, H, W).
            state: previous h, (B, hidden_channels, H, W), with H and W divided by the stride and
                rounded up; None means zeros.

        Returns:
            The next h, of the state's shape; in (-1, 1) if the state was.

        Raises:
            ValueError: x or the state has another shape, or another type than the weights outside
                autocast; or x is too small for the padding.
        """
        self.check(x, state)
        return gru_step(*in_one_type(x, state, self.weights), self.geometry)

    @property
    def weights(self) -> GRUWeights:
        """The parameters, as `gru_step` takes them.

        Raises:
            RuntimeError: a hook of `gates`, which is never called, was to compute its weights.
        """
        return GRUWeights(weight_of(self.gates), self.gates.bias, self.reset_bias)

    def scanner(self, *, recompute: bool = False) -> Callable[..., tuple[Tensor, Tensor]]:
        """Return what reads sequences with this cell, frame by frame."""
        weights = self.weights

        def read(
            x: Tensor, state: Tensor | None, running: Tensor | None = None
        ) -> tuple[Tensor, Tensor]:
            x, state, cast = in_one_type(x, state, weights)
            cast = cast._replace(gates=apart(cast.gates, x.shape[2]))
            advance = partial(gru_step, weights=cast, geometry=self.geometry)
            return repeat(advance, x, state, running, recompute=recompute)

        return read

    def extra_repr(self) -> str:
        """Name the sizes, and every option that is not as it is by default."""
        return describe(ConvGRUCell, vars(self) | {"bias": self.gates.bias is not None})


class ConvGRU1dCell(ConvGRUCell):
    """A `ConvGRUCell` for frames in one dimension, (B, in_channels, L)."""

    ndim = 1


class ConvGRU3dCell(ConvGRUCell):
    """A `ConvGRUCell` for frames in three dimensions, (B, in_channels, D, H, W)."""

    ndim = 3
