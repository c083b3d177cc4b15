"""The convolutional LSTM as a layer, used like `nn.LSTM`.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). A state is (h, c), each
(B, hidden_channels, H, W); a list with one state for each layer and direction is `states`.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch

from convlstm.layer.cell import ConvLSTM1dCell, ConvLSTM3dCell, ConvLSTMCell
from convlstm.layer.cell_base import PaddingMode, describe
from convlstm.layer.layer_base import LayerBase, PerLayer


class ConvLSTM(LayerBase):
    """A stack of convolutional LSTM layers over a sequence of frames, used like `nn.LSTM`.

    Args:
        in_channels: channels of each frame.
        hidden_channels: channels of every layer's state, or one number for each layer.
        kernel_size: side of the kernels in px, odd; or a list with an entry for each layer, in
            which a tuple has a side for each axis, [3, (3, 5)]. Of a single layer such a tuple
            needs no list, (3, 5).
        num_layers: number of layers.
        bias: whether the gates have a bias.
        batch_first: True for (B, T, C, H, W), False for (T, B, C, H, W).
        bidirectional: whether a second cell in each layer reads the frames backwards; the outputs
            of both stand side by side in the channels.
        dropout: probability in [0, 1) of zeroing each element between layers, while training.
        peephole: whether the gates see the cell state.
        forget_bias: initial bias of the forget gates, 0 included; None leaves it as it is drawn.
        residual: whether every layer after the first adds its input to its output.
        recompute: whether training computes the gates again in the backward pass: two tensors are
            kept of a frame instead of seven (eight with peepholes), for a third more time and the
            same numbers.
        stride: px from one place of the kernels that read a layer's input to the next; its state
            and output are so many times smaller, rounded up. Given as kernel_size is.
        dilation: px from one of a kernel's pixels to the next, of input and state. Given likewise.
        padding_mode: what lies beyond the edges of input and state, as in `nn.Conv2d`: "zeros",
            "circular" (what is at the other edge), "reflect" or "replicate".
        device: where the parameters are made.
        dtype: their type.

    A cell's hooks fire for every frame, and the layer then calls that cell frame by frame, which is
    slower. On a CPU in float32, and in bfloat16 where the machine has it, cells without hooks are
    read by one hand-written scan, as long as kernels are square, stride and dilation are 1, padding
    is zeros and no lengths are given; `torch.compile`, `torch.export`, `torch.func`, forward-mode
    differentiation and other devices see plain operations that give the same numbers.

    Raises:
        ValueError: an option has a value that could not act, or sizes do not fit together.

    Example:
        >>> layer = ConvLSTM(in_channels=1, hidden_channels=16, kernel_size=3, num_layers=2)
        >>> output, states = layer(torch.rand(8, 9, 1, 64, 64))
        >>> output.shape
        torch.Size([8, 9, 16, 64, 64])
        >>> output, states = layer(torch.rand(8, 1, 1, 64, 64), states)  # goes on where it was
    """

    cell_type: ClassVar[type[ConvLSTMCell]] = ConvLSTMCell

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | Sequence[int],
        kernel_size: PerLayer = 3,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = True,
        bidirectional: bool = False,
        dropout: float = 0.0,
        peephole: bool = False,
        forget_bias: float | None = None,
        residual: bool = False,
        recompute: bool = False,
        stride: PerLayer = 1,
        dilation: PerLayer = 1,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            hidden_channels,
            kernel_size,
            num_layers,
            stride=stride,
            dilation=dilation,
            batch_first=batch_first,
            bidirectional=bidirectional,
            dropout=dropout,
            residual=residual,
            recompute=recompute,
            make_cell=partial(
                self.cell_type,
                bias=bias,
                peephole=peephole,
                forget_bias=forget_bias,
                padding_mode=padding_mode,
                device=device,
                dtype=dtype,
            ),
        )
        self.bias = bias
        self.peephole = peephole
        self.forget_bias = forget_bias
        self.padding_mode = padding_mode

    def extra_repr(self) -> str:
        """Name the sizes, and every option that is not as it is by default."""
        return describe(ConvLSTM, vars(self))


class ConvLSTM1d(ConvLSTM):
    """A `ConvLSTM` for frames in one dimension, (B, T, in_channels, L)."""

    cell_type = ConvLSTM1dCell


class ConvLSTM3d(ConvLSTM):
    """A `ConvLSTM` for frames in three dimensions, (B, T, in_channels, D, H, W)."""

    cell_type = ConvLSTM3dCell
