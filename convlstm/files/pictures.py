"""Arrays to pictures: sprites, figures and GIFs; histories to CSV. Matplotlib is loaded when first
drawn with.

Axes: T time (frames), H height (px), W width (px). Values in [0, 1].
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convlstm.files.safe_files import write_atomically
from convlstm.scenes.scene import Look, Measure
from convlstm.training.metrics import METRICS, Scores
from convlstm.training.picture import Picture
from convlstm.training.records import StepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GIF_FRAME_MS = 500  # the article's pace
_FORECAST_FRAME_MS = 200
_MODEL, _GREY = "#c85a00", "0.55"
_STYLES = ("--", ":", "-.")  # of baselines
_LOOK, _MEASURE = Look(), Measure()


def to_bytes(frames: np.ndarray) -> np.ndarray:
    """Turn values in [0, 1] into grey values 0..255, uint8."""
    return (frames.clip(0, 1) * 255).round().astype(np.uint8)


def sprite_sheet(frames: np.ndarray, known: np.ndarray | None = None) -> bytes:
    """Stack frames, (T, H, W) or (T, H, W, 3), into one PNG of W x T*H px, at native size.

    Args:
        frames: values in [0, 1].
        known: where there is something to see, bool, (T, H, W); the rest is transparent. None for
            everywhere.
    """
    from PIL import Image

    width = frames.shape[2]
    values = to_bytes(frames).reshape(-1, width, *frames.shape[3:])
    if known is not None:
        alpha = 255 * known.reshape(-1, width, 1).astype(np.uint8)
        values = np.concatenate([values.reshape(*values.shape[:2], -1), alpha], 2)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "png")
    return buffer.getvalue()


def gif(frames: np.ndarray, scale: int = 4, frame_ms: int = GIF_FRAME_MS) -> bytes:
    """Make a looping GIF of frames, (T, H, W) or (T, H, W, 3), enlarged without smoothing.

    Equal neighbours become one frame that is shown as long as both; so Pillow writes them.
    """
    from PIL import Image

    height, width = frames.shape[1:3]
    size = (width * scale, height * scale)
    images = [Image.fromarray(f).resize(size, Image.Resampling.NEAREST) for f in to_bytes(frames)]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        "gif",
        save_all=True,
        append_images=images[1:],
        duration=frame_ms,
        loop=0,
        optimize=False,
        disposal=2,  # whole frames, not only what changed: programs that cut GIFs need them
    )
    return buffer.getvalue()


def frame_figure(frame: np.ndarray, title: str, look: Look = _LOOK) -> bytes:
    """Draw one frame with a title and, unless it is in colour, a colour bar; returns a PNG."""
    figure = _figure(4.2, 3.6, 120)
    axes = figure.subplots()
    image = axes.imshow(
        look.low + (look.high - look.low) * look.on_scale(frame),
        cmap="cividis" if look.colours == "map" else "gray",
        vmin=look.low,
        vmax=look.high,
        interpolation="nearest",
    )
    axes.set(title=title, xlabel="x (px)", ylabel="y (px)")
    if frame.ndim == 2:
        figure.colorbar(image, ax=axes, label=look.unit or "intensity")
    return _png(figure)


def curve_figure(records: Sequence[StepRecord], measure: Measure = _MEASURE) -> bytes:
    """Draw the error of every step and every evaluation over the baselines; returns a PNG."""
    figure = _figure(7, 4, 120)
    axes = figure.subplots()
    steps = [record.step for record in records]
    errors = [measure.of(record.mse) for record in records]
    axes.plot(steps, errors, color="0.6", lw=0.8, label="training batch")
    evaluated = [record for record in records if record.evaluation]
    if evaluated:
        validation = [measure.of(record.evaluation.model.mse) for record in evaluated]
        at = [record.step for record in evaluated]
        axes.plot(at, validation, color=_MODEL, lw=2, label="validation")
        baselines = evaluated[-1].evaluation.baselines
        for (name, scores), style in zip(baselines.items(), _STYLES, strict=False):
            axes.axhline(measure.of(scores.mse), color="0.4", ls=style, label=label_of(name))
    name = "Mean squared error" if measure.kind == "mse" else "Root mean square error"
    axes.set(title=name, xlabel="training step", ylabel=unit_of(measure), yscale=measure.axis)
    axes.grid(alpha=0.3)
    axes.legend()
    return _png(figure)


def sequence_figure(picture: Picture, title: str, look: Look = _LOOK) -> bytes:
    """Draw one forecast: input, truth, prediction and error, a column for each frame; a PNG."""
    is_map = look.colours == "map"
    rows = {"input": picture.context, "truth": picture.truth, "prediction": picture.predicted}
    rows = {name: look.on_scale(frames) for name, frames in rows.items()}
    rows["error"] = picture.predicted - picture.truth
    if rows["error"].ndim == 4:
        rows["error"] = rows["error"].mean(-1)
    columns = max(len(frames) for frames in rows.values())
    largest = max(1e-6, float(np.abs(rows["error"]).max())) if is_map else 1
    figure = _figure(max(columns, 4), 4.6, 110)
    figure.suptitle(title)
    grid = figure.subplots(4, columns, squeeze=False)
    for axes, (name, frames) in zip(grid, rows.items(), strict=True):
        for axis in axes:
            axis.set_axis_off()
        for axis, frame in zip(axes, frames, strict=False):
            if name == "error":
                shown, colours, low, high = frame, "PuOr_r", -largest, largest
            else:
                shown, colours, low, high = frame, "cividis" if is_map else "gray", 0, 1
            axis.imshow(shown, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        axes[0].text(-0.15, 0.5, name, ha="right", va="center", transform=axes[0].transAxes)
    return _png(figure)


def lead_time_figure(model: list[Scores], baselines: dict[str, list[Scores]]) -> bytes:
    """Draw the SSIM by lead time, from 1, beside the baselines; returns a PNG."""
    figure = _figure(5.2, 3.6, 110)
    axes = figure.subplots()
    leads = range(1, len(model) + 1)
    axes.plot(leads, [row.ssim for row in model], label="model", color=_MODEL, marker="o")
    for (name, rows), style in zip(baselines.items(), _STYLES, strict=False):
        ssim = [row.ssim for row in rows]
        axes.plot(leads, ssim, label=label_of(name), color=_GREY, ls=style)
    axes.set(xlabel="lead time (frames)", ylabel="SSIM", ylim=(0, 1))
    axes.legend()
    return _png(figure)


def picture_files(
    picture: Picture,
    records: Sequence[StepRecord],
    look: Look = _LOOK,
    measure: Measure = _MEASURE,
) -> dict[str, bytes]:
    """Make the files of one prediction, the article's among them.

    Args:
        picture: the sequence and its prediction.
        records: the run's history; an empty one leaves the curve out.
        look: how the scene's frames are shown.
        measure: how its error is told.

    Returns:
        File names and their contents: a picture for each frame seen, of the next frame and its
        prediction, the error's curve, a GIF of what was seen and then predicted; and where more
        than one frame is predicted the whole sequence, SSIM by lead time, and a GIF of truth and
        prediction side by side.
    """
    files = {
        f"input_{number}.png": frame_figure(frame, f"Input frame {number}", look)
        for number, frame in enumerate(picture.context, start=1)
    }
    files["truth.png"] = frame_figure(picture.truth[0], "Ground truth", look)
    files["prediction.png"] = frame_figure(picture.predicted[0], "Prediction", look)
    if records:
        files["mse_curve.png"] = curve_figure(records, measure)
    seen_and_predicted = look.on_scale(np.concatenate([picture.context, picture.predicted]))
    files["sequence.gif"] = gif(seen_and_predicted)
    if len(picture.truth) == 1:
        return files
    mean = sum(row.ssim for row in picture.scores) / len(picture.scores)
    truth = look.on_scale(np.concatenate([picture.context, picture.truth]))
    line = np.full((*truth.shape[:2], 1, *truth.shape[3:]), 0.5, dtype=truth.dtype)
    side_by_side = np.concatenate([truth, line, seen_and_predicted], 2)
    files["forecast.png"] = sequence_figure(picture, f"{picture.name}, SSIM {mean:.3f}", look)
    files["ssim_by_lead_time.png"] = lead_time_figure(picture.scores, picture.baselines)
    files["truth_and_prediction.gif"] = gif(side_by_side, frame_ms=_FORECAST_FRAME_MS)
    return files


def bars_figure(values: dict[str, list[float]], title: str, unit: str) -> bytes:
    """Draw a bar for each name's mean and a point for each of its values; returns a PNG."""
    figure = _figure(6.4, 0.5 * len(values) + 1.4, 110)
    axes = figure.subplots()
    axes.set(title=title, xlabel=unit)
    for place, row in enumerate(values.values()):
        if row:
            axes.barh(place, sum(row) / len(row), color=_MODEL, alpha=0.35)
            axes.plot(row, [place] * len(row), "o", color=_MODEL)
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    return _png(figure)


