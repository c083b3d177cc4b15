"""A stack of ConvLSTM layers; with patches of one pixel, one layer of 16 and a linear output it is
the article's next-frame predictor.

Axes: B batch, T time (frames), C channels, H height (px), W width (px).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from convlstm.layer.convlstm import ConvLSTM
from convlstm.layer.recurrence import State
from convlstm.networks.config import FrameFormat, NetworkConfig
from convlstm.networks.network import Feed, Network, Reader


class Stack(Network):
    """ConvLSTM layers on one grid, one after the other, and a 1x1 convolution that draws.

    Args:
        config: the sizes and options. The article's own network is `NetworkConfig(16,
            kernel_size=3, output="linear", forget_bias=0)`.
        frames: what the frames are like.
    """

    def __init__(self, config: NetworkConfig, frames: FrameFormat) -> None:
        super().__init__(config, frames)
        self.convlstm = ConvLSTM(
            self.patch_channels,
            config.hidden_channels,
            config.kernel_size,
            config.num_layers,
            batch_first=False,
            residual=config.residual,
            peephole=config.peephole,
            recompute=config.recompute,
            forget_bias=config.forget_bias or None,
        )
        self.head = self._made_head()

    def roll_out(self, x: Tensor, horizon: int, feed: Feed) -> Tensor:
        """Read the context at once, then frame by frame what is fed back."""
        read = self.convlstm.unroll()
        if self.config.rollout == "states":
            return self._on_states_alone(read, x, horizon)
        hidden, states = read(x)
        values = [self._values(hidden, x)]
        for lead_time in range(1, horizon):
            frame = feed(values[-1][-1], lead_time)[None]
            hidden, states = read(frame, states)
            values.append(self._values(hidden, frame))
        return torch.cat(values)

    def advance(
        self, x: Tensor, states: list[State], seen: Tensor | None
    ) -> tuple[Tensor, list[State]]:
        """Read one frame with every layer."""
        hidden, states = self.convlstm(self._read_anyway(x, seen)[None], states)
        return hidden[0], states

    def readers(self) -> list[Reader]:
        """Describe the layers."""
        side = self.config.patch_size
        hop = side * (self.config.kernel_size // 2)
        layers = range(self.config.num_layers)
        return [Reader("layer", n, False, side, hop * (n + 1), hop) for n in layers]

    def _on_states_alone(self, read: Callable, x: Tensor, horizon: int) -> Tensor:
        nothing = x.new_zeros(horizon - 1, *x.shape[1:])
        hidden, _ = read(torch.cat([x, nothing]))
        if self.config.output in ("sigmoid", "linear"):
            return self._values(hidden, x)
        values = [self._values(hidden[: len(x)], x)]
        for later in hidden[len(x) :]:  # what changes, or moves, is the frame predicted before
            values.append(self._values(later[None], self._continued(values[-1][-1:])))
        return torch.cat(values)
