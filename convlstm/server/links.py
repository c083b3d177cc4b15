"""Links that open the page with settings, readable by a person: `?speed=3&hidden=16`."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from convlstm.checks import SettingError, check_choice, shown
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server.notices import Reply, refusal
from convlstm.settings import configure, declared, settings_of
from convlstm.training.config import TrainConfig
from convlstm.training.presets import default_config

# Settings that a link calls by a shorter name.
_SHORT = {
    "num_squares": "squares",
    "square_size": "size",
    "num_digits": "digits",
    "hidden_channels": "hidden",
    "kernel_size": "kernel",
    "num_layers": "layers",
    "learning_rate": "rate",
    "batch_size": "batch",
    "batches_per_epoch": "batches",
    "gradient_clip": "clip",
}
_LONG = {short: name for name, short in _SHORT.items()}
_SCENE, _LOCK = "scene", "lock"
FIRST_SCENE = next(iter(CATALOGUE))
_NAMED = 5  # names of a link that a notice repeats


class Asked(NamedTuple):
    """What a link asks for."""

    scene: str
    config: TrainConfig | None  # None where it sets nothing
    locked: list[str]  # names of settings
    notice: Reply | None  # what of it was refused or is unknown


def read_link(query: object, scene: object, base: TrainConfig | None = None) -> Asked:
    """Read a link; what is wrong with it becomes a notice.

    Args:
        query: its names and texts, or None.
        scene: the scene where it names none.
        base: what its settings differ from, and whose scene it keeps; None for what the page of
            its scene begins with.
    """
    config, locked, notice = base, [], None
    try:
        texts, locks = split_locks(_texts(query or {}))
        scene = scene_of_query(texts, scene) if base is None else base.scene.name
        locked, unknown = locks_of(locks, scene)
        unknown = [*unknown_keys(texts, scene), *unknown]
        if unknown:
            notice = {"key": "unknown", "text": _listed(unknown)}
        if known := {key: text for key, text in texts.items() if key not in unknown}:
            config = config_of_query(known, scene, base)
    except SettingError as error:
        notice = refusal(error)
        scene = scene if isinstance(scene, str) and scene in CATALOGUE else FIRST_SCENE
    return Asked(scene, config, locked, notice)


def link_query(config: TrainConfig) -> str:
    """Return the query part of a link: the main settings, and what differs from default."""
    scene = config.scene.name
    default = settings_of(default_config(scene))
    # What a person sets, and a link always says.
    always = (declared(type(config.scene))[0].name, "hidden_channels", "epochs")
    query = {} if scene == FIRST_SCENE else {_SCENE: scene}
    query |= {
        _SHORT.get(name, name): str(value).lower() if isinstance(value, bool) else value
        for name, value in settings_of(config).items()
        if name in always or value != default[name]
    }
    return urlencode(query)


def scene_of_query(query: Mapping[str, str], otherwise: object = FIRST_SCENE) -> str:
    """Return the scene of a link, or the other one if it names none.

    Raises:
        SettingError: there is no such scene.
    """
    return check_choice(_SCENE, query.get(_SCENE, otherwise), CATALOGUE)


def split_locks(query: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Take what a link locks from what it sets."""
    settings = dict(query)
    return settings, settings.pop(_LOCK, "")


def locks_of(locks: str, scene: str) -> tuple[list[str], list[str]]:
    """Read the settings that a link locks: names with commas between them.

    Returns:
        The settings, and those of the names that the scene does not have.
    """
    known = settings_of(default_config(scene))
    given = dict.fromkeys(name.strip() for name in locks.split(",") if name.strip())
    names = {name: _LONG.get(name, name) for name in given}
    unknown = [name for name, long in names.items() if long not in known]
    return [long for long in dict.fromkeys(names.values()) if long in known], unknown


def unknown_keys(query: Mapping[str, str], scene: str = FIRST_SCENE) -> list[str]:
    """Return what a link names that is no setting of its scene.

    Raises:
        SettingError: there is no such scene.
    """
    known = settings_of(default_config(scene_of_query(query, scene)))
    return [key for key in query if key != _SCENE and _LONG.get(key, key) not in known]


def config_of_query(
    query: Mapping[str, str], scene: str = FIRST_SCENE, base: TrainConfig | None = None
) -> TrainConfig:
    """Read a link's settings, in the scene that it names, or in the given one.

    Args:
        query: names and texts.
        scene: where the link names none.
        base: what it differs from; None for what the scene's page begins with.

    Raises:
        SettingError: a name or a value is refused.
    """
    base = base or default_config(scene_of_query(query, scene))
    default = settings_of(base)
    settings: dict[str, object] = {}
    for key, text in query.items():
        if key != _SCENE:
            name = _LONG.get(key, key)
            settings[name] = _parse(text, default.get(name))
    return configure(settings, base)


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


def _texts(query: object) -> Mapping[str, str]:
    if not isinstance(query, Mapping) or not all(isinstance(v, str) for v in query.values()):
        raise SettingError("settings", query, "mapping")
    return query


def _listed(names: list[str]) -> str:
    """Name some keys of a link, of which there may be many."""
    some = [shown(name).strip("'") for name in names[:_NAMED]]
    return ", ".join([*some, "..."] if len(names) > _NAMED else some)
