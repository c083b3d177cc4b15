"""What the command line prints: JSON lines, tables and a progress bar."""

import math
import shutil
import sys
import time
from dataclasses import asdict

from convlstm.files.pictures import label_of, unit_of
from convlstm.files.safe_files import strict_json
from convlstm.scenes.scene import Measure
from convlstm.training.metrics import Scores, UnseenScores, skill
from convlstm.training.records import StepRecord

_BAR_WIDTH = 24  # characters
_BAR_SECONDS = 0.1  # between two drawings

# A label, the network's scores and those of the baselines.
Row = tuple[str, Scores, dict[str, Scores]]


def record_data(record: StepRecord) -> dict[str, object]:
    """Return a record for JSON, its evaluation with what follows from it."""
    data = asdict(record)
    if each := record.evaluation:
        data["evaluation"] |= {"skill": each.skill, "is_black": each.is_black}
    return data


def scores_data(model: Scores, baselines: dict[str, Scores]) -> dict[str, object]:
    """Return one row of scores for JSON, with what follows from them."""
    return {
        "model": asdict(model),
        "baselines": {name: asdict(scores) for name, scores in baselines.items()},
        "skill": skill(model, baselines["copy_last"]),
    }


def print_json(data: dict[str, object]) -> None:
    """Print one line of strict JSON: NaN and infinity become null."""
    print(strict_json(data), flush=True)


def black_warning(brightest: float) -> str:
    """Say that the network's output collapsed."""
    return (
        f"Warning: the model predicts nothing but black: no pixel is brighter than {brightest:.3f}."
    )


def score_table(heading: str, rows: list[Row], measure: Measure) -> str:
    """Lay out scores, a line for the network and each baseline.

    Args:
        heading: of the first column.
        rows: what to lay out.
        measure: how the scene's errors are told; MSE and MAE are counted alike.
    """
    digits = 6 if measure.digits is None else measure.digits + 1
    name = measure.kind.upper()
    metrics = f"{name:>9}  {'MAE':>9}  {'PSNR dB':>8}  {'SSIM':>7}  {'openstl':>8}  {'skill':>7}"
    lines = [f"{heading:<9}  {'predictor':<11}  {metrics}"]
    for label, model, baselines in rows:
        each = {"model": model} | {label_of(n): scores for n, scores in baselines.items()}
        for predictor, scores in each.items():
            lines.append(
                f"{label:<9}  {predictor:<11}  {measure.of(scores.mse):9.{digits}f}  "
                f"{measure.factor * scores.mae:9.{digits}f}  {scores.psnr:8.2f}  "
                f"{scores.ssim:7.4f}  {scores.ssim_openstl:8.4f}  "
                f"{skill(scores, baselines['copy_last']):7.3f}"
            )
            label = ""
    lines.append(f"({name} and MAE {unit_of(measure).split(' ', 1)[1]})")
    return "\n".join(lines)


def unseen_line(scores: UnseenScores, sequences: int, measure: Measure) -> str:
    """Say what the network is worth while it sees nothing."""
    better = min(scores.baselines, key=lambda name: scores.baselines[name].mse)
    model, baseline = (measure.of(each.mse) for each in (scores.model, scores.baselines[better]))
    return (
        f"While nothing is seen ({sequences:,} sequences): skill {scores.skill:.3f} over "
        f"{label_of(better)}, the better baseline there; {measure.kind.upper()} {model:.6f} "
        f"and {baseline:.6f}."
    )


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
        filled = min(_BAR_WIDTH, _BAR_WIDTH * done // self._total)
        line = f"[{'#' * filled:-<{_BAR_WIDTH}}] {done}/{self._total} {text}"
        line = line[: shutil.get_terminal_size().columns - 1]  # or it would break in two
        print("\r" + line.ljust(self._width), end="", file=sys.stderr, flush=True)
        self._width = len(line)

    def say(self, text: str) -> None:
        """Print a line where the bar was."""
        self.close()
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wipe the line."""
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)
            self._width = 0
