"""The convolutional LSTM: a cell, and a layer used like `nn.LSTM`.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). A state is (h, c), each
(B, hidden_channels, H, W); a list with one state for each layer and direction is `states`.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convlstm.layer.recurrence import Scanner, State, Weights, step


class ConvLSTMCell(nn.Module):
    """One step in time of a convolutional LSTM.

    With * a convolution and . a product of elements:

        i = sigmoid(Wxi * x + Whi * h + bi)      g = tanh(Wxg * x + Whg * h + bg)
        f = sigmoid(Wxf * x + Whf * h + bf)      c' = f . c + i . g
        o = sigmoid(Wxo * x + Who * h + bo)      h' = o . tanh(c')

    A peephole adds pi . c to i, pf . c to f and po . c' to o before the sigmoid.

    Args:
        in_channels: channels of the input frame.
        hidden_channels: channels of h and of c.
        kernel_size: side of the square kernel in px, odd.
        bias: whether the gates have a bias.
        peephole: whether the gates see c, with one weight for each gate and channel.
        forget_bias: initial bias of the forget gate; needs `bias` unless it is 0.
        device: where the parameters are made.
        dtype: their type.

    Raises:
        ValueError: a size is not positive, the kernel is even, or forget_bias has no bias.

    Source: Shi et al. 2015 (arXiv:1506.04214); the peephole weighs channels, not pixels, so that
    one model runs at any H and W.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int = 3,
        *,
        bias: bool = True,
        peephole: bool = False,
        forget_bias: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive("in_channels", in_channels)
        check_positive("hidden_channels", hidden_channels)
        check_positive("kernel_size", kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}: must be odd, to keep H and W.")
        if forget_bias and not bias:
            raise ValueError(f"forget_bias is {forget_bias}: must be 0 where bias is False.")
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.kernel_size = kernel_size
        self.forget_bias = forget_bias
        # One convolution for the four gates, packed i, f, g, o as in nn.LSTM.
        self.gates = nn.Conv2d(
            in_channels + hidden_channels,
            4 * hidden_channels,
            kernel_size,
            padding=kernel_size // 2,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        if peephole:
            shape = (3, hidden_channels, 1, 1)  # for i, f and o
            self.peephole = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        else:
            self.register_parameter("peephole", None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights: uniform within 1/sqrt(fan in), as `nn.Conv2d` and `nn.LSTM` do."""
        bound = 1 / math.sqrt(self.gates.weight[0].numel())
        self.gates.weight.uniform_(-bound, bound, generator=generator)
        if self.gates.bias is not None:
            self.gates.bias.uniform_(-bound, bound, generator=generator)
            if self.forget_bias:
                self.gates.bias[self.hidden_channels : 2 * self.hidden_channels] = self.forget_bias
        if self.peephole is not None:
            bound = 1 / math.sqrt(self.hidden_channels)
            self.peephole.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """Advance the state by one frame.

        Args:
            x: input frame, (B, in_channels, H, W).
            state: previous (h, c), each (B, hidden_channels, H, W); None means zeros.

        Returns:
            The next (h, c), same shapes. h lies in (-1, 1); c is unbounded.

        Raises:
            ValueError: x or the state has another shape.
        """
        self.check(x, state)
        return step(x, state, self.weights)

    @property
    def weights(self) -> Weights:
        """The parameters, as the functions of `recurrence` take them."""
        return Weights(self.gates.weight, self.gates.bias, self.peephole)

    def check(self, x: Tensor, state: State | None) -> None:
        """Refuse a frame or a state that does not fit.

        Raises:
            ValueError: x or the state has another shape.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: must be (B, in_channels={self.in_channels}, H, W)."
            )
        if state is None:
            return
        expected = (x.shape[0], self.hidden_channels, *x.shape[2:])
        for name, tensor in zip("hc", state, strict=True):
            if tuple(tensor.shape) != expected:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}: must be {expected}.")

    def extra_repr(self) -> str:
        """Name what the printed submodules do not show."""
        return f"{self.in_channels}, {self.hidden_channels}, kernel_size={self.kernel_size}"


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
        forget_bias: initial bias of the forget gates.
        residual: whether every layer after the first adds its input to its output.
        recompute: whether training computes the gates again in the backward pass: two tensors are
            kept of a frame instead of seven, for a third more time and the same numbers.
        device: where the parameters are made.
        dtype: their type.

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
        forget_bias: float = 0.0,
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
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.residual = residual
        self.recompute = recompute
        directions = 2 if bidirectional else 1
        widths = [in_channels, *(directions * width for width in hidden)]
        # Ordered as in nn.LSTM: layer 0 forwards, layer 0 backwards, layer 1 forwards, ...
        self.cells = nn.ModuleList(
            ConvLSTMCell(
                widths[layer],
                hidden[layer],
                kernels[layer],
                bias=bias,
                peephole=peephole,
                forget_bias=forget_bias,
                device=device,
                dtype=dtype,
            )
            for layer in range(num_layers)
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
            ValueError: x is not 5-D, has no frames or other channels, or states do not fit.
        """
        return self.unroll()(x, states)

    def unroll(self) -> Callable[..., tuple[Tensor, list[State]]]:
        """Return `forward` for several calls with the same weights and one backward pass.

        For rollouts, which call frame by frame: on a CPU the weights are made ready once and their
        gradients added up once, not at every call.
        """
        scanners = [Scanner(cell.weights, recompute=self.recompute) for cell in self.cells]
        return partial(self._read, scanners)

    def _read(
        self,
        scanners: list[Scanner],
        x: Tensor,
        states: Sequence[State | None] | None = None,
    ) -> tuple[Tensor, list[State]]:
        if x.ndim != 5 or x.shape[2] != self.in_channels:
            axes = "(B, T" if self.batch_first else "(T, B"
            expected = f"{axes}, in_channels={self.in_channels}, H, W)"
            raise ValueError(f"x has shape {tuple(x.shape)}: must be {expected}.")
        frames = x.transpose(0, 1) if self.batch_first else x  # (T, B, C, H, W)
        if not len(frames):
            raise ValueError(f"x has shape {tuple(x.shape)}: must hold at least one frame.")
        if states is None:
            states = [None] * len(self.cells)
        if len(states) != len(self.cells):
            raise ValueError(f"states has {len(states)} entries: must be {len(self.cells)}.")

        last_states: list[State] = []

        def scan(cell: int, frames: Tensor) -> Tensor:
            self.cells[cell].check(frames[0], states[cell])
            outputs, state = scanners[cell](frames, states[cell])
            last_states.append(state)
            return outputs

        directions = 2 if self.bidirectional else 1
        for layer in range(self.num_layers):
            first = layer * directions
            outputs = scan(first, frames)
            if self.bidirectional:
                backward = scan(first + 1, frames.flip(0))
                outputs = torch.cat((outputs, backward.flip(0)), 2)
            if self.residual and layer > 0:
                outputs = outputs + frames
            if self.dropout and layer < self.num_layers - 1:
                outputs = F.dropout(outputs, self.dropout, self.training)
            frames = outputs
        return (frames.transpose(0, 1) if self.batch_first else frames), last_states


def check_positive(name: str, value: int) -> None:
    """Refuse a size that is not a whole number of 1 or more.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}: must be a whole number of 1 or more.")


def _per_layer(name: str, value: int | Sequence[int], num_layers: int) -> list[int]:
    if not isinstance(value, Sequence):
        return [value] * num_layers
    if len(value) != num_layers:
        raise ValueError(f"{name} has {len(value)} entries: must be num_layers={num_layers}.")
    return list(value)
