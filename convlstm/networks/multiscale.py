"""The article's encoder-forecaster, on several scales.

Axes: B batch, T time (frames), C channels, H height (px), W width (px).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convlstm.layer.convlstm import ConvLSTM
from convlstm.layer.recurrence import State
from convlstm.networks.config import FrameFormat, NetworkConfig
from convlstm.networks.network import Feed, Network, Reader

_HEAD_CHANNELS = 64  # of one attention head


class MultiScale(Network):
    """The article's encoder-forecaster.

    The encoder halves H and W from scale to scale. The forecaster goes on from the encoder's states
    at the same scale, and back up: its coarsest layer is the encoder's own, whose state goes on.
    """

    def __init__(self, config: NetworkConfig, frames: FrameFormat) -> None:
        super().__init__(config, frames)
        widths = [config.hidden_channels * 2**scale for scale in range(config.num_layers)]
        read = [self.patch_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            Block(channels, config, scale) for scale, channels in enumerate(read)
        )
        self.down = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=2, padding=1) for width in widths[:-1]
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
            for width in widths[1:]
        )
        self.forecaster = nn.ModuleList(
            Block(width, config, scale) for scale, width in enumerate(widths[1:])
        )
        self.head = self._made_head()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights, from the generator where one is given."""
        super().reset_parameters(generator)
        for module in self.modules():
            if isinstance(module, Attention):
                # It adds nothing at first, as in H. Zhang et al. 2018 (arXiv:1805.08318).
                nn.init.zeros_(module.output.weight)

    def roll_out(self, x: Tensor, horizon: int, feed: Feed) -> Tensor:
        """Read the context scale by scale, then forecast frame by frame."""
        encoders = [block.unroll() for block in self.encoder]
        forecasters = [block.unroll() for block in self.forecaster]
        coarse, states = self._encode(encoders, x, [None] * len(encoders))
        finer: list[State | None] = states[:-1]  # where the forecaster starts
        coarse, last, values = coarse[-1:], x[-1:], []
        for lead_time in range(1, horizon + 1):
            if lead_time > 1 and self.config.rollout == "closed":
                last = frame = feed(values[-1][0], lead_time - 1)[None]
                coarse, states = self._encode(encoders, frame, states)
            elif lead_time > 1:
                B, _, H, W = coarse.shape[1:]
                nothing = coarse.new_zeros(1, B, self.encoder[-1].in_channels, H, W)
                coarse, states[-1] = encoders[-1](nothing, states[-1])
                last = self._continued(values[-1])
            hidden = coarse
            for scale in reversed(range(len(forecasters))):
                hidden = _each(self.up[scale], hidden)
                hidden, finer[scale] = forecasters[scale](hidden, finer[scale])
            values.append(self._values(hidden, last))
        return torch.cat(values)

    def advance(
        self, x: Tensor, states: list[State], seen: Tensor | None
    ) -> tuple[Tensor, list[State]]:
        """Read one frame on the way down, and go back up; after a frame seen, from the encoder."""
        scales, hidden, after = len(self.encoder), x[None], []
        for scale, block in enumerate(self.encoder):
            hidden = _each(self.down[scale - 1], hidden) if scale else hidden
            hidden = self._read_anyway(hidden, seen) if scale == scales - 1 else hidden
            hidden, state = block.unroll()(hidden, states[scale])
            after.append(state)
        finer = list(states[scales:])
        for scale in reversed(range(len(finer))):
            hidden = _each(self.up[scale], hidden)
            pairs = zip(after[scale], finer[scale], strict=True)
            start = tuple(torch.where(seen, encoded, own) for encoded, own in pairs)
            hidden, finer[scale] = self.forecaster[scale].unroll()(hidden, start)
        return hidden[0], after + finer

    def readers(self) -> list[Reader]:
        """Describe the scales of the encoder, and then of the forecaster."""
        readers, reach, slower = [], 0, 0
        for scale, block in enumerate(self.encoder):
            side = self.config.patch_size * 2**scale
            reach += slower + side * (block.convlstm.kernel_size // 2)  # the way down, and here
            slower, hop = side, side * (block.convlstm.kernel_size // 2)
            known = None if self.config.attention and scale else reach
            readers.append(Reader("encoder", scale, False, side, known, hop))
        for scale in range(len(self.forecaster)):
            side = self.config.patch_size * 2**scale
            readers.append(Reader("forecaster", scale, True, side, None, 0))
        return readers

    def _encode(
        self, encoders: list[Callable], x: Tensor, states: list[State | None]
    ) -> tuple[Tensor, list[State]]:
        after = []
        for scale, encode in enumerate(encoders):
            x = _each(self.down[scale - 1], x) if scale else x
            x, state = encode(x, states[scale])
            after.append(state)
        return x, after


class Block(nn.Module):
    """A ConvLSTM layer of the multi-scale network, and what is wrapped around it."""

    def __init__(self, in_channels: int, config: NetworkConfig, scale: int) -> None:
        super().__init__()
        self.in_channels, hidden_channels = in_channels, config.hidden_channels * 2**scale
        self.convlstm = ConvLSTM(
            in_channels,
            hidden_channels,
            3 if scale else config.kernel_size,
            batch_first=False,
            recompute=config.recompute,
            peephole=config.peephole,
            forget_bias=config.forget_bias or None,
        )
        self.shortcut = nn.Conv2d(in_channels, hidden_channels, 1) if config.residual else None
        self.attention = Attention(hidden_channels) if config.attention and scale else None

    def unroll(self) -> Callable[[Tensor, State | None], tuple[Tensor, State]]:
        """Return what reads frames (T, B, C, H, W), for a whole rollout."""
        read = self.convlstm.unroll()

        def read_all(x: Tensor, state: State | None) -> tuple[Tensor, State]:
            hidden, states = read(x, [state])
            if self.shortcut is not None:
                hidden = hidden + _each(self.shortcut, x)
            if self.attention is not None:
                hidden = _each(self.attention, hidden)
            return hidden, states[0]

        return read_all


class Attention(nn.Module):
    """Self-attention over the positions of a frame, added to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        most = max(1, channels // _HEAD_CHANNELS)
        self.heads = next(heads for heads in range(most, 0, -1) if channels % heads == 0)
        self.norm = nn.GroupNorm(1, channels)
        self.queries_keys_values = nn.Conv2d(channels, 3 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        parts = self.queries_keys_values(self.norm(x)).flatten(2).chunk(3, 1)  # (B, C, H * W)
        queries, keys, values = (p.unflatten(1, (self.heads, -1)).mT for p in parts)
        mixed = F.scaled_dot_product_attention(queries, keys, values)  # (B, heads, H * W, -1)
        return x + self.output(mixed.mT.flatten(1, 2).unflatten(2, x.shape[2:]))


def _each(module: nn.Module, frames: Tensor) -> Tensor:
    """Apply a module of single frames to (T, B, C, H, W)."""
    return module(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
