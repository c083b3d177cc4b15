"""Pictures of forecasts: whole sequences beside their truth, scores by lead time, and studies.

Matplotlib is loaded when first drawn with. Axes: T time (frames), H height (px), W width (px).
Intensities in [0, 1].
"""

import io
from typing import TYPE_CHECKING

import numpy as np

from convlstm.render import to_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convlstm.forecast_evaluation import TestScores
    from convlstm.study import Result

_MODEL, _GREY = "#c85a00", "0.55"


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


def lead_time_figure(scores: "TestScores") -> bytes:
    """Draw the SSIM by lead time, beside both baselines; returns a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    for label, rows, style in (
        ("model", scores.model, {"color": _MODEL, "marker": "o"}),
        ("copy-last", scores.copy_last, {"color": _GREY, "linestyle": "--"}),
        ("black frame", scores.black, {"color": _GREY, "linestyle": ":"}),
    ):
        leads = range(1, len(rows) + 1)
        axes.plot(leads, [row.ssim for row in rows], label=label, **style)
    axes.set_xlabel("lead time (frames)")
    axes.set_ylabel("SSIM")
    axes.set_ylim(0, 1)
    axes.legend()
    return _png(figure)


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
