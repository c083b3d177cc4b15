"""The catalogue's presets as configurations."""

from collections.abc import Iterator
from dataclasses import replace

from convlstm.scenes.catalogue import CATALOGUE
from convlstm.scenes.scene import Scene
from convlstm.settings import configure
from convlstm.training.config import TrainConfig


def preset(name: str) -> TrainConfig:
    """Return a preset's configuration.

    Raises:
        KeyError: there is none of that name.
    """
    for entry in CATALOGUE.values():
        if name in entry.presets:
            return configure(entry.presets[name], TrainConfig(entry.scene))
    raise KeyError(name)


def default_config(scene: str) -> TrainConfig:
    """Return what a page of a scene begins with: its first preset."""
    return preset(next(iter(CATALOGUE[scene].presets)))


def first_config(scene: Scene) -> TrainConfig:
    """Return what a page begins with that shows the same as a scene.

    Raises:
        SettingError: what it shows is too little for the first preset.
    """
    config = default_config(scene.name)
    return replace(config, scene=config.scene.like(scene))


def offered(scene: str) -> Iterator[str]:
    """Yield the names of the presets that a page offers for a scene."""
    entry = CATALOGUE[scene]
    yield from list(entry.presets)[: entry.offered]


def preset_names() -> list[str]:
    """Name all presets of all scenes."""
    return [name for entry in CATALOGUE.values() for name in entry.presets]