def losses_csv(records: Sequence[StepRecord]) -> str:
    """Return a run's history as CSV; the validation columns are empty between evaluations.

    Columns: step, horizon (frames), loss, mse (per pixel, of the batch's future frames),
    learning_rate, seconds, then the loss and all scores on the validation set, and the mse and ssim
    of each baseline there.
    """
    evaluated = next((record.evaluation for record in records if record.evaluation), None)
    names = list(evaluated.baselines) if evaluated else []
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    heads = ["step", "horizon", "loss", "mse", "learning_rate", "seconds", "validation_loss"]
    heads += [f"validation_{metric}" for metric in METRICS]
    heads += [f"{name}_{metric}" for name in names for metric in ("mse", "ssim")]
    writer.writerow(heads)
    for record in records:
        row = [record.step, record.horizon, record.loss, record.mse, record.learning_rate]
        row += [round(record.seconds, 3)]
        if record.evaluation:
            model, baselines = record.evaluation.model, record.evaluation.baselines
            row += [record.validation_loss, *(getattr(model, metric) for metric in METRICS)]
            row += [value for n in names for value in (baselines[n].mse, baselines[n].ssim)]
        writer.writerow(row + [""] * (len(heads) - len(row)))
    return table.getvalue()


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Write files into a folder, made if missing; each replaces one of its name at once.

    Raises:
        OSError: the folder could not be made.
        CheckpointError: a file could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content, durable=False)


def label_of(baseline: str) -> str:
    """Return what a baseline is called in figures and tables."""
    return {"copy_last": "copy-last", "black": "black frame"}.get(baseline, baseline)


def unit_of(measure: Measure) -> str:
    """Say what a scene's error is counted in."""
    per = {"": "per pixel", "frame": "summed over a frame"}.get(measure.unit, f"in {measure.unit}")
    return f"{measure.kind.upper()} {per}"


def _figure(width: float, height: float, dpi: int) -> "Figure":
    from matplotlib.figure import Figure  # no pyplot: it keeps global state

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
