"""The catalogue of scenes: what a page, a link, a file or a flag may ask for.

A scene's entry is its class and its presets: settings worth a button, each of which shows one
thing. What they are called and what they say stands in the page's texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from convlstm.scenes import digits, own, squares, storm
from convlstm.scenes.scene import Scene

Values = Mapping[str, object]


@dataclass(frozen=True)
class Entry:
    """One scene of the catalogue.

    Attributes:
        scene: with its default settings.
        presets: by name, the settings in which each differs from the defaults. A page begins with
            the first.
        offered: how many of the presets, from the first, teach something in minutes on two cores,
            so that a page offers them; the others are for the command line.
        shipped: the file in `checkpoints/` whose network a page shows before anybody has trained.
    """

    scene: Scene
    presets: Mapping[str, Values]
    offered: int
    shipped: str


CATALOGUE: dict[str, Entry] = {
    entry.scene.name: entry
    for entry in (
        Entry(squares.Squares(), squares.PRESETS, 5, "quick-start.safetensors"),
        Entry(digits.Digits(), digits.PRESETS, 3, "moving-mnist-compact.safetensors"),
        Entry(storm.Storm(), storm.PRESETS, 3, "blizzard.safetensors"),
        Entry(own.Own(), own.PRESETS, 1, "pendulum.safetensors"),
    )
}
