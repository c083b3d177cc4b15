"""Arrays to pictures: sprites, figures and a GIF. Matplotlib is loaded when first drawn with.

Axes: T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from convlstm.training import StepRecord

GIF_FRAME_MS = 500  # the article's pace


def to_bytes(frames: np.ndarray) -> np.ndarray:
    """Turn intensities in [0, 1] into grey values 0..255, uint8."""
    return (frames.clip(0, 1) * 255).round().astype(np.uint8)


def sprite_sheet(frames: np.ndarray) -> bytes:
    """Stack frames, (T, H, W), into one grey PNG of W x T*H px, at native size."""
    buffer = io.BytesIO()
    Image.fromarray(to_bytes(frames).reshape(-1, frames.shape[-1])).save(buffer, "png")
    return buffer.getvalue()


def gif(frames: np.ndarray, scale: int = 4, frame_ms: int = GIF_FRAME_MS) -> bytes:
    """Make a looping GIF of frames, (T, H, W), of so many ms each, enlarged without smoothing.

    Equal neighbours become one frame that is shown as long as both; so Pillow writes them.
    """
    height, width = frames.shape[1:]
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


def frame_figure(frame: np.ndarray, title: str) -> bytes:
    """Draw one frame, (H, W), in grey with a title and a colour bar; returns a PNG."""
    from matplotlib.figure import Figure  # no pyplot: it keeps global state

    figure = Figure(figsize=(4.2, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(frame, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(title=title, xlabel="x (px)", ylabel="y (px)")
    figure.colorbar(image, ax=axes, label="intensity")
    return _png(figure)


def curve_figure(records: Sequence["StepRecord"]) -> bytes:
    """Draw the MSE of every step and every evaluation over the baselines; returns a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    steps = [record.step for record in records]
    axes.plot(
        steps, [record.mse for record in records], color="0.6", lw=0.8, label="training batch"
    )
    evaluated = [record for record in records if record.evaluation]
    if evaluated:
        held_out = [record.evaluation.model.mse for record in evaluated]
        at = [record.step for record in evaluated]
        axes.plot(at, held_out, color="C1", lw=2, label="held-out")
        last = evaluated[-1].evaluation
        axes.axhline(last.copy_last.mse, color="0.4", ls="--", label="copy-last")
        axes.axhline(last.black.mse, color="0.4", ls=":", label="black frame")
    axes.set(title="Mean squared error", xlabel="training step", ylabel="MSE per pixel")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    return _png(figure)


def article_outputs(
    context: np.ndarray, truth: np.ndarray, predicted: np.ndarray, records: Sequence["StepRecord"]
) -> dict[str, bytes]:
    """Make the article's files: a picture for each frame, the MSE curve and the GIF.

    Args:
        context: frames seen, (T, H, W), intensities in [0, 1].
        truth: the frame that followed, (H, W).
        predicted: the model's prediction of it, (H, W).
        records: the run's history; an empty one leaves the curve out.

    Returns:
        File names and their contents.
    """
    files = {
        f"input_{number}.png": frame_figure(frame, f"Input frame {number}")
        for number, frame in enumerate(context, start=1)
    }
    files["truth.png"] = frame_figure(truth, "Ground truth")
    files["prediction.png"] = frame_figure(predicted, "Prediction")
    if records:
        files["mse_curve.png"] = curve_figure(records)
    files["sequence.gif"] = gif(np.concatenate([context, predicted[None]]))
    return files


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Write files into a folder, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _png(figure: object) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def losses_csv(records: Sequence["StepRecord"]) -> str:
    """Return a run's history as CSV; the columns of the held-out set are empty between evaluations.

    Columns: step, epoch, loss, mse (of the batch's last frame), learning_rate, seconds, then mse,
    mae, psnr (dB) and ssim of the model, and mse and ssim of both baselines, on the held-out set.
    """
    lines = [
        "step,epoch,loss,mse,learning_rate,seconds,held_out_mse,held_out_mae,held_out_psnr,"
        "held_out_ssim,black_mse,black_ssim,copy_last_mse,copy_last_ssim"
    ]
    for record in records:
        row = [record.step, record.epoch, record.loss, record.mse]
        row += [record.learning_rate, round(record.seconds, 3)]
        evaluation = record.evaluation
        if evaluation:
            model, black, copy_last = evaluation.model, evaluation.black, evaluation.copy_last
            row += [model.mse, model.mae, model.psnr, model.ssim]
            row += [black.mse, black.ssim, copy_last.mse, copy_last.ssim]
        else:
            row += [""] * 8
        lines.append(",".join(str(value) for value in row))
    return "\n".join(lines) + "\n"
