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

_STEP_COLUMNS = ("progress", "horizon", "loss", "mse", "learning_rate", "seconds")
_SCORES = len(SCORE_NAMES)
# By name: the columns of each table. An evaluation is its step, the validation loss, and the scores
# of the model, of black frames and of the copied last frame.
TABLES = {"history.steps": len(_STEP_COLUMNS), "history.evaluations": 2 + 3 * _SCORES}


def history_tables(records: list[ForecastRecord]) -> dict[str, Tensor]:
    """Lay out the records of a run, from its first step on."""
    rows = {
        "history.steps": [[getattr(r, name) for name in _STEP_COLUMNS] for r in records],
        "history.evaluations": [
            [r.step, r.validation_loss, *_flat(r.evaluation)] for r in records if r.evaluation
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
    _check(steps, evaluations, ended)
    scored = {int(row[0]): row[1:].tolist() for row in evaluations}
    records = []
    for step, (progress, horizon, *numbers) in enumerate(steps.tolist(), start=1):
        loss, *scores = scored.get(step, [None])
        record = ForecastRecord(step, progress, int(horizon), *numbers, loss, _evaluation(scores))
        records.append(record)
    if ended:
        records[-1] = replace(records[-1], ended=ended)
    return records


def _check(steps: np.ndarray, evaluations: np.ndarray, ended: End | None) -> None:
    # A diverged run's last loss may be NaN, and so may the scores of spoilt weights.
    known = steps[:-1] if ended == "diverged" else steps
    at = evaluations[:, 0]
    is_sound = (
        np.isfinite(known).all()
        and ((steps[:, 0] >= 0) & (steps[:, 0] <= 1)).all()
        and np.isin(steps[:, 1], range(1, HORIZON + 1)).all()
        and (steps[:, 4:] >= 0).all()
        and np.isin(at, range(1, len(steps) + 1)).all()
        and (np.diff(at) > 0).all()
        and (len(steps) > 0 or not ended)
    )
    if not is_sound:
        raise CheckpointError("The checkpoint is damaged: its history cannot be.")


def _flat(evaluation: VideoEvaluation) -> list[float]:
    return [number for scores in astuple(evaluation) for number in scores]


def _evaluation(numbers: list[float]) -> VideoEvaluation | None:
    if not numbers or not all(math.isfinite(number) for number in numbers):
        return None
    return VideoEvaluation(
        *(VideoScores(*numbers[i : i + _SCORES]) for i in range(0, len(numbers), _SCORES))
    )
