"""The next-frame predictor: a ConvLSTM and a head, and what they are configured by.

Axes: B batch, T time (frames), C channels, H height (px), W width (px).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from convlstm.checks import (
    SettingError,
    check_choice,
    check_flag,
    check_integer,
    check_number,
    normalise,
)
from convlstm.layer.convlstm import ConvLSTM, check_positive
from convlstm.layer.recurrence import State

Output = Literal["sigmoid", "linear"]
_BLACK_LOGIT = -5.0  # sigmoid(-5) = 0.007; a 5 px square lights 0.006 of a 64 px frame


@dataclass(frozen=True)
class ModelConfig:
    """What a `NextFramePredictor` is made of.

    Attributes:
        hidden_channels: channels of every ConvLSTM layer, 1 to 64.
        kernel_size: side of the kernels in px: 1, 3, 5 or 7.
        num_layers: ConvLSTM layers, 1 to 3.
        output: "sigmoid", or "linear" as in the article (clipped to [0, 1] when predicting).
        peephole: whether the gates see the cell state.
        residual: whether layers after the first add their input; needs two layers.
        forget_bias: initial bias of the forget gates, 0 to 5.
    """

    hidden_channels: int = 8
    kernel_size: int = 5
    num_layers: int = 1
    output: Output = "sigmoid"
    peephole: bool = False
    residual: bool = False
    forget_bias: float = 1.0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: a field is outside its range.
        """
        normalise(
            self,
            hidden_channels=check_integer("hidden_channels", self.hidden_channels, 1, 64),
            kernel_size=check_integer("kernel_size", self.kernel_size, 1, 7),
            num_layers=check_integer("num_layers", self.num_layers, 1, 3),
            output=check_choice("output", self.output, get_args(Output)),
            peephole=check_flag("peephole", self.peephole),
            residual=check_flag("residual", self.residual),
            forget_bias=check_number("forget_bias", self.forget_bias, 0, 5),
        )
        if self.kernel_size % 2 == 0:
            raise SettingError("kernel_size", self.kernel_size, "odd")
        if self.residual and self.num_layers == 1:
            raise SettingError("residual", True, "needs layers")

    @property
    def reach(self) -> int:
        """How far information moves from the newest frame to its prediction, px per frame.

        Each layer's kernel hands a pixel on by half its width; the 1x1 head adds nothing. The
        recurrent kernels are as wide, so older frames travel at the same pace. A square that moves
        faster than this is predicted from nothing.
        """
        return self.num_layers * (self.kernel_size // 2)


class NextFramePredictor(nn.Module):
    """A ConvLSTM and a 1x1 convolution that turns its output into the next frame.

    Args:
        config: the sizes and options.

    The article's own model is ModelConfig(16, 3, 1, "linear", forget_bias=0).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.convlstm = ConvLSTM(
            1,
            config.hidden_channels,
            config.kernel_size,
            config.num_layers,
            peephole=config.peephole,
            residual=config.residual,
            forget_bias=config.forget_bias,
        )
        self.head = nn.Conv2d(config.hidden_channels, 1, 1)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights, from the generator where one is given."""
        self.convlstm.reset_parameters(generator)
        bound = 1 / math.sqrt(self.config.hidden_channels)
        self.head.weight.uniform_(-bound, bound, generator=generator)
        if self.config.output == "sigmoid":
            # Start from near-black, as frames are: from grey, training first learns that the answer
            # is black everywhere, and can stay there.
            self.head.bias.fill_(_BLACK_LOGIT)
        else:
            self.head.bias.uniform_(-bound, bound, generator=generator)

    def forward(
        self, frames: Tensor, states: Sequence[State | None] | None = None
    ) -> tuple[Tensor, list[State]]:
        """Predict the frame after each given one.

        Args:
            frames: (B, T, 1, H, W), intensities in [0, 1].
            states: as an earlier call returned them; None means zeros.

        Returns:
            The head's values before the output function, (B, T, 1, H, W): logits for "sigmoid",
            intensities for "linear" (`intensities` turns either into frames); and the states.

        Raises:
            ValueError: frames or states have another shape.
        """
        hidden, states = self.convlstm(frames, states)
        hidden = hidden.transpose(0, 1)  # as they lie in memory, so that flattening copies nothing
        values = self.head(hidden.flatten(0, 1))  # (T, B, C, H, W) -> (T*B, 1, H, W)
        return values.unflatten(0, hidden.shape[:2]).transpose(0, 1), states

    def intensities(self, values: Tensor) -> Tensor:
        """Turn the head's values into intensities: in (0, 1) for "sigmoid", unbounded if not."""
        return values.sigmoid() if self.config.output == "sigmoid" else values

    @torch.no_grad()
    def predict(self, context: Tensor, horizon: int) -> Tensor:
        """Continue a sequence, on the model's own output after the first new frame.

        Args:
            context: frames seen, (B, T, 1, H, W), intensities in [0, 1].
            horizon: number of frames to predict, 1 or more.

        Returns:
            Predicted frames, (B, horizon, 1, H, W), in [0, 1], float32.

        Raises:
            ValueError: context has another shape, or horizon is not a positive whole number.
        """
        check_positive("horizon", horizon)
        frames, states, predicted = context, None, []
        for _ in range(horizon):
            hidden, states = self.convlstm(frames, states)
            values = self.head(hidden[:, -1])  # what follows the newest frame, and no other
            frames = self.intensities(values.float()).clamp(0, 1)[:, None]
            predicted.append(frames)
        return torch.cat(predicted, 1)


def build_predictor(
    config: ModelConfig, generator: torch.Generator, device: torch.device | str = "cpu"
) -> NextFramePredictor:
    """Make a predictor whose weights come from the generator alone, then move it to the device.

    The global random state is neither read nor changed: runs share a process.
    """
    with torch.device("meta"):
        model = NextFramePredictor(config)
    model.to_empty(device="cpu")
    model.reset_parameters(generator)
    return model.to(device)
