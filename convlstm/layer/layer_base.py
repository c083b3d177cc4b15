"""What the layers of all kinds share: a stack of cells over a sequence of frames.

Axes: B batch, T time (frames), C channels, H height (px), W width (px); in one dimension the last
two are one, L, and in three D, H, W. A list with one state for each layer and direction is
`states`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convlstm.layer.cell_base import AXES, CellBase, Sizes, check_positive, has_hooks
from convlstm.layer.recurrence import AnyState, over, repeat

PerLayer = Sizes | Sequence[Sizes]
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class LayerBase(nn.Module):
    """A stack of layers of cells, each over a whole sequence.

    Args:
        in_channels: channels of each frame.
        hidden_channels: channels of every layer's state, or one number for each layer.
        kernel_size: sides of the kernels, or an entry for each layer.
        num_layers: number of layers.
        stride: of the input's kernels, likewise.
        dilation: of the kernels, likewise.
        batch_first: True for (B, T, C, H, W), False for (T, B, C, H, W).
        bidirectional: whether a second cell in each layer reads the frames backwards.
        dropout: probability in [0, 1) of zeroing each element between layers, while training.
        residual: whether every layer after the first adds its input to its output.
        recompute: whether training computes the gates again in the backward pass.
        make_cell: from in_channels, hidden_channels, kernel_size, stride and dilation.

    Raises:
        ValueError: an option has a value that could not act, or sizes do not fit together.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | Sequence[int],
        kernel_size: PerLayer,
        num_layers: int,
        *,
        stride: PerLayer,
        dilation: PerLayer,
        batch_first: bool,
        bidirectional: bool,
        dropout: float,
        residual: bool,
        recompute: bool,
        make_cell: Callable[..., CellBase],
    ) -> None:
        super().__init__()
        check_positive("num_layers", num_layers)
        hidden = _per_layer("hidden_channels", hidden_channels, num_layers)
        kernels = _sizes_per_layer("kernel_size", kernel_size, num_layers)
        strides = _sizes_per_layer("stride", stride, num_layers)
        dilations = _sizes_per_layer("dilation", dilation, num_layers)
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
        self.stride = stride
        self.dilation = dilation
        self.batch_first = batch_first
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.residual = residual
        self.recompute = recompute
        directions = 2 if bidirectional else 1
        inputs = [in_channels, *(directions * width for width in hidden[:-1])]
        # Ordered as in nn.LSTM: layer 0 forwards, layer 0 backwards, layer 1 forwards, ...
        self.cells = nn.ModuleList(
            make_cell(*sizes, stride=step, dilation=spread)
            for *sizes, step, spread in zip(
                inputs, hidden, kernels, strides, dilations, strict=True
            )
            for _ in range(directions)
        )
        self.ndim = self.cells[0].ndim
        if residual and any(max(cell.geometry.stride) > 1 for cell in self.cells[directions:]):
            raise ValueError(
                f"residual is True: stride {stride} must be 1 in every layer after the first,"
                f" as in {[2] + [1] * (num_layers - 1)}."
            )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights for every cell, from the generator where one is given."""
        for cell in self.cells:
            cell.reset_parameters(generator)

    def forward(
        self,
        x: Tensor,
        states: Sequence[AnyState | None] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, list[AnyState]]:
        """Read a sequence of frames.

        Args:
            x: frames, (B, T, in_channels, H, W), or (T, B, in_channels, H, W) if not batch_first.
            states: one state for each cell, as an earlier call returned them; None means zeros.
            lengths: how many of its frames each sequence has, (B,), from 1 to T; None for all T.
                What stands behind them is never read. The backward half of a bidirectional layer
                begins at each sequence's own last frame.

        Returns:
            The last layer's h of every frame, (B, T, C, H, W) or (T, B, C, H, W), with C its
            hidden_channels (twice that if bidirectional) and H and W divided by the strides and
            rounded up, zeros behind a sequence's length; and the last state of each cell, that of
            each sequence at its own end.

        Raises:
            ValueError: x has other axes, no frames or other channels, states or lengths do not fit,
                x and states have another type than the weights outside autocast, or the frames are
                too small for the padding.
        """
        return self.unroll()(x, states, lengths)

    def unroll(self) -> Callable[..., tuple[Tensor, list[AnyState]]]:
        """Return `forward` for several calls with the same weights and one backward pass.

        For rollouts, which call frame by frame: on a CPU the weights are made ready once and their
        gradients added up once, not at every call. It fires no hooks of the layer itself.
        """
        return partial(self._read, [cell.scanner(recompute=self.recompute) for cell in self.cells])

    def _read(
        self,
        scanners: list[Callable[..., tuple[Tensor, AnyState]]],
        x: Tensor,
        states: Sequence[AnyState | None] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, list[AnyState]]:
        if x.ndim != self.ndim + 3 or x.shape[2] != self.in_channels:
            axes = "(B, T" if self.batch_first else "(T, B"
            axes = ", ".join([axes, f"in_channels={self.in_channels}", *AXES[self.ndim]])
            raise ValueError(f"x has shape {tuple(x.shape)}: must be {axes}).")
        frames = x.transpose(0, 1) if self.batch_first else x  # (T, B, C, H, W)
        if not len(frames):
            raise ValueError(f"x has shape {tuple(x.shape)}: must hold at least one frame.")
        if states is None:
            states = [None] * len(self.cells)
        if len(states) != len(self.cells):
            raise ValueError(f"states has {len(states)} entries: must be {len(self.cells)}.")
        running = None if lengths is None else _running(lengths, frames)
        if running is not None:
            # Whatever is there, NaN included, reaches no gradient.
            frames = torch.where(over(running, frames), frames, 0)

        last_states: list[AnyState] = []

        def scan(frames: Tensor, running: Tensor | None) -> Tensor:
            """Read the frames with the next cell."""
            n = len(last_states)
            cell, read, state = self.cells[n], scanners[n], states[n]
            cell.check(frames[0], state)
            if has_hooks(cell):
                read = partial(repeat, cell, recompute=self.recompute)
            outputs, state = read(frames, state, running)
            last_states.append(state)
            return outputs

        for layer in range(self.num_layers):
            outputs = scan(frames, running)
            if self.bidirectional:
                # A shorter sequence's state waits until the first of its frames comes by.
                backward = scan(frames.flip(0), None if running is None else running.flip(0))
                outputs = torch.cat((outputs, backward.flip(0)), 2)
            if self.residual and layer > 0:
                outputs = outputs + frames
            if self.dropout and layer < self.num_layers - 1:
                outputs = F.dropout(outputs, self.dropout, self.training)
            frames = outputs
        return (frames.transpose(0, 1) if self.batch_first else frames), last_states


def _per_layer(name: str, value: int | Sequence[int], num_layers: int) -> list[int]:
    if not isinstance(value, Sequence):
        return [value] * num_layers
    if len(value) != num_layers:
        raise ValueError(f"{name} has {len(value)} entries: must be num_layers={num_layers}.")
    return list(value)


def _sizes_per_layer(name: str, value: PerLayer, num_layers: int) -> list[Sizes]:
    """Return the same for `Sizes`, of which a single layer takes a tuple as its own."""
    if num_layers == 1 and isinstance(value, tuple) and len(value) > 1:
        return [value]
    return _per_layer(name, value, num_layers)


def _running(lengths: Tensor | Sequence[int], frames: Tensor) -> Tensor:
    """Return which of the frames (T, B, ...) each sequence has, (T, B) of bool.

    Raises:
        ValueError: lengths are not whole numbers from 1 to T, one for each sequence.
    """
    T, B = frames.shape[:2]
    lengths = torch.as_tensor(lengths, device=frames.device)
    if lengths.dtype not in _WHOLE:
        raise ValueError(f"lengths has type {lengths.dtype}: must be whole numbers.")
    if tuple(lengths.shape) != (B,):
        raise ValueError(f"lengths has shape {tuple(lengths.shape)}: must be (B={B},).")
    if _is_known(lengths):
        for each in lengths.tolist():
            if not 1 <= each <= T:
                raise ValueError(f"lengths has {each}: must be from 1 to T={T}.")
    return torch.arange(T, device=frames.device)[:, None] < lengths


def _is_known(tensor: Tensor) -> bool:
    """Whether its values may be looked at: not while a compiler or a transform passes."""
    return not (
        tensor.is_meta
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._functorch.maybe_current_level() is not None
    )
