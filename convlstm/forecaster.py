"""Encoder-forecasters: networks that read some frames and predict many.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Intensities in [0, 1];
networks compute logits of them, whose sigmoid is the frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convlstm.checks import SettingError, check_choice, check_flag, check_integer, normalise
from convlstm.layer.convlstm import ConvLSTM, ConvLSTMCell, State, check_positive

Network = Literal["stack", "multiscale"]
Rollout = Literal["closed", "states"]

_BLACK_LOGIT = -3.0  # where the heads start: frames are black first of all
_HEAD_CHANNELS = 64  # of one attention head

# Chooses what is fed back: (logits of the newest frames, lead time) to the next input.
Feed = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class ForecasterConfig:
    """The shape of an encoder-forecaster. The defaults are the compact one's.

    Attributes:
        network: "stack" (layers on one grid of patches) or "multiscale" (the article's: down by
            half from layer to layer, and up again).
        patch_size: side of the patches that become channels, px: 1, 2, 4 or 8.
        hidden_channels: of each layer, 1 to 256; of the finest in "multiscale", which doubles them
            at each scale.
        num_layers: layers, 1 to 4; scales in "multiscale".
        kernel_size: side of the kernels, odd, 1 to 7; of the finest scale in "multiscale", whose
            others are 3.
        residual: whether layers add their input to their output.
        attention: whether the coarse scales of "multiscale" attend over all positions.
        recompute: whether training computes gates again instead of keeping them: slower, in less
            memory.
        rollout: "closed" (each predicted frame is read again) or "states" (after the frames seen,
            only the states go on).
    """

    network: Network = "stack"
    patch_size: int = 4
    hidden_channels: int = 64
    num_layers: int = 3
    kernel_size: int = 3
    residual: bool = True
    attention: bool = False
    recompute: bool = False
    rollout: Rollout = "closed"

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: a field is outside its range, or two do not go together.
        """
        normalise(
            self,
            network=check_choice("network", self.network, get_args(Network)),
            patch_size=check_integer("patch_size", self.patch_size, 1, 8),
            hidden_channels=check_integer("hidden_channels", self.hidden_channels, 1, 256),
            num_layers=check_integer("num_layers", self.num_layers, 1, 4),
            kernel_size=check_integer("kernel_size", self.kernel_size, 1, 7),
            residual=check_flag("residual", self.residual),
            attention=check_flag("attention", self.attention),
            recompute=check_flag("recompute", self.recompute),
            rollout=check_choice("rollout", self.rollout, get_args(Rollout)),
        )
        if self.patch_size not in (1, 2, 4, 8):
            raise SettingError("patch_size", self.patch_size, "power of two")
        if self.kernel_size % 2 == 0:
            raise SettingError("kernel_size", self.kernel_size, "odd")
        if self.attention and self.network != "multiscale":
            raise SettingError("attention", True, "needs multiscale")
        if self.attention and self.num_layers == 1:
            raise SettingError("attention", True, "needs layers")

    @property
    def divisor(self) -> int:
        """What H and W must be a multiple of, px."""
        halvings = self.num_layers - 1 if self.network == "multiscale" else 0
        return self.patch_size * 2**halvings


