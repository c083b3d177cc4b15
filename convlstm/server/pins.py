"""Runs that somebody has pinned: what they had learnt by then, kept beside the run that goes on.

A pin holds the content of a network's file, and what its viewers were told of its curve and scores.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from convlstm.checks import SettingError, check_integer
from convlstm.files.checkpoint import load_network
from convlstm.files.pictures import sprite_sheet
from convlstm.files.reading import read_checkpoint
from convlstm.files.safe_files import CheckpointError
from convlstm.server.view import Shown, View, finite
from convlstm.training.metrics import by_lead_time
from convlstm.training.picture import images_of
from convlstm.training.trainer import Trainer
from convlstm.training.validation import scene_scores

MOST_PINS = 3  # of a run
_MOST_BYTES = 2**27  # of the networks that are pinned beside one run


@dataclass(frozen=True)
class Pin:
    """A run as it was when it was pinned.

    Attributes:
        number: by which it is known, from 1.
        told: what viewers were told of it then: `settings`, `curve`, `scores`, `step`, `shipped`.
        content: of its network's file.
    """

    number: int
    told: dict[str, object]
    content: bytes


class Pins:
    """The runs that are pinned beside a run.

    Args:
        pinned: those that were kept.

    Attributes:
        all: them, by number.
        version: grows with every change.
    """

    def __init__(self, pinned: tuple[Pin, ...] = ()) -> None:
        self.all, self.version = pinned, 0
        self._rows: dict[int, tuple[object, dict[str, object]]] = {}  # the newest of each

    @property
    def mib(self) -> float:
        """Memory that they hold, MiB."""
        return sum(len(pin.content) for pin in self.all) / 2**20

    def check_room(self, content: bytes) -> None:
        """Refuse one more.

        Raises:
            SettingError: there are as many as there may be, or they would be too large.
        """
        if len(self.all) >= MOST_PINS:
            raise SettingError("pins", len(self.all) + 1, "pins", high=MOST_PINS)
        size = sum(len(pin.content) for pin in self.all) + len(content)
        if size > _MOST_BYTES:
            high = _MOST_BYTES // 2**20
            raise SettingError("pins", f"{size / 2**20:.0f} MiB", "pinned size", high=high)

    def add(self, told: Mapping[str, object], content: bytes) -> None:
        """Pin a run under the first number that is free."""
        self.check_room(content)
        taken = {pin.number for pin in self.all}
        number = next(n for n in range(1, MOST_PINS + 1) if n not in taken)
        self.all = tuple(
            sorted((*self.all, Pin(number, dict(told), content)), key=lambda pin: pin.number)
        )
        self.version += 1

    def remove(self, number: object) -> None:
        """Forget one, if it is there.

        Raises:
            SettingError: that is no number of a pin.
        """
        number = check_integer("number", number, 1, MOST_PINS)
        self.all = tuple(pin for pin in self.all if pin.number != number)
        self._rows.pop(number, None)
        self.version += 1

    def row(self, pin: Pin, trainer: Trainer, view: View, shown: Shown) -> dict[str, object]:
        """Return what a pinned network makes of the sequence that the run's viewers look at.

        Args:
            pin: it.
            trainer: of the run beside it.
            view: of that run.
            shown: the sequence.

        Returns:
            number; sprites, a picture of the predicted frames, and scores by lead time (error and
            ssim), or None for both where it reads frames of another kind.
        """
        key, known = (view, shown), self._rows.get(pin.number)
        if known is None or known[0] != key:
            self._rows[pin.number] = known = key, _row(pin, trainer, view, shown)
        return known[1]


def _row(pin: Pin, trainer: Trainer, view: View, shown: Shown) -> dict[str, object]:
    checkpoint, scene = read_checkpoint(pin.content), trainer.config.scene
    own = checkpoint.config.scene
    if (own.frames, own.look) != (scene.frames, scene.look):  # another variable
        return {"number": pin.number, "sprites": None, "scores": None}
    network, clip = load_network(checkpoint, trainer.device), view.clip(shown)
    context, truth, valid = clip.split(view.context_frames)
    predicted = network.predict(
        context.to(trainer.device), truth.shape[1], augmented=checkpoint.config.augmented
    ).cpu()
    scores = by_lead_time(scene_scores(scene, predicted, truth, valid))
    frames = images_of(scene, predicted)
    return {
        "number": pin.number,
        "sprites": base64.b64encode(sprite_sheet(scene.look.on_scale(frames))).decode(),
        "scores": [
            {"error": finite(scene.measure.of(each.mse)), "ssim": finite(each.ssim)}
            for each in scores
        ],
    }


def packed(pins: tuple[Pin, ...]) -> bytes:
    """Make the content of a file of pins; empty without any."""
    if not pins:
        return b""
    heads = [{"number": p.number, "told": p.told, "bytes": len(p.content)} for p in pins]
    return b"".join([json.dumps(heads).encode(), b"\n", *(pin.content for pin in pins)])


def unpacked(data: bytes) -> tuple[Pin, ...]:
    """Read a file of pins.

    Raises:
        CheckpointError: it is damaged.
    """
    head, _, rest = data.partition(b"\n")
    try:
        pins = []
        for each in json.loads(head):
            content, rest = rest[: each["bytes"]], rest[each["bytes"] :]
            read_checkpoint(content)
            pins.append(Pin(int(each["number"]), dict(each["told"]), content))
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"The pinned runs are damaged: {error}.") from error
    return tuple(pins)
