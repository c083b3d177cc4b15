"""What `train` and `evaluate` do for forecasters; `convlstm.cli` hands over to them.

Axes: B batch, T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

import argparse
import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist

from convlstm.forecast_checkpoint import (
    load_forecaster,
    read_forecaster,
    resume_forecaster,
    save_forecaster,
    save_run,
    start_from,
)
from convlstm.forecast_config import CONTEXT_FRAMES, HORIZON, forecast_config
from convlstm.forecast_evaluation import (
    TEST_SET_SHAPE,
    TestScores,
    count_gmac,
    read_test_set,
    score_forecaster,
    test_sequences,
)
from convlstm.forecast_render import lead_time_figure, sequence_figure, study_figure
from convlstm.forecaster import Forecaster, forecast
from convlstm.forecasting import ForecastRecord, ForecastTrainer
from convlstm.metrics import as_images
from convlstm.pieces import finish
from convlstm.presets import FORECAST_PRESETS
from convlstm.render import write_files
from convlstm.safe_files import CheckpointError
from convlstm.settings import settings_of
from convlstm.study import STUDIES, markdown_table, read_results, run_study
from convlstm.terminal import ProgressBar, print_json, video_table

MODEL_NAME = "model.safetensors"
RUN_NAME = "run.safetensors"


class _Scalars(Protocol):
    """What takes the curves: TensorBoard's writer."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...
    def close(self) -> None: ...


def train_forecaster(
    flags: argparse.Namespace,
    device: torch.device,
    given: dict[str, object],
    interrupted: Callable[[], bool],
) -> int:
    """Train a forecaster from a preset and settings, or go on with a run's file.

    Args:
        flags: of the command.
        device: where to compute.
        given: settings that stand on the command line.
        interrupted: whether the user wants to stop.

    Returns:
        The exit code: 0, or 130 after an interrupt.
    """
    with _process_group(device) as device:
        if flags.resume:
            trainer = resume_forecaster(read_forecaster(flags.resume), device)
            if trainer.ended:
                raise CheckpointError(f"The run of {flags.resume} has ended ({trainer.ended}).")
        else:
            config = forecast_config(given, FORECAST_PRESETS[flags.preset].config)
            if flags.start_from:
                trainer = start_from(read_forecaster(flags.start_from), config, device)
            else:
                trainer = ForecastTrainer(config, device)
        is_first = trainer.rank == 0
        if flags.json and is_first:
            print_json(_about(trainer))
        scalars = _scalars(flags.log_dir) if is_first else contextlib.nullcontext()
        with scalars as writer:
            _pull(trainer, flags, writer, interrupted)
        if not is_first:
            return 0
        if flags.out:
            save_run(trainer, flags.out / RUN_NAME)
            save_forecaster(trainer, flags.out / MODEL_NAME)
        if trainer.ended is None:
            saved = f"; saved to {flags.out / RUN_NAME}" if flags.out else ""
            print(f"Interrupted after step {trainer.step}{saved}.", file=sys.stderr)
            return 130
        if not flags.json:
            print(_summary(trainer))
            if flags.out:
                print(f"Saved to {flags.out}.")
    return 0


def evaluate_forecaster(
    flags: argparse.Namespace, device: torch.device, count: int, seed: int
) -> int:
    """Score a forecaster by the published tables' metrics."""
    checkpoint = read_forecaster(flags.checkpoint)
    model = load_forecaster(checkpoint, device)
    scene = checkpoint.config.scene
    if flags.test_set:
        sequences = read_test_set(flags.test_set, count)
    else:
        sequences = test_sequences(scene, count, seed)
    augmented = checkpoint.config.augmented or flags.augmented
    started = time.perf_counter()
    with contextlib.closing(ProgressBar(count)) as bar:
        scores = finish(
            score_forecaster(model, sequences, augmented=augmented),
            lambda done: bar.draw(done, "sequences"),
        )
    seconds = time.perf_counter() - started
    about = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "gmac_per_sequence": count_gmac(
            checkpoint.config.model, TEST_SET_SHAPE[-1] if flags.test_set else scene.canvas
        ),
        "frames_per_second": 10 * scores.sequences / seconds,
        "device": str(device),
        "sequences": scores.sequences,
        "augmented": augmented,
        "trained": [asdict(training) for training in checkpoint.trainings],
        "settings": settings_of(checkpoint.config),
    }
    if flags.out:
        shown = read_test_set(flags.test_set, count) if flags.test_set else None
        shown = shown or test_sequences(scene, count, seed)
        write_files(_pictures(model, scores, shown, augmented=augmented), flags.out)
    if flags.json:
        leads = [
            {"lead_time": t, "model": asdict(m), "black": asdict(b), "copy_last": asdict(c)}
            for t, (m, b, c) in enumerate(
                zip(scores.model, scores.black, scores.copy_last, strict=True), start=1
            )
        ]
        print_json({**about, "lead_times": leads})
        return 0
    print(
        f"{scores.sequences:,} sequences of unseen digits, {about['parameters']:,} parameters, "
        f"{about['gmac_per_sequence']:.2f} GMAC a sequence, on {device} in float32, "
        f"{about['frames_per_second']:.0f} frames/s with scoring"
        f"{', averaged over mirrored sequences' if augmented else ''}.\n"
    )
    print(video_table(scores))
    if flags.out:
        print(f"\nPictures of the best, the median and the worst sequence are in {flags.out}.")
    return 0


