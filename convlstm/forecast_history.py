"""The history of a forecaster's training as tables, as a run's file holds it.

One table has a row for each step, the other one for each evaluation; float64, (rows, columns).
"""

import math
from dataclasses import astuple, replace

import numpy as np
import torch
from torch import Tensor

from convlstm.forecast_config import HORIZON
from convlstm.forecasting import End, ForecastRecord
from convlstm.safe_files import CheckpointError
from convlstm.video_metrics import SCORE_NAMES, VideoEvaluation, VideoScores

_LARGEST = 1e30  # that any loss reaches
# What the columns of a step may hold. A diverged run's last loss and error may be NaN, too.
_RANGES = {
    "progress": (0, 1),
    "horizon": (1, HORIZON),
    "loss": (-_LARGEST, _LARGEST),
    "mse": (0, _LARGEST),
    "learning_rate": (0, 1),
    "seconds": (0, 1e9),
}
_SCORES = len(SCORE_NAMES)
_LARGEST_SCORE = 1e6
# By name: the columns of each table. An evaluation is its step, the validation loss, and the scores
# of the model, of black frames and of the copied last frame.
TABLES = {"history.steps": len(_RANGES), "history.evaluations": 2 + 3 * _SCORES}


def history_tables(records: list[ForecastRecord]) -> dict[str, Tensor]:
    """Lay out the records of a run, from its first step on."""
    rows = {
        "history.steps": [[getattr(record, name) for name in _RANGES] for record in records],
        "history.evaluations": [
            [record.step, *_numbers(record)]
            for record in records
            if record.validation_loss is not None
        ],
    }
    return {
        name: torch.tensor(rows[name], dtype=torch.float64).reshape(-1, columns)
        for name, columns in TABLES.items()
    }


def read_history(tensors: dict[str, Tensor], ended: End | None) -> list[ForecastRecord]:
    """Make the records again.

    Args:
        tensors: the tables, of the right shapes.
        ended: why the run ended with its last step, or None.

    Raises:
        CheckpointError: a number in them cannot be.
    """
    steps, evaluations = (tensors[name].numpy() for name in TABLES)
    if ended and not len(steps):
        raise CheckpointError(f"The checkpoint is damaged: {ended} before its first step.")
    _check_steps(steps, ended)
    _check_evaluations(evaluations, len(steps))
    scored = {int(row[0]): row[1:].tolist() for row in evaluations}
    records = []
    for step, (progress, horizon, *numbers) in enumerate(steps.tolist(), start=1):
        loss, *scores = scored.get(step, [None])
        record = ForecastRecord(step, progress, int(horizon), *numbers, loss, _evaluation(scores))
        records.append(record)
    if ended:
        records[-1] = replace(records[-1], ended=ended)
    return records


def _check_steps(steps: np.ndarray, ended: End | None) -> None:
    for (name, (low, high)), values in zip(_RANGES.items(), steps.T, strict=True):
        known = values[:-1] if ended == "diverged" and name in ("loss", "mse") else values
        fits = (known >= low) & (known <= high)
        if name == "horizon":
            fits &= known == np.floor(known)
        if not fits.all():
            value = known[~fits][0]
            raise CheckpointError(
                f"The checkpoint is damaged: in its history {name} is {value:g}: must be "
                f"{'whole and ' if name == 'horizon' else ''}from {low:g} to {high:g}."
            )


def _check_evaluations(evaluations: np.ndarray, steps: int) -> None:
    at, numbers = evaluations[:, 0], evaluations[:, 1:]
    is_known = (at >= 1) & (at <= steps) & (at == np.floor(at))
    if not is_known.all() or not (np.diff(at) > 0).all():
        raise CheckpointError("The checkpoint is damaged: its evaluations belong to no step.")
    # NaN is what spoilt weights score.
    if (np.abs(numbers) > _LARGEST_SCORE).any():
        raise CheckpointError(
            "The checkpoint is damaged: in its history a score is "
            f"{np.nanmax(np.abs(numbers)):g}: must be at most {_LARGEST_SCORE:g}."
        )


def _numbers(record: ForecastRecord) -> list[float]:
    """Return the validation loss and all scores; NaN stands for whatever is no proper number."""
    scores = astuple(record.evaluation) if record.evaluation else [[math.nan] * _SCORES] * 3
    numbers = [record.validation_loss, *(number for three in scores for number in three)]
    return [number if abs(number) <= _LARGEST_SCORE else math.nan for number in numbers]


def _evaluation(numbers: list[float]) -> VideoEvaluation | None:
    if not numbers or not all(math.isfinite(number) for number in numbers):
        return None
    return VideoEvaluation(
        *(VideoScores(*numbers[i : i + _SCORES]) for i in range(0, len(numbers), _SCORES))
    )
