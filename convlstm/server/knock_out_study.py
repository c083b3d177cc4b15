"""The knock-out of channels as a study: what a page is told of it."""

from collections.abc import Generator

from convlstm.checks import check_names
from convlstm.networks import copy_network
from convlstm.scenes.scene import Measure
from convlstm.training.knock_out import KnockOut, knock_out
from convlstm.training.trainer import Trainer

_MOST_TOLD = 32  # channels, of those that are missed most


def knock_out_study(trainer: Trainer, options: object) -> Generator[float, None, dict[str, object]]:
    """Silence each channel of a run's network as it is now.

    Args:
        trainer: the run.
        options: None, or an empty mapping: there are none.

    Raises:
        SettingError: an option is given.
    """
    check_names({} if options is None else options, ())
    pieces = knock_out(copy_network(trainer.judged), trainer.config)
    return _told(pieces, trainer.config.scene.measure)


def _told(
    pieces: Generator[float, None, KnockOut], measure: Measure
) -> Generator[float, None, dict[str, object]]:
    found = yield from pieces
    return {
        "sequences": found.sequences,
        "error": measure.of(found.mse),
        "of": len(found.channels),
        "channels": [
            [each.cell, each.channel, measure.of(each.mse)] for each in found.channels[:_MOST_TOLD]
        ],
    }
