"""What networks are made of, and what they are told of the frames that they read."""

from dataclasses import dataclass
from typing import Literal, get_args

from convlstm.checks import SettingError
from convlstm.networks.transport import REACH
from convlstm.settings import Choice, Flag, Integer, Number, Settings, setting

Architecture = Literal["stack", "multiscale"]
Output = Literal["sigmoid", "linear", "change", "transport"]
Rollout = Literal["closed", "states"]


@dataclass(frozen=True)
class FrameFormat:
    """What a network must know of a scene's frames, whose values lie in [0, 1].

    Attributes:
        channels: of a frame.
        mean: what a network takes away of each channel, one number for each.
        spread: what it divides by then, likewise.
        start_logit: where a sigmoid output starts, so that training need not find out first how
            dark frames are.
    """

    channels: int = 1
    mean: tuple[float, ...] = (0.0,)
    spread: tuple[float, ...] = (1.0,)
    start_logit: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether a network reads the values as they are."""
        return set(self.mean) == {0.0} and set(self.spread) == {1.0}


@dataclass(frozen=True)
class NetworkConfig(Settings):
    """The shape of a network. The defaults are Quick start's."""

    hidden_channels: int = setting(
        8,
        Integer(1, 256, shown_high=128),
        "channels of every layer's state; of the finest scale in multiscale, which doubles them "
        "from scale to scale",
        first=True,
    )
    kernel_size: int = setting(
        5,
        Integer(1, 7, "px", choices=(1, 3, 5, 7)),
        "side of the kernels, odd; of the finest scale in multiscale, whose others have 3",
        first=True,
    )
    num_layers: int = setting(
        1,
        Integer(1, 4, choices=(1, 2, 3, 4)),
        "ConvLSTM layers, or scales in multiscale",
        first=True,
    )
    architecture: Architecture = setting(
        "stack",
        Choice(get_args(Architecture)),
        "stack (layers on one grid) or multiscale (the digits tutorial's encoder-forecaster: "
        "down by half from layer to layer, and up again)",
    )
    patch_size: int = setting(
        1,
        Integer(1, 8, "px", choices=(1, 2, 4, 8)),
        "side of the patches of pixels that become channels: 1, 2, 4 or 8",
    )
    output: Output = setting(
        "sigmoid",
        Choice(get_args(Output)),
        "sigmoid, linear (as in the squares tutorial), change (what is added to the last frame) "
        "or transport (where the last frame's patches go, and what is painted over them); linear "
        "and change are clipped to [0, 1] when predicting",
    )
    residual: bool = setting(
        False,
        Flag(),
        "whether layers add their input to their output; in stack those after the first",
    )
    rollout: Rollout = setting(
        "closed",
        Choice(get_args(Rollout)),
        "closed (each predicted frame is read again) or states (after the frames seen, only the "
        "states go on)",
    )
    peephole: bool = setting(False, Flag(), "whether the gates see the cell state")
    attention: bool = setting(
        False, Flag(), "whether the coarse scales of multiscale attend over all positions"
    )
    forget_bias: float = setting(
        1.0, Number(0, 5, step=0.5), "initial bias of the forget gates; 0 leaves it as it is drawn"
    )
    recompute: bool = setting(
        False,
        Flag(),
        "whether training computes gates again instead of keeping them: slower, in less memory",
    )

    def check_together(self) -> None:
        """Refuse what does not go together, or could not act."""
        is_multiscale = self.architecture == "multiscale"
        if self.patch_size not in (1, 2, 4, 8):
            raise SettingError("patch_size", self.patch_size, "power of two")
        if self.kernel_size % 2 == 0:
            raise SettingError("kernel_size", self.kernel_size, "odd")
        if self.attention and not is_multiscale:
            raise SettingError("attention", True, "needs multiscale")
        for name in ("attention", *(() if is_multiscale else ("residual",))):
            if getattr(self, name) and self.num_layers == 1:
                raise SettingError(name, getattr(self, name), "needs layers")

    @property
    def gives_logits(self) -> bool:
        """Whether the head's values are logits of the frames, and not the frames."""
        return self.output in ("sigmoid", "transport")

    @property
    def divisor(self) -> int:
        """What H and W are a multiple of inside the network, px."""
        halvings = self.num_layers - 1 if self.architecture == "multiscale" else 0
        return self.patch_size * 2**halvings

    @property
    def predicts_next_frames(self) -> bool:
        """Whether the network predicts each next frame of what it reads, too."""
        return self.architecture == "stack"

    @property
    def reach(self) -> int:
        """How far information moves from the newest frame to its prediction, px per frame.

        Each layer's kernel hands a pixel on by half its width; the 1x1 head adds nothing, and one
        that transports takes pixels from as far as it reaches itself. The recurrent kernels are as
        wide, so older frames travel at the same pace. What moves faster is predicted from nothing.
        Of multiscale the way down is counted alone.
        """
        finest = self.patch_size * (self.kernel_size // 2)
        if self.architecture == "stack":
            reach = self.num_layers * finest
        else:
            reach = finest + sum(self.patch_size * 2**scale for scale in range(1, self.num_layers))
        return max(reach, REACH) if self.output == "transport" else reach