class Forecaster(nn.Module):
    """What both networks share: patches in, logits out, and the rollout in between.

    Args:
        config: the sizes and options.
    """

    def __init__(self, config: ForecasterConfig) -> None:
        super().__init__()
        self.config = config

    def forward(
        self,
        context: Tensor,
        horizon: int,
        truth: Tensor | None = None,
        use_truth: Tensor | None = None,
    ) -> Tensor:
        """Predict the frames that follow.

        Args:
            context: frames seen, (B, T, 1, H, W), intensities in [0, 1].
            horizon: number of frames to predict, 1 or more.
            truth: the frames that follow, (B, horizon, 1, H, W); only where use_truth is given.
            use_truth: which of them the network reads instead of its own, (B, horizon) of bool.

        Returns:
            Logits of the last frames up to the horizon's end, (B, n, 1, H, W): n is horizon, and in
            "stack" T - 1 + horizon, since it predicts each next frame of the context, too.

        Raises:
            ValueError: context has another shape, or horizon is not a positive whole number.
        """
        check_positive("horizon", horizon)
        divisor = self.config.divisor
        if context.ndim != 5 or context.shape[2] != 1 or not context.shape[1]:
            raise ValueError(f"context has shape {tuple(context.shape)}: must be (B, T, 1, H, W).")
        if context.shape[3] % divisor or context.shape[4] % divisor:
            raise ValueError(
                f"context has shape {tuple(context.shape)}: H and W must be multiples of {divisor}."
            )
        patch = self.config.patch_size
        x = F.pixel_unshuffle(context.transpose(0, 1), patch)  # (T, B, p * p, H / p, W / p)
        followers = None if truth is None else F.pixel_unshuffle(truth.transpose(0, 1), patch)

        def feed(logits: Tensor, lead_time: int) -> Tensor:
            frame = logits.float().sigmoid()
            if use_truth is None or followers is None:
                return frame
            chosen = use_truth[:, lead_time - 1, None, None, None]
            return torch.where(chosen, followers[lead_time - 1], frame)

        logits = self.roll_out(x, horizon, feed)
        return F.pixel_shuffle(logits, patch).transpose(0, 1)

    def roll_out(self, x: Tensor, horizon: int, feed: Feed) -> Tensor:
        """Read x, (T, B, C, H, W), and return logits (n, B, C, H, W) of the frames to come."""
        raise NotImplementedError

    @torch.no_grad()
    def predict(self, context: Tensor, horizon: int) -> Tensor:
        """Continue sequences: (B, T, 1, H, W) to (B, horizon, 1, H, W) in [0, 1], float32."""
        return self(context, horizon)[:, -horizon:].float().sigmoid()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights, from the generator where one is given."""
        for module in self.modules():
            if isinstance(module, ConvLSTMCell):
                module.reset_parameters(generator)
        gates = {id(cell.gates) for cell in self.modules() if isinstance(cell, ConvLSTMCell)}
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and id(module) not in gates:
                bound = module.weight[0].numel() ** -0.5
                module.weight.uniform_(-bound, bound, generator=generator)
                module.bias.zero_()
        for attention in (m for m in self.modules() if isinstance(m, _Attention)):
            # It adds nothing at first, as in H. Zhang et al. 2018 (arXiv:1805.08318).
            attention.output.weight.zero_()
        self.head.bias.fill_(_BLACK_LOGIT)


class StackForecaster(Forecaster):
    """ConvLSTM layers on a grid of patches, one after the other."""

    def __init__(self, config: ForecasterConfig) -> None:
        super().__init__(config)
        channels = config.patch_size**2
        self.convlstm = ConvLSTM(
            channels,
            config.hidden_channels,
            config.kernel_size,
            config.num_layers,
            batch_first=False,
            residual=config.residual and config.num_layers > 1,
            recompute=config.recompute,
            forget_bias=1.0,
        )
        self.head = nn.Conv2d(config.hidden_channels, channels, 1)

    def roll_out(self, x: Tensor, horizon: int, feed: Feed) -> Tensor:
        """Read the context at once, then frame by frame what is fed back."""
        read = self.convlstm.unroll()
        if self.config.rollout == "states":
            nothing = x.new_zeros(horizon - 1, *x.shape[1:])
            return self._logits(read(torch.cat([x, nothing]))[0])
        hidden, states = read(x)
        logits = [self._logits(hidden)]
        for lead_time in range(1, horizon):
            hidden, states = read(feed(logits[-1][-1], lead_time)[None], states)
            logits.append(self._logits(hidden))
        return torch.cat(logits)

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.head(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])


class MultiScaleForecaster(Forecaster):
    """The article's encoder-forecaster.

    The encoder halves H and W from scale to scale. The forecaster goes on from the encoder's states
    at the same scale, and back up: its coarsest layer is the encoder's own, whose state goes on.
    """

    def __init__(self, config: ForecasterConfig) -> None:
        super().__init__(config)
        channels = config.patch_size**2
        widths = [config.hidden_channels * 2**scale for scale in range(config.num_layers)]
        kernels = [config.kernel_size] + [3] * (config.num_layers - 1)
        inner = list(zip(widths[:-1], widths[1:], kernels[:-1], strict=True))
        self.encoder = nn.ModuleList(
            _Block(fewer, width, kernel, config, scale)
            for scale, (fewer, width, kernel) in enumerate(
                zip([channels, *widths[:-1]], widths, kernels, strict=True)
            )
        )
        self.down = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=2, padding=1) for width, _, _ in inner
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(more, more, 3, stride=2, padding=1, output_padding=1)
            for _, more, _ in inner
        )
        self.forecaster = nn.ModuleList(
            _Block(more, width, kernel, config, scale)
            for scale, (width, more, kernel) in enumerate(inner)
        )
        self.head = nn.Conv2d(config.hidden_channels, channels, 1)

    def roll_out(self, x: Tensor, horizon: int, feed: Feed) -> Tensor:
        """Read the context scale by scale, then forecast frame by frame."""
        encoders = [block.unroll() for block in self.encoder]
        forecasters = [block.unroll() for block in self.forecaster]
        coarse, states = self._encode(encoders, x, [None] * len(encoders))
        finer: list[State | None] = states[:-1]  # where the forecaster starts
        coarse, logits = coarse[-1:], []
        for lead_time in range(1, horizon + 1):
            if lead_time > 1 and self.config.rollout == "closed":
                frame = feed(logits[-1][0], lead_time - 1)[None]
                coarse, states = self._encode(encoders, frame, states)
            elif lead_time > 1:
                B, _, H, W = coarse.shape[1:]
                nothing = coarse.new_zeros(1, B, self.encoder[-1].in_channels, H, W)
                coarse, states[-1] = encoders[-1](nothing, states[-1])
            hidden = coarse
            for scale in reversed(range(len(forecasters))):
                hidden = _each(self.up[scale], hidden)
                hidden, finer[scale] = forecasters[scale](hidden, finer[scale])
            logits.append(_each(self.head, hidden))
        return torch.cat(logits)

    def _encode(
        self, encoders: list[Callable], x: Tensor, states: list[State | None]
    ) -> tuple[Tensor, list[State]]:
        after = []
        for scale, encode in enumerate(encoders):
            x = _each(self.down[scale - 1], x) if scale else x
            x, state = encode(x, states[scale])
            after.append(state)
        return x, after


class _Block(nn.Module):
    """A ConvLSTM layer of the multi-scale network, and what is wrapped around it."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int,
        config: ForecasterConfig,
        scale: int,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.convlstm = ConvLSTM(
            in_channels,
            hidden_channels,
            kernel_size,
            batch_first=False,
            recompute=config.recompute,
            forget_bias=1.0,
        )
        self.shortcut = nn.Conv2d(in_channels, hidden_channels, 1) if config.residual else None
        self.attention = _Attention(hidden_channels) if config.attention and scale else None

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


