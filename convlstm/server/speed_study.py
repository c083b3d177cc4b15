"""The speed test as a study: what a page is told of it."""

import math
from collections.abc import Generator

from convlstm.networks import copy_network
from convlstm.scenes.scene import Measure
from convlstm.settings import configure
from convlstm.training.metrics import Scores
from convlstm.training.speed_test import SpeedTest, SpeedTestOptions, at_speed, speed_test
from convlstm.training.trainer import Trainer

_FIGURES = 4  # of each number that is told


def speed_study(trainer: Trainer, options: object) -> Generator[float, None, dict[str, object]]:
    """Test a run's network as it is now at exact speeds.

    Args:
        trainer: the run.
        options: a mapping of `SpeedTestOptions`, or None.

    Raises:
        SettingError: an option is refused, or nothing in the scene has a speed.
    """
    options = configure({} if options is None else options, SpeedTestOptions())
    config = trainer.config
    at_speed(config.scene, 0)  # refused now, and not in its first piece
    pieces = speed_test(copy_network(trainer.judged), config, options, tuple(trainer.changes))
    return _told(pieces, config.scene.measure)


def _told(
    pieces: Generator[float, None, SpeedTest], measure: Measure
) -> Generator[float, None, dict[str, object]]:
    test = yield from pieces
    names = ("model", *next(iter(test.scores.values())).baselines)
    rows = {
        name: [
            scores.model if name == "model" else scores.baselines[name]
            for scores in test.scores.values()
        ]
        for name in names
    }
    return {
        "speeds": list(test.scores),
        "sequences": test.sequences,
        "horizon": test.horizon,
        "reach": test.reach,
        "trained": list(test.trained),
        "scores": {name: [_leads(leads, measure) for leads in row] for name, row in rows.items()},
    }


def _leads(leads: list[Scores], measure: Measure) -> dict[str, list[float | None]]:
    return {
        "error": [_number(measure.of(scores.mse)) for scores in leads],
        "ssim": [_number(scores.ssim) for scores in leads],
    }


def _number(value: float) -> float | None:
    return float(f"{value:.{_FIGURES}g}") if math.isfinite(value) else None
