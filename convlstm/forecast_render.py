"""Pictures of forecasts: whole sequences beside their truth, scores by lead time, and studies.

Matplotlib is loaded when first drawn with. Axes: T time (frames), H height (px), W width (px).
Intensities in [0, 1].
"""

import io
from typing import TYPE_CHECKING

import numpy as np

from convlstm.render import gif, to_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convlstm.forecast_view import ForecastPicture
    from convlstm.forecasting import ForecastRecord
    from convlstm.study import Result
    from convlstm.video_metrics import VideoScores

_MODEL, _GREY = "#c85a00", "0.55"
_GIF_FRAME_MS = 200


def sequence_figure(
    context: np.ndarray, truth: np.ndarray, predicted: np.ndarray, title: str
) -> bytes:
    """Draw one forecast: input, truth, prediction and error, a column for each frame.

    Args:
        context: frames seen, (T, H, W).
        truth: frames that followed, (n, H, W).
        predicted: the model's, the same shape.
        title: what stands above.

    Returns:
        A PNG.
    """
    from matplotlib.figure import Figure  # no pyplot: it keeps global state

    rows = {"input": context, "truth": truth, "prediction": predicted, "error": predicted - truth}
    columns = max(len(frames) for frames in rows.values())
    figure = Figure(figsize=(columns, 4.6), dpi=110, layout="constrained")
    figure.suptitle(title)
    for axes, (name, frames) in zip(figure.subplots(4, columns), rows.items(), strict=True):
        for axis in axes:
            axis.set_axis_off()
        for axis, frame in zip(axes, frames, strict=False):
            if name == "error":
                axis.imshow(frame, cmap="PuOr_r", vmin=-1, vmax=1, interpolation="nearest")
            else:
                axis.imshow(to_bytes(frame), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes[0].text(-0.15, 0.5, name, ha="right", va="center", transform=axes[0].transAxes)
    return _png(figure)


def lead_time_figure(
    model: "list[VideoScores]", copy_last: "list[VideoScores]", black: "list[VideoScores]"
) -> bytes:
    """Draw the SSIM by lead time, from 1, beside both baselines; returns a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    for label, rows, style in (
        ("model", model, {"color": _MODEL, "marker": "o"}),
        ("copy-last", copy_last, {"color": _GREY, "linestyle": "--"}),
        ("black frame", black, {"color": _GREY, "linestyle": ":"}),
    ):
        leads = range(1, len(rows) + 1)
        axes.plot(leads, [row.ssim for row in rows], label=label, **style)
    axes.set_xlabel("lead time (frames)")
    axes.set_ylabel("SSIM")
    axes.set_ylim(0, 1)
    axes.legend()
    return _png(figure)


def forecast_outputs(picture: "ForecastPicture") -> dict[str, bytes]:
    """Make the files of one forecast: names and contents.

    They are the whole sequence, the SSIM by lead time, and a GIF of truth and prediction.
    """
    sample = "drawing" if picture.sample is None else f"sample {picture.sample + 1}"
    mean = sum(row.ssim for row in picture.scores) / len(picture.scores)
    title = f"{sample}, SSIM {mean:.3f}"
    truth, predicted = (
        np.concatenate([picture.context, frames]) for frames in (picture.truth, picture.predicted)
    )
    line = np.full((*truth.shape[:2], 1), 0.5, dtype=truth.dtype)
    return {
        "forecast.png": sequence_figure(picture.context, picture.truth, picture.predicted, title),
        "ssim_by_lead_time.png": lead_time_figure(picture.scores, picture.copy_last, picture.black),
        "truth_and_prediction.gif": gif(
            np.concatenate([truth, line, predicted], 2), frame_ms=_GIF_FRAME_MS
        ),
    }


def forecast_losses_csv(records: "list[ForecastRecord]") -> str:
    """Return a run's records as CSV; the last columns are empty between evaluations.

    Columns: step, horizon (frames), loss, mse (sum over a frame), learning_rate, seconds, and the
    loss, mse, ssim and ssim_openstl on the validation set.
    """
    lines = [
        "step,horizon,loss,mse,learning_rate,seconds,validation_loss,validation_mse,"
        "validation_ssim,validation_ssim_openstl"
    ]
    for record in records:
        row: list[object] = [record.step, record.horizon, record.loss, record.mse]
        row += [record.learning_rate, round(record.seconds, 3)]
        if record.evaluation:
            model = record.evaluation.model
            row += [record.validation_loss, model.mse, model.ssim, model.ssim_openstl]
        else:
            row += [""] * 4
        lines.append(",".join(str(value) for value in row))
    return "\n".join(lines) + "\n"


def study_figure(variants: list[str], results: "list[Result]", title: str) -> bytes:
    """Draw each variant's SSIM, a point for each seed and a bar for their mean; returns a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 0.5 * len(variants) + 1.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    for place, variant in enumerate(variants):
        values = [result.scores.ssim for result in results if result.variant == variant]
        if values:
            axes.barh(place, sum(values) / len(values), color=_MODEL, alpha=0.35)
            axes.plot(values, [place] * len(values), "o", color=_MODEL)
    axes.set_yticks(range(len(variants)), variants)
    axes.invert_yaxis()
    axes.set_xlabel("SSIM on sequences of unseen digits")
    return _png(figure)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
