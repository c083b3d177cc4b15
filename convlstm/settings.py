"""Settings: fields of frozen dataclasses, whose range is declared once, beside the field.

That declaration feeds the check of whatever arrives (from a page, a link, a file or a flag), the
page's control, the command line's flag and the documentation. A configuration may be made of parts
that are such dataclasses themselves; no two of them have a field of the same name, so that all of
them together are one flat mapping.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal, TypeVar

from convlstm.checks import SettingError, check_choice, check_integer, check_names, check_number

Config = TypeVar("Config")

MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, and how the page asks for one.

    Attributes:
        low: the smallest.
        high: the largest.
        unit: what it counts; a key of the page's texts, or empty.
        shown_low: where a slider begins, if later than at low.
        shown_high: where it ends, if earlier than at high.
        step: between two values of a slider.
        scale: "log" spreads a slider's values evenly over their logarithm.
        choices: values that the page offers instead of a slider.
        typed: whether the page has a field to type in instead of a slider.
    """

    low: float
    high: float
    unit: str = ""
    shown_low: float | None = None
    shown_high: float | None = None
    step: float = 1
    scale: Literal["linear", "log"] = "linear"
    choices: tuple[int, ...] = ()
    typed: bool = False


class Integer(Range):
    """A whole number from low to high."""

    def check(self, name: str, value: object) -> int:
        """Return the value, or raise a `SettingError`."""
        return check_integer(name, value, self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Number(Range):
    """A finite number from low to high."""

    step: float = 0.1

    def check(self, name: str, value: object) -> float:
        """Return the value as a float, or raise a `SettingError`."""
        return check_number(name, value, self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:,g}"


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    choices: tuple[str, ...]

    def check(self, name: str, value: object) -> str:
        """Return the value, or raise a `SettingError`."""
        return check_choice(name, value, self.choices)

    def __str__(self) -> str:
        return ", ".join(self.choices)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def check(self, name: str, value: object) -> bool:
        """Return the value, or raise a `SettingError`."""
        if not isinstance(value, bool):
            raise SettingError(name, value, "flag")
        return value

    def __str__(self) -> str:
        return "yes or no"


Kind = Integer | Number | Choice | Flag


@dataclass(frozen=True)
class Setting:
    """What is declared of a setting.

    Attributes:
        name: of the field.
        kind: which values it takes.
        note: what it is, for a reader of the documentation; its unit is in it.
        default: its value where nobody says otherwise.
        more: whether the page shows it behind "more".
    """

    name: str
    kind: Kind
    note: str
    default: object
    more: bool


def setting(default: object, kind: Kind, note: str, *, first: bool = False) -> object:
    """Declare a field of a `Settings` class; the page shows the first ones at once."""
    return field(default=default, metadata={"kind": kind, "note": note, "more": not first})


class Settings:
    """What configurations inherit: every declared field is checked as the object is made."""

    def __post_init__(self) -> None:
        """Check every field, then what they are together.

        Raises:
            SettingError: a field is outside its range, or two do not go together.
        """
        for each in declared(type(self)):
            checked = each.kind.check(each.name, getattr(self, each.name))
            object.__setattr__(self, each.name, checked)  # which is frozen
        self.check_together()

    def check_together(self) -> None:
        """Refuse combinations of values that are right by themselves; for those who inherit.

        Raises:
            SettingError: two settings do not go together.
        """


def declared(owner: type) -> list[Setting]:
    """Return the settings of one class, in their order; those of its parts are not among them."""
    return [
        Setting(each.name, default=each.default, **each.metadata)
        for each in fields(owner)
        if "kind" in each.metadata
    ]


def all_declared(config: object) -> Iterator[Setting]:
    """Yield the settings of a configuration, those of its parts among them."""
    yield from declared(type(config))
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            yield from all_declared(value)


def settings_of(config: object) -> dict[str, object]:
    """Return a configuration's settings, those of its parts among them."""
    settings: dict[str, object] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            settings |= settings_of(value)
        elif "kind" in each.metadata:
            settings[each.name] = value
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
    for each in fields(config):
        value = getattr(config, each.name)
        is_part = is_dataclass(value)
        values[each.name] = _replace(value, settings) if is_part else settings.get(each.name, value)
    return type(config)(**values)
