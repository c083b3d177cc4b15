"""The page's controls: which settings it shows, where, and over which range.

The engine's validator has the last word; a test holds that it accepts every end of every range.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["slider", "choice", "flag", "number"]


@dataclass(frozen=True)
class Control:
    """One control of the panel.

    Attributes:
        name: the setting, by the engine's name.
        group: the heading it stands under.
        kind: what the page draws.
        more: whether it waits behind "more".
        low: smallest value of a slider or a number.
        high: largest value.
        step: distance between values; a slider's `scale` may change its meaning.
        scale: "log" places a slider's values evenly in their logarithm, rounded to one figure.
        choices: values of a choice.
        unit: text behind the value; a key of the page's texts, or empty.
    """

    name: str
    group: Literal["scene", "model", "training"]
    kind: Kind
    more: bool = False
    low: float = 0
    high: float = 0
    step: float = 1
    scale: Literal["linear", "log"] = "linear"
    choices: tuple[object, ...] = ()
    unit: str = ""


_SQUARES = (
    Control("speed", "scene", "slider", low=1, high=8, unit="px/frame"),
    Control("walls", "scene", "choice", choices=("wrap", "bounce")),
    Control("num_squares", "scene", "slider", more=True, low=1, high=3),
    Control("square_size", "scene", "slider", more=True, low=2, high=16, unit="px"),
    Control("canvas", "scene", "choice", more=True, choices=(16, 32, 48, 64, 96, 128), unit="px"),
    Control("directions", "scene", "choice", more=True, choices=("down-right", "all")),
    Control("noise", "scene", "slider", more=True, low=0, high=0.5, step=0.05),
    Control("hidden_channels", "model", "slider", low=1, high=64),
    Control("kernel_size", "model", "choice", choices=(1, 3, 5, 7)),
    Control("num_layers", "model", "choice", choices=(1, 2, 3)),
    Control("output", "model", "choice", more=True, choices=("sigmoid", "linear")),
    Control("peephole", "model", "flag", more=True),
    Control("residual", "model", "flag", more=True),
    Control("forget_bias", "model", "slider", more=True, low=0, high=5, step=0.5),
    Control("epochs", "training", "slider", low=1, high=5000, scale="log"),
    Control("learning_rate", "training", "slider", low=1e-5, high=1, scale="log"),
    Control("batch_size", "training", "slider", more=True, low=1, high=32),
    Control("batches_per_epoch", "training", "slider", more=True, low=1, high=100, scale="log"),
    Control("loss", "training", "choice", more=True, choices=("bce", "mse", "l1", "mse+ssim")),
    Control("targets", "training", "choice", more=True, choices=("all", "last")),
    Control("schedule", "training", "choice", more=True, choices=("onecycle", "constant")),
    Control("gradient_clip", "training", "slider", more=True, low=0, high=10, step=0.5),
    Control("precision", "training", "choice", more=True, choices=("auto", "float32", "bfloat16")),
    Control("stop_below", "training", "number", more=True, low=0, high=1, step=0.0001),
    Control("evaluate_every", "training", "slider", more=True, low=1, high=100),
    Control("seed", "training", "number", more=True, low=0, high=2**31 - 1),
)

_LOSSES = ("mse", "l1", "l1+mse", "bce", "ssim", "mse+ssim", "bce+ssim")
_DIGITS = (
    Control("num_digits", "scene", "choice", choices=(1, 2, 3)),
    Control("speed", "scene", "slider", low=0, high=8, step=0.1, unit="px/frame"),
    Control("canvas", "scene", "choice", more=True, choices=(32, 48, 64, 96, 128), unit="px"),
    Control("flips", "scene", "flag", more=True),
    Control("hidden_channels", "model", "slider", low=1, high=128),
    Control("num_layers", "model", "choice", choices=(1, 2, 3, 4)),
    Control("kernel_size", "model", "choice", choices=(1, 3, 5, 7)),
    Control("rollout", "model", "choice", more=True, choices=("closed", "states")),
    Control("residual", "model", "flag", more=True),
    Control("patch_size", "model", "choice", more=True, choices=(1, 2, 4, 8), unit="px"),
    Control("network", "model", "choice", more=True, choices=("stack", "multiscale")),
    Control("attention", "model", "flag", more=True),
    Control("recompute", "model", "flag", more=True),
    Control("steps", "training", "slider", low=10, high=100_000, scale="log"),
    Control("loss", "training", "choice", choices=_LOSSES),
    Control("learning_rate", "training", "slider", more=True, low=1e-5, high=1, scale="log"),
    Control("batch_size", "training", "slider", more=True, low=1, high=32),
    Control("optimizer", "training", "choice", more=True, choices=("muon", "adamw")),
    Control("weight_decay", "training", "number", more=True, low=0, high=1, step=0.01),
    Control("schedule", "training", "choice", more=True, choices=("onecycle", "constant")),
    Control("warm_up", "training", "slider", more=True, low=0.05, high=0.9, step=0.05),
    Control("curriculum", "training", "slider", more=True, low=0, high=1, step=0.1),
    Control("scheduled_sampling", "training", "slider", more=True, low=0, high=1, step=0.1),
    Control("targets", "training", "choice", more=True, choices=("all", "future")),
    Control("gradient_clip", "training", "slider", more=True, low=0, high=10, step=0.5),
    Control("ema", "training", "number", more=True, low=0, high=0.99999, step=0.001),
    Control("augmented", "training", "flag", more=True),
    Control("precision", "training", "choice", more=True, choices=("auto", "float32", "bfloat16")),
    Control("max_minutes", "training", "number", more=True, low=0, high=30),
    Control("patience", "training", "number", more=True, low=0, high=1000),
    Control("evaluate_every", "training", "slider", more=True, low=10, high=1000, step=10),
    Control("seed", "training", "number", more=True, low=0, high=2**31 - 1),
)
# In each scene: every setting has one, so that a link or a file never hides what it holds.
CONTROLS: dict[str, tuple[Control, ...]] = {"squares": _SQUARES, "digits": _DIGITS}
