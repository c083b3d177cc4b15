"""What the commands do; `convlstm.__main__` reads their flags.

Axes: B batch, T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

import argparse
import contextlib
import importlib.util
import math
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convlstm import forecast_cli
from convlstm.benchmark import benchmark, table
from convlstm.checkpoint import load_model, read_checkpoint, resume, save_checkpoint
from convlstm.checks import check_integer, check_number
from convlstm.contestants import SIZES
from convlstm.costs import training_chunk
from convlstm.data import CONTEXT_FRAMES, Squares, SquaresConfig, sample_squares
from convlstm.devices import pick_device
from convlstm.forecast_checkpoint import FORECAST_FORMAT
from convlstm.forecast_config import FORECAST_NAMES
from convlstm.metrics import (
    Evaluation,
    Scores,
    as_images,
    black_frames,
    copy_last_frame,
    score_by_lead_time,
)
from convlstm.predictor import NextFramePredictor
from convlstm.presets import FORECAST_PRESETS, PRESETS
from convlstm.render import article_outputs, losses_csv, write_files
from convlstm.safe_files import file_format
from convlstm.scaling import describe, draw, scaling
from convlstm.settings import settings_of
from convlstm.terminal import (
    ProgressBar,
    black_warning,
    evaluation_data,
    print_json,
    record_data,
    score_table,
)
from convlstm.train_config import TRAIN_NAMES, TrainConfig, train_config
from convlstm.training import HORIZON, StepRecord, Trainer, resolve_precision

INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended
CHECKPOINT_NAME = "checkpoint.safetensors"
MAX_SEQUENCES = 10_000
MAX_REPEATS = 1000
# Of the 2**32 seeds of a generator, training draws sequences from the upper half; the held-out set
# and the page's samples have theirs near the end of the lower half, whose beginning is for tests.
MAX_TEST_SEED = 2**30 - 1
_DRAWN_AT_ONCE = 50  # sequences; not an option, or the same seed would give other ones


class UsageError(ValueError):
    """Flags that ask for something impossible; the message is one line for a person."""


def train(flags: argparse.Namespace) -> int:
    """Train from a preset and settings, or go on with a checkpoint.

    Returns:
        The exit code: 0, or INTERRUPTED.
    """
    if flags.out:
        _check_writable("--out", flags.out)
    check_number("save_every", flags.save_every, 0.001, 1000)
    if flags.log_dir:
        _check_writable("--log-dir", flags.log_dir)
        if importlib.util.find_spec("tensorboard") is None:
            raise UsageError("--log-dir needs TensorBoard: pip install tensorboard.")
    if _is_for_forecaster(flags):
        with _first_interrupt() as interrupted:
            return forecast_cli.train_forecaster(
                flags, _device(flags.device), _given(flags, FORECAST_NAMES), interrupted.is_set
            )
    for name in ("log_dir", "start_from"):
        if getattr(flags, name):
            raise UsageError(f"--{name.replace('_', '-')} is for runs of Moving MNIST.")
    trainer = _make_trainer(flags)
    if flags.json:
        precision = resolve_precision(trainer.config.precision, trainer.device)
        print_json(_about(trainer.config, trainer.model, trainer.device, precision))
    _pull(trainer, flags.json)
    if trainer.ended is None:
        if flags.out:
            _save(trainer, flags.out)
        saved = f"; saved to {flags.out / CHECKPOINT_NAME}" if flags.out else ""
        print(f"Interrupted after step {trainer.step}{saved}.", file=sys.stderr)
        return INTERRUPTED
    if not flags.json:
        print(_summary(trainer))  # before anything is saved, in case the disk is full
    if flags.out:
        _save(trainer, flags.out)
        squares = next(_test_sequences(trainer.config.scene, 1, seed=0))
        predicted = trainer.predict(_context(squares).to(trainer.device), 1)
        _draw(squares, predicted, trainer.records, flags.out)
        if not flags.json:
            print(f"Saved to {flags.out}.")
    return 0


def evaluate(flags: argparse.Namespace) -> int:
    """Score a checkpoint's model beside the trivial baselines, for each lead time."""
    count = check_integer("sequences", flags.sequences, 1, MAX_SEQUENCES)
    seed = check_integer("seed", flags.seed, 0, MAX_TEST_SEED)
    horizon = HORIZON
    if flags.horizon is not None:
        horizon = check_integer("horizon", flags.horizon, 1, HORIZON)
    device = _device(flags.device)
    if flags.out:
        _check_writable("--out", flags.out)
    if file_format(flags.checkpoint) == FORECAST_FORMAT:
        if flags.horizon is not None:
            raise UsageError("--horizon is for moving squares: forecasters predict ten frames.")
        return forecast_cli.evaluate_forecaster(flags, device, count, seed)
    if flags.test_set or flags.augmented or flags.out:
        raise UsageError("--test-set, --augmented and --out are for forecasters of Moving MNIST.")
    checkpoint = read_checkpoint(flags.checkpoint)
    model = load_model(checkpoint, device)
    sequences = _test_sequences(checkpoint.config.scene, count, seed)
    chunk = training_chunk(checkpoint.config)  # as much memory as training took, at most
    with contextlib.closing(ProgressBar(count)) as bar:
        leads, mean = _score(model, sequences, horizon, chunk, bar)
    about = _about(checkpoint.config, model, device, "float32")
    if flags.json:
        test = {"sequences": count, "seed": seed}
        lead_times = [
            {"lead_time": number, **evaluation_data(evaluation)}
            for number, evaluation in enumerate(leads, start=1)
        ]
        print_json({**about, **test, "lead_times": lead_times, "mean": evaluation_data(mean)})
        return 0
    print(
        f"{count:,} fresh sequences of seed {seed}, "
        f"{about['parameters']:,} parameters, on {device} in float32.\n"
    )
    rows = [(str(number), evaluation) for number, evaluation in enumerate(leads, start=1)]
    print(score_table("lead time", [*rows, ("mean", mean)] if horizon > 1 else rows))
    if mean.is_black:
        print(black_warning(mean))
    return 0


