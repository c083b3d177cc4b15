"""The convolutional LSTM as a layer, used like `nn.LSTM`.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). A state is (h, c), each
(B, hidden_channels, H, W); a list with one state for each layer and direction is `states`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convlstm.layer.cell import ConvLSTMCell, check_positive, describe, has_hooks
from convlstm.layer.recurrence import State, repeat
from convlstm.layer.scan_cpu import Scanner


class ConvLSTM(nn.Module):
    """A stack of convolutional LSTM layers over a sequence of frames, used like `nn.LSTM`.

    Args:
        in_channels: channels of each frame.
        hidden_channels: channels of every layer's state, or one number for each layer.
        kernel_size: side of the square kernels in px, odd; or one number for each layer.
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
            kept of a frame instead of seven, for a third more time and the same numbers.
        device: where the parameters are made.
        dtype: their type.

    A cell's hooks fire for every frame, and the layer then calls that cell frame by frame, which is
    slower. On a CPU in float32, and in bfloat16 where the machine has it, cells without hooks are
    read by one hand-written scan; `torch.compile`, `torch.export`, `torch.func`, forward-mode
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

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | Sequence[int],
        kernel_size: int | Sequence[int] = 3,
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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive("num_layers", num_layers)
        hidden = _per_layer("hidden_channels", hidden_channels, num_layers)
        kernels = _per_layer("kernel_size", kernel_size, num_layers)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}: must be at least 0 and under 1.")
        for name, value in (("dropout", dropout), ("residual", residual)):
            if value and num_layers == 1:
                raise ValueError(f"{name} is {value}: needs num_layers of 2 or more.")
        if residual and len(set(hidden)) > 1:
            raise ValueError(f"residual is True: hidden_channels {hidden} must all be equal.")
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.kernel_size = kernel_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.peephole = peephole
        self.forget_bias = forget_bias
        self.residual = residual
        self.recompute = recompute
        directions = 2 if bidirectional else 1
        inputs = [in_channels, *(directions * width for width in hidden[:-1])]
        made = {"device": device, "dtype": dtype}
        # Ordered as in nn.LSTM: layer 0 forwards, layer 0 backwards, layer 1 forwards, ...
        self.cells = nn.ModuleList(
            ConvLSTMCell(*sizes, bias=bias, peephole=peephole, forget_bias=forget_bias, **made)
            for sizes in zip(inputs, hidden, kernels, strict=True)
            for _ in range(directions)
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights for every cell, from the generator where one is given."""
        for cell in self.cells:
            cell.reset_parameters(generator)

    def forward(
        self, x: Tensor, states: Sequence[State | None] | None = None
    ) -> tuple[Tensor, list[State]]:
        """Read a sequence of frames.

        Args:
            x: frames, (B, T, in_channels, H, W), or (T, B, in_channels, H, W) if not batch_first.
            states: one (h, c) for each cell, as an earlier call returned them; None means zeros.

        Returns:
            The last layer's h of every frame, (B, T, C, H, W) or (T, B, C, H, W), with C its
            hidden_channels (twice that if bidirectional); and the last state of each cell.

        Raises:
            ValueError: x is not 5-D, has no frames or other channels, states do not fit, or x and
                states have another type than the weights outside autocast.
        """
        return self.unroll()(x, states)

    def unroll(self) -> Callable[..., tuple[Tensor, list[State]]]:
        """Return `forward` for several calls with the same weights and one backward pass.

        For rollouts, which call frame by frame: on a CPU the weights are made ready once and their
        gradients added up once, not at every call. It fires no hooks of the layer itself.
        """
        scanners = [Scanner(cell.weights, recompute=self.recompute) for cell in self.cells]
        return partial(self._read, scanners)

    def _read(
        self, scanners: list[Scanner], x: Tensor, states: Sequence[State | None] | None = None
    ) -> tuple[Tensor, list[State]]:
        if x.ndim != 5 or x.shape[2] != self.in_channels:
            axes = "(B, T" if self.batch_first else "(T, B"
            expected = f"{axes}, in_channels={self.in_channels}, H, W)"
            raise ValueError(f"x has shape {tuple(x.shape)}: must be {expected}.")
        frames = x.transpose(0, 1) if self.batch_first else x  # (T, B, C, H, W)
        if not frames.shape[0]:
            raise ValueError(f"x has shape {tuple(x.shape)}: must hold at least one frame.")
        if states is None:
            states = [None] * len(self.cells)
        if len(states) != len(self.cells):
            raise ValueError(f"states has {len(states)} entries: must be {len(self.cells)}.")

        last_states: list[State] = []

        def scan(frames: Tensor) -> Tensor:
            """Read the frames with the next cell."""
            n = len(last_states)
            cell, read, state = self.cells[n], scanners[n], states[n]
            cell.check(frames[0], state)
            if has_hooks(cell):
                read = partial(repeat, cell, recompute=self.recompute)
            outputs, state = read(frames, state)
            last_states.append(state)
            return outputs

        for layer in range(self.num_layers):
            outputs = scan(frames)
            if self.bidirectional:
                backward = scan(frames.flip(0))
                outputs = torch.cat((outputs, backward.flip(0)), 2)
            if self.residual and layer > 0:
                outputs = outputs + frames
            if self.dropout and layer < self.num_layers - 1:
                outputs = F.dropout(outputs, self.dropout, self.training)
            frames = outputs
        return (frames.transpose(0, 1) if self.batch_first else frames), last_states

    def extra_repr(self) -> str:
        """Name the sizes, and every option that is not as it is by default."""
        return describe(ConvLSTM, vars(self))


def _per_layer(name: str, value: int | Sequence[int], num_layers: int) -> list[int]:
    if not isinstance(value, Sequence):
        return [value] * num_layers
    if len(value) != num_layers:
        raise ValueError(f"{name} has {len(value)} entries: must be num_layers={num_layers}.")
    return list(value)
