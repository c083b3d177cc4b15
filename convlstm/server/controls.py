"""The page's controls, made of what each setting declares."""

from dataclasses import dataclass, replace
from typing import Literal

from convlstm.settings import Choice, Flag, Setting, declared
from convlstm.training.config import TrainConfig
from convlstm.training.presets import default_config


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
        unit: what stands behind the value; a key of the page's texts, or empty.
    """

    name: str
    group: Literal["scene", "network", "training"]
    kind: Literal["slider", "choice", "flag", "number"]
    more: bool = False
    low: float = 0
    high: float = 0
    step: float = 1
    scale: Literal["linear", "log"] = "linear"
    choices: tuple[object, ...] = ()
    unit: str = ""


def controls_of(scene: str) -> list[Control]:
    """Return the controls of a scene's page, in the order of the settings."""
    config = default_config(scene)
    parts = {"scene": type(config.scene), "network": type(config.network), "training": TrainConfig}
    controls = (_control(each, group) for group, owner in parts.items() for each in declared(owner))
    longest = config.scene.longest_horizon
    return [replace(each, high=longest) if each.name == "horizon" else each for each in controls]


def _control(setting: Setting, group: Literal["scene", "network", "training"]) -> Control:
    kind, name, more = setting.kind, setting.name, setting.more
    if isinstance(kind, Flag):
        return Control(name, group, "flag", more)
    if isinstance(kind, Choice):
        return Control(name, group, "choice", more, choices=kind.choices)
    if kind.choices:
        return Control(name, group, "choice", more, choices=kind.choices, unit=kind.unit)
    return Control(
        name,
        group,
        "number" if kind.typed else "slider",
        more,
        kind.low if kind.shown_low is None else kind.shown_low,
        kind.high if kind.shown_high is None or kind.typed else kind.shown_high,
        kind.step,
        kind.scale,
        unit=kind.unit,
    )
