"""The cell: one step in time.

Axes: B batch, C channels, H height (px), W width (px). A state is (h, c), each
(B, hidden_channels, H, W).
"""

import math

import torch
from torch import Tensor, nn

from convlstm.layer.cell_base import CellBase, PaddingMode, Sizes, describe, weight_of
from convlstm.layer.recurrence import State, Weights, in_one_type, step
from convlstm.layer.scan_cpu import Scanner


class ConvLSTMCell(CellBase):
    """One step in time of a convolutional LSTM.

    With * a convolution and . a product of elements:

        i = sigmoid(Wxi * x + Whi * h + bi)      g = tanh(Wxg * x + Whg * h + bg)
        f = sigmoid(Wxf * x + Whf * h + bf)      c' = f . c + i . g
        o = sigmoid(Wxo * x + Who * h + bo)      h' = o . tanh(c')

    A peephole adds pi . c to i, pf . c to f and po . c' to o before the sigmoid.

    Args:
        in_channels: channels of the input frame.
        hidden_channels: channels of h and of c.
        kernel_size: side of the kernels in px, odd; or a tuple of one for each axis.
        bias: whether the gates have a bias.
        peephole: whether the gates see c, with one weight for each gate and channel.
        forget_bias: initial bias of the forget gate, 0 included; None leaves it as it is drawn,
            like the other biases. A number needs `bias`.
        stride: px from one place of the frame's kernels to the next, or one for each axis: the
            state is so many times smaller than the frame, rounded up.
        dilation: px from one of a kernel's pixels to the next, or one for each axis.
        padding_mode: what lies beyond the edges of frame and state, as in `nn.Conv2d`: "zeros",
            "circular" (what is at the other edge), "reflect" or "replicate".
        device: where the parameters are made.
        dtype: their type.

    Raises:
        ValueError: a size is not positive, a kernel is even, forget_bias has no bias, or there is
            no such padding mode.

    `gates` and `peephole` may be parametrized (`torch.nn.utils.parametrize`). `gates` holds weights
    and is never called, so hooks registered on it do not fire, and what rests on them, such as
    `torch.nn.utils.prune`, is refused; register hooks on the cell.

    Source: Shi et al. 2015 (arXiv:1506.04214); the peephole weighs channels, not pixels, so that
    one model runs at any H and W.
    """

    ndim = 2
    state_names = "hc"
    gate_count = 4  # i, f, g, o, packed as in nn.LSTM

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: Sizes = 3,
        *,
        bias: bool = True,
        peephole: bool = False,
        forget_bias: float | None = None,
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
        if forget_bias is not None and not bias:
            raise ValueError(f"forget_bias is {forget_bias}: must be None where bias is False.")
        self.forget_bias = forget_bias
        shape = 3, hidden_channels, *[1] * self.ndim  # of i, f and o
        weights = torch.empty(shape, device=device, dtype=dtype)
        self.register_parameter("peephole", nn.Parameter(weights) if peephole else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights: uniform within 1/sqrt(fan in), as `nn.Conv2d` and `nn.LSTM` do."""
        super().reset_parameters(generator)
        if self.gates.bias is not None and self.forget_bias is not None:
            self.gates.bias[self.hidden_channels : 2 * self.hidden_channels] = self.forget_bias
        if self.peephole is not None:
            bound = 1 / math.sqrt(self.hidden_channels)
            self.peephole.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """Advance the state by one frame.

        Args:
            x: input frame, (B, in_channels, H, W).
            state: previous (h, c), each (B, hidden_channels, H, W), with H and W divided by the
                stride and rounded up; None means zeros.

        Returns:
            The next (h, c), of the state's shape. h lies in (-1, 1); c is unbounded.

        Raises:
            ValueError: x or the state has another shape, or another type than the weights outside
                autocast; or x is too small for the padding.
        """
        self.check(x, state)
        return step(*in_one_type(x, state, self.weights), self.geometry)

    @property
    def weights(self) -> Weights:
        """The parameters, as the functions of `recurrence` take them.

        Raises:
            RuntimeError: a hook of `gates`, which is never called, was to compute its weights.
        """
        return Weights(weight_of(self.gates), self.gates.bias, self.peephole)

    def scanner(self, *, recompute: bool = False) -> Scanner:
        """Return what reads sequences with this cell in the fastest way there is."""
        return Scanner(self.weights, self.geometry, recompute=recompute)

    def extra_repr(self) -> str:
        """Name the sizes, and every option that is not as it is by default."""
        has = {"bias": self.gates.bias is not None, "peephole": self.peephole is not None}
        return describe(ConvLSTMCell, vars(self) | has)


class ConvLSTM1dCell(ConvLSTMCell):
    """A `ConvLSTMCell` for frames in one dimension, (B, in_channels, L)."""

    ndim = 1


class ConvLSTM3dCell(ConvLSTMCell):
    """A `ConvLSTMCell` for frames in three dimensions, (B, in_channels, D, H, W)."""

    ndim = 3
