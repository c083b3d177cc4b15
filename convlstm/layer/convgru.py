"""The convolutional GRU as a layer, used like `nn.GRU`.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). A state is h,
(B, hidden_channels, H, W); a list with one state for each layer and direction is `states`.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch

from convlstm.layer.cell_base import PaddingMode, describe
from convlstm.layer.gru_cell import ConvGRU1dCell, ConvGRU3dCell, ConvGRUCell
from convlstm.layer.layer_base import LayerBase, PerLayer


class ConvGRU(LayerBase):
    """A stack of convolutional GRU layers over a sequence of frames, used like `nn.GRU`.

    Called as a `ConvLSTM` is; the state of a cell is one tensor, h. Three gates instead of four
    need a quarter fewer weights.

    Args:
        in_channels: channels of each frame.
        hidden_channels: channels of every layer's state, or one number for each layer.
        kernel_size: side of the kernels in px, odd; or a list with an entry for each layer, in
            which a tuple has a side for each axis, [3, (3, 5)]. Of a single layer such a tuple
            needs no list, (3, 5).
        num_layers: number of layers.
        bias: whether the gates have biases.
        batch_first: True for (B, T, C, H, W), False for (T, B, C, H, W).
        bidirectional: whether a second cell in each layer reads the frames backwards; the outputs
            of both stand side by side in the channels.
        dropout: probability in [0, 1) of zeroing each element between layers, while training.
        residual: whether every layer after the first adds its input to its output.
        recompute: whether training computes the gates again in the backward pass, for less memory
            and more time.
        stride: px from one place of the kernels that read a layer's input to the next; its state
            and output are so many times smaller, rounded up. Given as kernel_size is.
        dilation: px from one of a kernel's pixels to the next, of input and state. Given likewise.
        padding_mode: what lies beyond the edges of input and state, as in `nn.Conv2d`: "zeros",
            "circular" (what is at the other edge), "reflect" or "replicate".
        device: where the parameters are made.
        dtype: their type.

    Raises:
        ValueError: an option has a value that could not act, or sizes do not fit together.

    Example:
        >>> layer = ConvGRU(in_channels=1, hidden_channels=16, kernel_size=3, num_layers=2)
        >>> output, states = layer(torch.rand(8, 9, 1, 64, 64))
        >>> states[0].shape
        torch.Size([8, 16, 64, 64])
    """

    cell_type: ClassVar[type[ConvGRUCell]] = ConvGRUCell

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
                self.cell_type, bias=bias, padding_mode=padding_mode, device=device, dtype=dtype
            ),
        )
        self.bias = bias
        self.padding_mode = padding_mode

    def extra_repr(self) -> str:
        """Name the sizes, and every option that is not as it is by default."""
        return describe(ConvGRU, vars(self))


class ConvGRU1d(ConvGRU):
    """A `ConvGRU` for frames in one dimension, (B, T, in_channels, L)."""

    cell_type = ConvGRU1dCell


class ConvGRU3d(ConvGRU):
    """A `ConvGRU` for frames in three dimensions, (B, T, in_channels, D, H, W)."""

    cell_type = ConvGRU3dCell
