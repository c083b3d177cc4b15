"""The history of a training as tables of numbers, as a run's file holds it.

One table has a row for each step, the other one for each evaluation; float64, (rows, columns).
"""

import math
from dataclasses import astuple, replace

import numpy as np
import torch
from torch import Tensor

from convlstm.files.safe_files import damaged
from convlstm.files.versions import STEP_COLUMNS, evaluation_columns
from convlstm.scenes.scene import Scene
from convlstm.training.config import TrainConfig
from convlstm.training.metrics import METRICS, Evaluation, Scores, UnseenScores
from convlstm.training.records import End, StepRecord

_LARGEST = 1e30  # that any loss reaches
_LARGEST_SCORE = 1e6
TABLES = ("history.steps", "history.evaluations")


def history_tables(records: list[StepRecord], scene: Scene) -> dict[str, Tensor]:
    """Lay out the records of a run, from its first step on."""
    rows = (
        [[getattr(record, name) for name in STEP_COLUMNS] for record in records],
        [
            [record.step, *_numbers(record, scene)]
            for record in records
            if record.validation_loss is not None
        ],
    )
    columns = len(STEP_COLUMNS), evaluation_columns(scene)
    return {
        name: torch.tensor(table, dtype=torch.float64).reshape(-1, width)
        for name, table, width in zip(TABLES, rows, columns, strict=True)
    }


def read_history(
    tensors: dict[str, Tensor], ended: End | None, config: TrainConfig
) -> list[StepRecord]:
    """Make the records again.

    Args:
        tensors: the tables, of the right shapes.
        ended: why the run ended with its last step, or None.
        config: of the run.

    Raises:
        CheckpointError: a number in them cannot be.
    """
    steps, evaluations = (tensors[name].numpy() for name in TABLES)
    if ended and not len(steps):
        raise damaged(f"{ended} before its first step")
    _check_steps(steps, ended, config.horizon)
    _check_evaluations(evaluations, len(steps))
    scored = {int(row[0]): row[1:].tolist() for row in evaluations}
    records = []
    for step, (progress, horizon, *numbers) in enumerate(steps.tolist(), start=1):
        loss, *scores = scored.get(step, [None])
        evaluation = _evaluation(scores, config.scene)
        records.append(StepRecord(step, progress, int(horizon), *numbers, loss, evaluation))
    if ended:
        records[-1] = replace(records[-1], ended=ended)
    return records


def _check_steps(steps: np.ndarray, ended: End | None, horizon: int) -> None:
    # What the columns may hold. A diverged run's last loss and error may be NaN, too.
    ranges = ((0, 1), (1, horizon), (-_LARGEST, _LARGEST), (0, _LARGEST), (0, 1), (0, 1e9))
    for name, (low, high), values in zip(STEP_COLUMNS, ranges, steps.T, strict=True):
        known = values[:-1] if ended == "diverged" and name in ("loss", "mse") else values
        fits = (known >= low) & (known <= high)
        if name == "horizon":
            fits &= known == np.floor(known)
        if not fits.all():
            value = known[~fits][0]
            whole = "whole and " if name == "horizon" else ""
            raise damaged(
                f"in its history {name} is {value:g}: must be {whole}from {low:g} to {high:g}"
            )


def _check_evaluations(evaluations: np.ndarray, steps: int) -> None:
    at, numbers = evaluations[:, 0], evaluations[:, 1:]
    is_known = (at >= 1) & (at <= steps) & (at == np.floor(at))
    if not is_known.all() or not (np.diff(at) > 0).all():
        raise damaged("its evaluations belong to no step")
    # NaN is what nobody measured, or spoilt weights score.
    if (np.abs(numbers) > _LARGEST_SCORE).any():
        largest = np.nanmax(np.abs(numbers))
        raise damaged(f"in its history a score is {largest:g}: must be at most {_LARGEST_SCORE:g}")


def _numbers(record: StepRecord, scene: Scene) -> list[float]:
    """Return the numbers of an evaluation; NaN stands for whatever is no proper number."""
    numbers = [record.validation_loss]
    if evaluation := record.evaluation:
        numbers.append(evaluation.brightest)
        for part in (evaluation, evaluation.unseen):
            if part:
                scores = (part.model, *(part.baselines[name] for name in scene.baselines))
                numbers += [number for each in scores for number in astuple(each)]
    numbers += [math.nan] * (evaluation_columns(scene) - 1 - len(numbers))
    return [number if abs(number) <= _LARGEST_SCORE else math.nan for number in numbers]


def _evaluation(numbers: list[float], scene: Scene) -> Evaluation | None:
    width = len(METRICS)
    if not numbers or math.isnan(numbers[1]):  # no MSE, no scores
        return None
    brightest, *scores = numbers
    each = [Scores(*scores[i : i + width]) for i in range(0, len(scores), width)]
    names = ("model", *scene.baselines)
    parts = [dict(zip(names, each[i:], strict=False)) for i in range(0, len(each), len(names))]
    model, *unseen = ((part.pop("model"), part) for part in parts)
    is_known = unseen and not math.isnan(unseen[0][0].mse)
    return Evaluation(*model, brightest, UnseenScores(*unseen[0]) if is_known else None)
