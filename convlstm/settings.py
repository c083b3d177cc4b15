"""A configuration as one flat mapping of settings, as links, files, flags and the page carry it.

A configuration is a frozen dataclass that checks its fields, and whose fields may be such
dataclasses themselves; no two of them have a field of the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TypeVar

from convlstm.checks import check_choice, check_integer, check_names, check_number, normalise

Config = TypeVar("Config")

MAX_SEED = 2**31 - 1
CHANGEABLE = ("speed", "learning_rate")  # between two steps of a run


@dataclass(frozen=True)
class Change:
    """A setting changed during a run, from the step after `step` on."""

    step: int
    name: str
    old: float
    new: float

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: a field is outside its range.
        """
        normalise(
            self,
            step=check_integer("step", self.step, 0, 10_000_000),
            name=check_choice("name", self.name, CHANGEABLE),
            old=check_number("old", self.old, 0, 8),
            new=check_number("new", self.new, 0, 8),
        )


def settings_of(config: object) -> dict[str, object]:
    """Return a configuration's settings, those of its parts among them."""
    settings: dict[str, object] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        settings |= settings_of(value) if is_dataclass(value) else {field.name: value}
    return settings


def configure(settings: object, base: Config) -> Config:
    """Make a configuration of settings: the one way in for whatever arrives.

    Args:
        settings: a mapping of names and values; what is missing comes from base.
        base: the configuration to start from.

    Raises:
        SettingError: settings is no mapping, or a name or a value is refused.
    """
    return _replace(base, check_names(settings, settings_of(base)))


def differences(old: object, new: object) -> dict[str, tuple[object, object]]:
    """Return the settings in which two configurations differ, and their old and new values."""
    before, after = settings_of(old), settings_of(new)
    return {name: (before[name], after[name]) for name in after if before[name] != after[name]}


def _replace(config: Config, settings: Mapping[str, object]) -> Config:
    values = {}
    for field in fields(config):
        value = getattr(config, field.name)
        is_part = is_dataclass(value)
        values[field.name] = (
            _replace(value, settings) if is_part else settings.get(field.name, value)
        )
    return type(config)(**values)
