"""What the command line prints: JSON lines, tables and a progress bar."""

import json
import math
import shutil
import sys
import time
from dataclasses import asdict, replace

from convlstm.forecast_evaluation import TestScores
from convlstm.metrics import Evaluation
from convlstm.training import StepRecord
from convlstm.video_metrics import VideoScores, mean_scores_of

_BAR_WIDTH = 24  # characters
_BAR_SECONDS = 0.1  # between two drawings


def record_data(record: StepRecord) -> dict[str, object]:
    """Return a record for JSON."""
    evaluation = record.evaluation and evaluation_data(record.evaluation)
    return {**asdict(record), "evaluation": evaluation}


def evaluation_data(evaluation: Evaluation) -> dict[str, object]:
    """Return scores for JSON, with what follows from them."""
    return {**asdict(evaluation), "skill": evaluation.skill, "is_black": evaluation.is_black}


def print_json(data: dict[str, object]) -> None:
    """Print one line of strict JSON: NaN and infinity become null."""
    print(json.dumps(_strict(data), allow_nan=False), flush=True)


def _strict(value: object) -> object:
    if isinstance(value, dict):
        return {name: _strict(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def black_warning(evaluation: Evaluation) -> str:
    """Say that the model's output collapsed."""
    return (
        "Warning: the model predicts nothing but black: no pixel is brighter than "
        f"{evaluation.brightest:.3f}."
    )


def score_table(heading: str, rows: list[tuple[str, Evaluation]]) -> str:
    """Lay out scores, three lines a row: the model and both baselines."""
    metrics = f"{'MSE':>9}  {'MAE':>9}  {'PSNR dB':>8}  {'SSIM':>7}  {'skill':>7}"
    lines = [f"{heading:<9}  {'predictor':<11}  {metrics}"]
    for label, evaluation in rows:
        for name, scores in (
            ("model", evaluation.model),
            ("black frame", evaluation.black),
            ("copy-last", evaluation.copy_last),
        ):
            skill = replace(evaluation, model=scores).skill
            lines.append(
                f"{label:<9}  {name:<11}  {scores.mse:9.6f}  {scores.mae:9.6f}  "
                f"{scores.psnr:8.2f}  {scores.ssim:7.4f}  {skill:7.3f}"
            )
            label = ""
    return "\n".join(lines)


def video_table(scores: TestScores) -> str:
    """Lay out a forecaster's scores by lead time and in the mean, beside the baselines."""
    heads = f"{'MSE':>7}  {'MAE':>7}  {'PSNR dB':>8}  {'SSIM':>7}  {'openstl':>8}"
    lines = [f"{'lead time':<9}  {'predictor':<11}  {heads}"]

    def add(label: str, name: str, row: VideoScores) -> None:
        lines.append(
            f"{label:<9}  {name:<11}  {row.mse:7.2f}  {row.mae:7.2f}  {row.psnr:8.2f}  "
            f"{row.ssim:7.4f}  {row.ssim_openstl:8.4f}"
        )

    for number, row in enumerate(scores.model, start=1):
        add(str(number), "model", row)
    for label, name, rows in (
        ("mean", "model", scores.model),
        ("", "black frame", scores.black),
        ("", "copy-last", scores.copy_last),
    ):
        add(label, name, mean_scores_of(rows))
    return "\n".join(lines)


class ProgressBar:
    """One line on stderr that says how far the work is; nothing where that is no terminal."""

    def __init__(self, total: int, *, hidden: bool = False) -> None:
        self._total = total
        self._is_shown = sys.stderr.isatty() and not hidden
        self._drawn_at = -math.inf
        self._width = 0

    def draw(self, done: int, text: str) -> None:
        """Draw the line anew, if that was not done just now."""
        now = time.monotonic()
        if not self._is_shown or now - self._drawn_at < _BAR_SECONDS:
            return
        self._drawn_at = now
        filled = _BAR_WIDTH * done // self._total
        line = f"[{'#' * filled:-<{_BAR_WIDTH}}] {done}/{self._total} {text}"
        line = line[: shutil.get_terminal_size().columns - 1]  # or it would break in two
        print("\r" + line.ljust(self._width), end="", file=sys.stderr, flush=True)
        self._width = len(line)

    def close(self) -> None:
        """Wipe the line."""
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)
