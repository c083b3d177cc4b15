"""The catalogue's presets as configurations."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from convlstm.scenes.catalogue import CATALOGUE
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


def default_config(scene: str, data: Mapping[str, Tensor] | None = None) -> TrainConfig:
    """Return what a page of a scene begins with: its first preset.

    Args:
        scene: its name.
        data: what the scene holds besides its settings, of one that is there (`Scene.data`).

    Raises:
        SettingError: they do not go with the preset.
    """
    config = preset(next(iter(CATALOGUE[scene].presets)))
    return replace(config, scene=config.scene.holding(data)) if data else config


def offered(scene: str) -> Iterator[str]:
    """Yield the names of the presets that a page offers for a scene."""
    entry = CATALOGUE[scene]
    yield from list(entry.presets)[: entry.offered]


def preset_names() -> list[str]:
    """Name all presets of all scenes."""
    return [name for entry in CATALOGUE.values() for name in entry.presets]