def study(flags: argparse.Namespace, device: torch.device, interrupted: Callable[[], bool]) -> int:
    """Train what a study lacks, then write its table and its picture."""
    steps = run_study(flags.name, flags.out, scale=flags.scale, device=device)
    with contextlib.closing(steps), contextlib.closing(ProgressBar(1000)) as bar:
        for step in steps:
            bar.draw(int(1000 * step.done), f"{step.variant}, seed {step.seed}")
            if interrupted():
                print("Interrupted; the same command goes on with it.", file=sys.stderr)
                return 130
    results = read_results(flags.name, flags.out, flags.scale)
    text = markdown_table(flags.name, results)
    picture = study_figure(list(STUDIES[flags.name]), results, f"{flags.name}, {flags.scale} scale")
    write_files({"table.md": f"{text}\n".encode(), "plot.png": picture}, flags.out)
    print(text)
    return 0


def _pictures(
    model: Forecaster, scores: TestScores, sequences: Iterator[torch.Tensor], *, augmented: bool
) -> dict[str, bytes]:
    """Draw the best, the median and the worst sequence by SSIM, and the scores by lead time."""
    order = scores.ssim.argsort(descending=True).tolist()
    wanted = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    lead_times = lead_time_figure(scores.model, scores.copy_last, scores.black)
    files, start = {"ssim_by_lead_time.png": lead_times}, 0
    device = next(model.parameters()).device
    for frames in sequences:
        for name, index in wanted.items():
            if start <= index < start + len(frames):
                one = frames[index - start : index - start + 1]
                context, truth = one[:, :CONTEXT_FRAMES], one[:, CONTEXT_FRAMES:]
                predicted = forecast(model, context.to(device), HORIZON, augmented=augmented)
                images = [as_images(part)[0] for part in (context, truth, predicted)]
                title = f"{name}: sequence {index}, SSIM {scores.ssim[index]:.3f}"
                files[f"{name}.png"] = sequence_figure(*images, title)
        start += len(frames)
    return files


def _pull(
    trainer: ForecastTrainer,
    flags: argparse.Namespace,
    scalars: _Scalars | None,
    interrupted: Callable[[], bool],
) -> None:
    saved_at = time.monotonic()
    total = 1000  # the bar counts thousandths: a run may be bound by steps or by time
    hidden = (flags.json and sys.stdout.isatty()) or trainer.rank > 0
    with contextlib.closing(ProgressBar(total, hidden=hidden)) as bar:
        for record in trainer.pieces():
            if record is not None and trainer.rank == 0:
                _show(trainer, record, flags, scalars, bar, total)
                if flags.out and time.monotonic() - saved_at > 60 * flags.save_every:
                    save_run(trainer, flags.out / RUN_NAME)
                    saved_at = time.monotonic()
            if trainer.any_process(interrupted()):
                return


def _show(
    trainer: ForecastTrainer,
    record: ForecastRecord,
    flags: argparse.Namespace,
    scalars: _Scalars | None,
    bar: ProgressBar,
    total: int,
) -> None:
    if flags.json:
        print_json(asdict(record))
    if scalars is not None:
        for name in ("loss", "learning_rate", "horizon", "validation_loss"):
            value = getattr(record, name)
            if value is not None:
                scalars.add_scalar(name, value, record.step)
        if record.evaluation:
            for name, value in asdict(record.evaluation.model).items():
                scalars.add_scalar(f"validation/{name}", value, record.step)
    left = record.seconds * (1 / trainer.progress - 1) if trainer.progress else 0.0
    best = f", best {trainer.best_loss:.5f}" if math.isfinite(trainer.best_loss) else ""
    text = f"loss {record.loss:.5f}{best}, {record.seconds / 60:.1f} min, {left / 60:.0f} min left"
    bar.draw(min(total, int(total * trainer.progress)), text)


def _about(trainer: ForecastTrainer) -> dict[str, object]:
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "settings": settings_of(trainer.config),
        "device": str(trainer.device),
        "precision": trainer.precision,
        "processes": trainer.processes,
    }


def _summary(trainer: ForecastTrainer) -> str:
    about, last = _about(trainer), trainer.last
    ends = {
        "finished": "finished",
        "patience": "ended: the validation loss no longer fell",
        "diverged": "diverged: the best weights were kept; try a lower learning rate",
    }
    lines = [
        f"{about['parameters']:,} parameters, {last.step:,} steps of "
        f"{trainer.config.batch_size} sequences in {last.seconds / 60:.1f} min on "
        f"{trainer.device} in {trainer.precision}.",
        f"The run {ends[last.ended]}.",
    ]
    if last.evaluation:
        model = last.evaluation.model
        lines.append(
            f"Validation: MSE {model.mse:.1f}, SSIM {model.ssim:.3f} (black frames: "
            f"{last.evaluation.black.mse:.1f}, {last.evaluation.black.ssim:.3f})."
        )
    return "\n".join(lines)


@contextlib.contextmanager
def _process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes where torchrun has started this one; yield this one's device."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _scalars(folder: Path | None) -> Iterator[_Scalars | None]:
    if folder is None:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)
    try:
        yield writer
    finally:
        writer.close()
