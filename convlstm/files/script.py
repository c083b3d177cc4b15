"""A run as a program to take home: one readable script that needs PyTorch and nothing else.

The script stands in `script.jinja` as a template: parts of it stay only in the scripts of runs that
use them. The engine's numbers are written out, as a reader wants them; the tests hold both to the
same losses.
"""

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from convlstm.checks import SettingError
from convlstm.scenes.occluder import BAR_VALUE
from convlstm.settings import settings_of
from convlstm.training.config import TrainConfig

_TEMPLATE = Environment(
    trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
).from_string(Path(__file__).with_suffix(".jinja").read_text("utf-8"))
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
    if settings["bar_width"] and settings["small_frames"]:  # which may be too small for the bar
        raise SettingError("small_frames", settings["small_frames"], "not in a script")


def has_script(config: TrainConfig) -> bool:
    """Whether a run can be had as a script."""
    try:
        check_sayable(config)
    except SettingError:
        return False
    return True


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
    steps, scene = config.total_steps, config.scene
    small_steps = sum(step / steps < scene.small_frames for step in range(steps))
    return _TEMPLATE.render(
        settings_of(config),
        steps=steps,
        small_steps=small_steps,
        small_canvas=scene.small_canvas,
        bar_value=BAR_VALUE,
    )