def predict(flags: argparse.Namespace) -> int:
    """Draw a checkpoint's prediction of one fresh sequence."""
    seed = check_integer("seed", flags.seed, 0, MAX_TEST_SEED)
    device = _device(flags.device)
    checkpoint = read_checkpoint(flags.checkpoint)
    _check_writable("--out", flags.out)
    squares = next(_test_sequences(checkpoint.config.scene, 1, seed))
    predicted = load_model(checkpoint, device).predict(_context(squares).to(device), 1)
    _draw(squares, predicted, [], flags.out)
    print(f"Saved to {flags.out}.")
    return 0


def compare_speed(flags: argparse.Namespace) -> int:
    """Time the contestants of the benchmark, or how this project's step grows."""
    device = _device(flags.device)
    if flags.scaling:
        _check_writable("--scaling", flags.scaling.parent)
        sweeps = scaling(device)
        if flags.json:
            for sweep in sweeps:
                print_json(asdict(sweep))
        else:
            print(describe(sweeps))
        draw(sweeps, flags.scaling)
        return 0
    repeats = None
    if flags.repeats is not None:
        repeats = check_integer("repeats", flags.repeats, 1, MAX_REPEATS)
    for size in flags.size or [name for name in SIZES if name != "tiny"]:
        rows = benchmark(size, names=flags.row, device=str(device), repeats=repeats)
        if flags.json:
            for row in rows:
                print_json({"size": size, **asdict(row)})
        else:
            print(table(size, rows), flush=True)
    return 0


def _make_trainer(flags: argparse.Namespace) -> Trainer:
    device = _device(flags.device)
    given = _given(flags, TRAIN_NAMES)
    if flags.resume is None:
        return Trainer(train_config(given, PRESETS[flags.preset or "quick"].config), device)
    trainer = resume(read_checkpoint(flags.resume), device)
    if trainer.ended:
        raise UsageError(f"The run of {flags.resume} has ended ({trainer.ended}).")
    return trainer


def study(flags: argparse.Namespace) -> int:
    """Make one of the article's tables again."""
    _check_writable("--out", flags.out)
    with _first_interrupt() as interrupted:
        return forecast_cli.study(flags, _device(flags.device), interrupted.is_set)


def _is_for_forecaster(flags: argparse.Namespace) -> bool:
    """Whether the flags ask for a forecaster: by its preset, or by the file to go on with."""
    if flags.resume is None:
        return flags.preset in FORECAST_PRESETS
    asked = [name for name in ("preset", "start_from") if getattr(flags, name)]
    asked += [name for name in (*TRAIN_NAMES, *FORECAST_NAMES) if name in flags]
    if asked:
        odd = ", ".join("--" + name.replace("_", "-") for name in dict.fromkeys(asked))
        raise UsageError(f"--resume goes on with the checkpoint's own settings: leave out {odd}.")
    return file_format(flags.resume) == FORECAST_FORMAT


def _given(flags: argparse.Namespace, names: tuple[str, ...]) -> dict[str, object]:
    """Return the settings that stand on the command line.

    Raises:
        UsageError: one of them belongs to the other kind of model.
    """
    known = (*TRAIN_NAMES, *FORECAST_NAMES)
    given = {name: getattr(flags, name) for name in known if name in flags}
    for name in given:
        if name not in names:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} is no setting of the preset {flags.preset or 'quick'}.")
    return given