class _Attention(nn.Module):
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


def forecast(
    model: Forecaster, context: Tensor, horizon: int, *, augmented: bool = False
) -> Tensor:
    """Continue sequences.

    Args:
        model: the network.
        context: frames seen, (B, T, 1, H, W), intensities in [0, 1].
        horizon: number of frames to predict.
        augmented: whether to average the predictions of the sequences as they are and mirrored
            left to right, top to bottom, and both; four times the work.

    Returns:
        (B, horizon, 1, H, W), in [0, 1], float32.
    """
    mirrors = [(), (-1,), (-2,), (-1, -2)] if augmented else [()]
    with torch.no_grad():
        predictions = [model.predict(context.flip(axes), horizon).flip(axes) for axes in mirrors]
    return torch.stack(predictions).mean(0)


_NETWORKS = {"stack": StackForecaster, "multiscale": MultiScaleForecaster}


def build_forecaster(
    config: ForecasterConfig, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Forecaster:
    """Make a forecaster whose weights come from the generator alone, then move it to the device.

    The global random state is neither read nor changed: runs share a process. On "meta" there are
    no weights to draw.
    """
    with torch.device("meta"):
        model = _NETWORKS[config.network](config)
    if torch.device(device).type == "meta":
        return model
    model.to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            module.reset_parameters()
    model.reset_parameters(generator)
    return model.to(device)


def _each(module: nn.Module, frames: Tensor) -> Tensor:
    """Apply a module of single frames to (T, B, C, H, W)."""
    return module(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
