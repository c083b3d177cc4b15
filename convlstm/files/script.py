"""A run as a program to take home: one readable script that needs PyTorch and nothing else.

The script stands in `script.txt` as a template. A $name is filled in; lines between "#? if word"
and "#? else" or "#? end" stay only in the scripts of runs that use what the word names. The
engine's numbers are written out, as a reader wants them; the tests hold both to the same losses.
"""

from collections.abc import Iterator
from pathlib import Path
from string import Template

from convlstm.checks import SettingError
from convlstm.settings import settings_of
from convlstm.training.config import TrainConfig

_TEMPLATE = Path(__file__).with_suffix(".txt").read_text("utf-8")
# The values that the script has words for.
_SAYABLE: dict[str, tuple[object, ...]] = {
    "horizon": (1,),
    "architecture": ("stack",),
    "patch_size": (1,),
    "rollout": ("closed",),
    "recompute": (False,),
    "optimizer": ("adamw",),
    "weight_decay": (0.0,),
    "ema": (0.0,),
    "augmented": (False,),
    "patience": (0,),
    "max_minutes": (0.0,),
    "output": ("sigmoid", "linear"),
    "loss": ("bce", "mse", "l1", "mse+ssim"),
    "precision": ("auto", "float32", "bfloat16"),
}


def check_sayable(config: TrainConfig) -> None:
    """Refuse a run that a script cannot repeat.

    Raises:
        SettingError: a setting that the script has no words for.
    """
    if config.scene.name != "squares":
        raise SettingError("scene", config.scene.name, "not in a script")
    settings = settings_of(config)
    for name, sayable in _SAYABLE.items():
        if settings[name] not in sayable:
            raise SettingError(name, settings[name], "not in a script")


def training_script(config: TrainConfig) -> str:
    """Write a PyTorch script that trains the same network on the same data, without this project.

    It draws from the same seeds in the same order: on the CPU in float32 its losses are those of
    `train`, up to rounding. Parts that the run does not use are not in the text.

    Args:
        config: the run, of moving squares. Precision "auto" becomes float32: what else it means
            depends on the machine.

    Returns:
        The text of a Python file, for Python 3.10 and later.

    Raises:
        SettingError: a setting that the script has no words for.
    """
    check_sayable(config)
    scene, network = config.scene, config.network
    uses = {
        "noise": scene.noise > 0,
        "all directions": scene.directions == "all",
        "wrap": scene.walls == "wrap",
        "peephole": network.peephole,
        "forget bias": network.forget_bias > 0,
        "layers": network.num_layers > 1,
        "residual": network.residual,
        "sigmoid": network.output == "sigmoid",
        "logits": config.loss == "bce",
        "mse": config.loss == "mse",
        "l1": config.loss == "l1",
        "ssim": config.loss == "mse+ssim",
        "last target": config.targets == "future",
        "onecycle": config.schedule == "onecycle",
        "clip": config.gradient_clip > 0,
        "goal": config.stop_below > 0,
        "bfloat16": config.precision == "bfloat16",
    }
    if uses["logits"]:
        as_output, as_frame = "", ".sigmoid()"
    elif uses["sigmoid"]:
        as_output, as_frame = ".sigmoid()", ""
    else:
        as_output, as_frame = "", ".clamp(0, 1)"
    return Template("".join(_kept_lines(_TEMPLATE, uses))).substitute(
        settings_of(config),
        steps=config.total_steps,
        batch="seen, frames" if uses["noise"] else "frames",
        seen="seen" if uses["noise"] else "frames",
        as_float=".float()" if uses["bfloat16"] else "",
        as_output=as_output,
        as_frame=as_frame,
    )


def _kept_lines(template: str, uses: dict[str, bool]) -> Iterator[str]:
    """Yield the lines whose conditions hold; an "if" may stand within another."""
    conditions: list[bool] = []
    for line in template.splitlines(keepends=True):
        mark, _, order = line.strip().partition(" ")
        if mark != "#?":
            if all(conditions):
                yield line
        elif order == "end":
            conditions.pop()
        elif order == "else":
            conditions[-1] = not conditions[-1]
        else:
            conditions.append(uses[order.removeprefix("if ")])