def _device(name: str) -> torch.device:
    try:
        return pick_device(name)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _check_writable(flag: str, folder: Path) -> None:
    """Find out before the work, and not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{flag} {folder} cannot be written to: {error.strerror}.") from error


def _pull(trainer: Trainer, as_json: bool) -> None:
    """Train to the end of the run, or to Ctrl-C."""
    pieces = trainer.pieces()
    # Where JSON lines come to the same terminal, the bar would stand between them.
    bar = ProgressBar(trainer.config.total_steps, hidden=as_json and sys.stdout.isatty())
    with contextlib.closing(pieces), contextlib.closing(bar), _first_interrupt() as interrupted:
        for record in pieces:
            if record is not None:
                if as_json:
                    print_json(record_data(record))
                bar.draw(record.step, _progress(trainer, record))
            if interrupted.is_set():
                return


@contextlib.contextmanager
def _first_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, to be seen between two pieces; a second breaks off."""
    interrupted = threading.Event()

    def note(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _save(trainer: Trainer, folder: Path) -> None:
    save_checkpoint(trainer, folder / CHECKPOINT_NAME)
    write_files({"losses.csv": losses_csv(trainer.records).encode()}, folder)


def _draw(squares: Squares, predicted: Tensor, records: list[StepRecord], folder: Path) -> None:
    """Write the article's files for the first sequence."""
    context, clean = as_images(_context(squares))[0], as_images(squares.clean)[0]
    frame = as_images(predicted)[0, 0]
    write_files(article_outputs(context, clean[CONTEXT_FRAMES], frame, records), folder)


def _context(squares: Squares) -> Tensor:
    return squares.observed[:, :CONTEXT_FRAMES]


def _test_sequences(scene: SquaresConfig, count: int, seed: int) -> Iterator[Squares]:
    """Yield sequences that no training draws, at most _DRAWN_AT_ONCE together.

    The first ones of a seed are the same whatever the count, the horizon and the device.
    """
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, count, _DRAWN_AT_ONCE):
        drawn = sample_squares(scene, _DRAWN_AT_ONCE, CONTEXT_FRAMES + HORIZON, generator)
        yield Squares(*(frames[: count - start] for frames in drawn))


def _score(
    model: NextFramePredictor,
    sequences: Iterator[Squares],
    horizon: int,
    chunk: int,
    bar: ProgressBar,
) -> tuple[list[Evaluation], Evaluation]:
    """Score a model for each lead time 1..horizon, and over all of them."""
    device = next(model.parameters()).device
    sums = np.zeros((3, horizon, 4))  # model, black, copy-last; lead times; the metrics of Scores
    brightest = torch.zeros(horizon)
    count = 0
    for squares in sequences:
        context = _context(squares)
        truth = squares.clean[:, CONTEXT_FRAMES : CONTEXT_FRAMES + horizon]
        parts = [model.predict(part.to(device), horizon).cpu() for part in context.split(chunk)]
        predicted = torch.cat(parts)
        candidates = (predicted, black_frames(truth), copy_last_frame(context, horizon))
        for total, frames in zip(sums, candidates, strict=True):
            scores = score_by_lead_time(frames, truth)
            total += len(truth) * np.array([astuple(lead) for lead in scores])
        brightest = brightest.maximum(predicted.amax((0, 2, 3, 4)))
        count += len(truth)
        bar.draw(count, "sequences")
    means = sums / count
    leads = [_evaluation(means[:, lead], float(brightest[lead])) for lead in range(horizon)]
    return leads, _evaluation(means.mean(1), float(brightest.max()))


def _evaluation(table: np.ndarray, brightest: float) -> Evaluation:
    return Evaluation(*(Scores(*row) for row in table.tolist()), brightest=brightest)


def _about(
    config: TrainConfig, model: NextFramePredictor, device: torch.device, precision: str
) -> dict[str, object]:
    return {
        "parameters": _count_parameters(model),
        "settings": settings_of(config),
        "device": str(device),
        "precision": precision,
    }


def _count_parameters(model: NextFramePredictor) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _summary(trainer: Trainer) -> str:
    """Say how a run went, in a few lines."""
    config, last = trainer.config, trainer.records[-1]
    # A diverged run went back to its best weights; its last evaluation is of others.
    evaluation = last.evaluation or trainer.evaluate()
    ends = {
        "goal": f"reached its goal, a held-out MSE under {config.stop_below:g}",
        "finished": "finished all of its steps",
        "diverged": "diverged: the last good weights were kept; try a lower learning rate",
    }
    precision = resolve_precision(config.precision, trainer.device)
    lines = [
        f"{_count_parameters(trainer.model):,} parameters, {last.step} of {config.total_steps} "
        f"steps in {last.seconds:.1f} s on {trainer.device} in {precision}.",
        f"The run {ends[last.ended]}.",
        "",
        score_table("frames", [("held-out", evaluation)]),
    ]
    if evaluation.is_black:
        lines.append(black_warning(evaluation))
    return "\n".join(lines)


def _progress(trainer: Trainer, record: StepRecord) -> str:
    total = trainer.config.total_steps
    left = record.seconds / record.step * (total - record.step)
    held_out = f", held-out MSE {trainer.best_mse:.5f}" if math.isfinite(trainer.best_mse) else ""
    return f"loss {record.loss:.5f}{held_out}, {record.seconds:.0f} s, {left:.0f} s left"
