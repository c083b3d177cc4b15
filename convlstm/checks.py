"""Checks of single values, shared by every configuration.

Each check returns the value it was given, or raises a `SettingError`: one line that holds the name,
the value and the rule. Types are strict on purpose: what arrives may come from a web page, a link
or a file.
"""

from collections.abc import Iterable, Mapping

_SHOWN = 60  # characters of a refused value that a message repeats

# What a value must be. The page keeps the same rules in its other language.
RULES = {
    "integer": "must be a whole number from {low} to {high}",
    "number": "must be a number from {low:g} to {high:g}",
    "choice": "must be one of {choices}",
    "flag": "must be true or false",
    "odd": "must be odd: 1, 3, 5 or 7",
    "drawing": "must be {count} whole numbers from 0 to 255, not all of them black",
    "experiment": "must be a list of at most {high} changes",
    "alone": "must be the only change",
    "multiple": "must be a multiple of {divisor}",
    "power of two": "must be 1, 2, 4 or 8",
    "needs multiscale": 'must go with architecture "multiscale"',
    "needs next frames": 'must go with architecture "stack", which predicts every next frame',
    "needs horizon": "needs a horizon of 2 or more",
    "needs feedback": 'must go with rollout "closed"',
    "needs layers": "needs num_layers of 2 or more",
    "third of canvas": "must be at most {high}, a third of the canvas",
    "half of canvas": "must be at most {high}, half of the canvas",
    "bar in frame": "must be at most {high}, so that the bar ends inside the frame",
    "sigmoid": 'must go with output "sigmoid" or "transport"',
    "crop": "must be 0, for whole maps, or from {low} to {high}",
    "every": "must be at most {high}, which leaves 20 frames of the clip",
    "needs truth": "needs a sequence of which it is known how it goes on",
    "clip kind": "must be an animated GIF, WebP or PNG, or an array (.npy, .npz) of numbers with "
    "the axes (T, H, W) or (T, H, W, C), C of 1, 3 or 4",
    "clip bytes": "must be at most {high} MiB",
    "clip arrays": "must hold one array",
    "clip damaged": "cannot be read: it is damaged or cut off",
    "clip frames": "must have {low} to {high} frames",
    "clip side": "must have square frames of {low} to {high} px",
    "clip pixels": "must have frames of at least {low} px on each side and at most {high} million "
    "pixels altogether",
    "clip numbers": "must hold finite numbers alone",
    "clip still": "must show something that moves: all of its frames are alike",
    "piece": "must be 0, for whole frames, or from {low} to {high}",
    "steps": "must be at most {high} with so many epochs: a run has at most 1,000,000 steps",
    "unknown": "is not a setting; the settings are {choices}",
    "mapping": "must be an object of settings",
    "needs digits": "is for a scene of handwritten digits",
    "needs speed": "is for a scene in which things move at a speed that one may set",
    "pins": "must be at most {high}: unpin one first",
    "pinned size": "must be at most {high} MiB for all pinned networks of a run together",
    "not in a script": "cannot be said in a script",
    "in onnx": "must be at most {high} MiB to be written as ONNX",
    "speeds": "must be a list of speeds from 0 to {high}",
    "place": "must be a column and a row, whole numbers from 0 to {high}",
    "name": "must be at most {high} letters that can be seen, without <, > or &",
    "budget": "must be at most {high}: {cost} is over the limit of {limit} on this server",
}


class SettingError(ValueError):
    """A value that breaks a rule.

    Attributes:
        name: the setting.
        value: what was given.
        rule: a key of RULES.
        details: the numbers and words in that rule.
    """

    def __init__(self, name: str, value: object, rule: str, **details: object) -> None:
        self.name, self.value, self.rule, self.details = name, value, rule, details
        super().__init__(f"{name} is {shown(value)}: {RULES[rule].format(**details)}.")


def shown(value: object) -> str:
    """Return a short, one-line representation of any value for an error message."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # an integer of 5000 digits, a list nested absurdly
        text = f"of type {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def check_integer(name: str, value: object, low: int, high: int) -> int:
    """Return value if it is an integer in [low, high]; a float that is whole counts."""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(whole, bool) or not isinstance(whole, int) or not low <= whole <= high:
        raise SettingError(name, value, "integer", low=low, high=high)
    return whole


def check_number(name: str, value: object, low: float, high: float) -> float:
    """Return value as a float if it is a finite number in [low, high]."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # false for NaN too
        raise SettingError(name, value, "number", low=low, high=high)
    return float(value)


def check_choice(name: str, value: object, choices: Iterable[str]) -> str:
    """Return value if it is one of the choices."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise SettingError(name, value, "choice", choices=", ".join(choices))
    return value


def check_names(given: object, known: Iterable[str]) -> Mapping[str, object]:
    """Return a mapping if each of its keys is known."""
    if not isinstance(given, Mapping):
        raise SettingError("settings", given, "mapping")
    known = tuple(known)
    for name, value in given.items():
        if name not in known:
            raise SettingError(shown(name).strip("'"), value, "unknown", choices=", ".join(known))
    return given
