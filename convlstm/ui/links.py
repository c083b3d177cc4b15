"""Links that open the page with settings, readable by a person: `?speed=3&hidden=16`."""

from collections.abc import Mapping
from urllib.parse import urlencode

from convlstm.training import TrainConfig, config_from, settings_of

# Settings that a link calls by a shorter name.
_SHORT = {
    "num_squares": "squares",
    "square_size": "size",
    "hidden_channels": "hidden",
    "kernel_size": "kernel",
    "num_layers": "layers",
    "learning_rate": "rate",
    "batch_size": "batch",
    "batches_per_epoch": "batches",
    "gradient_clip": "clip",
}
_LONG = {short: name for name, short in _SHORT.items()}
_ALWAYS = ("speed", "hidden_channels", "epochs")  # the three that a person sets


def link_query(config: TrainConfig) -> str:
    """Return the query part of a link: the three main settings, and what differs from default."""
    default = settings_of(TrainConfig())
    query = {
        _SHORT.get(name, name): str(value).lower() if isinstance(value, bool) else value
        for name, value in settings_of(config).items()
        if name in _ALWAYS or value != default[name]
    }
    return urlencode(query)


def config_of_query(query: Mapping[str, str]) -> TrainConfig:
    """Read a link's settings.

    Raises:
        SettingError: a name or a value is refused.
    """
    default = settings_of(TrainConfig())
    settings: dict[str, object] = {}
    for key, text in query.items():
        name = _LONG.get(key, key)
        settings[name] = _parse(text, default.get(name))
    return config_from(settings)


def _parse(text: str, like: object) -> object:
    """Turn a text into the type of a setting; what does not fit stays text, for the validator."""
    if isinstance(like, bool):
        return {"true": True, "false": False}.get(text, text)
    if isinstance(like, int | float):
        try:
            return int(text) if isinstance(like, int) else float(text)
        except ValueError:
            return text
    return text
