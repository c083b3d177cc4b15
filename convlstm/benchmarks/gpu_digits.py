"""The report's training on Moving MNIST: as long as there is time, scored, and kept."""

import contextlib
import statistics
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from convlstm.benchmarks.apart import WorkFailed, one_line
from convlstm.benchmarks.gpu_found import DigitsRun, StepTimes
from convlstm.benchmarks.gpu_parts import (
    Order,
    Part,
    Place,
    Progress,
    ReportSize,
    can_capture,
    followed,
)
from convlstm.devices import resolve_precision
from convlstm.files.checkpoint import (
    checkpoint_bytes,
    load_checkpoint,
    resume,
    save_checkpoint,
    save_network,
)
from convlstm.files.reading import read_checkpoint
from convlstm.files.safe_files import CheckpointError
from convlstm.networks import build_network
from convlstm.pieces import mapped
from convlstm.settings import configure
from convlstm.training.captured import WARM_UPS
from convlstm.training.captured_trainer import CapturedTrainer
from convlstm.training.config import MAX_STEPS, TrainConfig
from convlstm.training.costs import evaluation_chunk, work_of
from convlstm.training.evaluation import LeadTimeScores, score_network
from convlstm.training.metrics import Scores
from convlstm.training.presets import preset
from convlstm.training.trainer import Trainer

RUN_NAME, NETWORK_NAME = "moving-mnist-run.safetensors", "moving-mnist.safetensors"

_SCORING_SHARE = 0.3  # of the time that scoring may take at most
_LEAST_RESERVE = 0.7  # of that, for which a training is left early
_MARGIN = 1.15  # by which steps must fit before their number, and not the time, decides
_LEAST_MINUTES = 0.01
_EVALUATIONS = 15  # on the validation set, in a whole training
_SAVE_SECONDS = 120.0  # between two files of a training under way
_PROBED_SECONDS = 5.0  # of steps that are timed before a training is planned
_PROBED_STEPS = 30
_COLD_STEPS = 2  # that meet libraries which are not yet at work
_CAPTURING_SHARE = 0.2  # of the time, in which captured steps must have been timed


def run_moving_mnist(place: Place, order: Order, seconds: float) -> Part:
    """Train at OpenSTL's size for as long as there is time, then score it."""
    ends_at = time.monotonic() + seconds
    times = yield from _step_times(place, order, seconds)
    if times.plain is None:
        return False
    left = ends_at - time.monotonic()
    work = moving_mnist, order.device, order.size, order.folder, left, times
    is_whole, found = yield from followed(place.pieces(*work, seconds=left))
    if found and found.ended == "diverged":
        raise WorkFailed("The training diverged.")
    return is_whole and found.ended is not None


def _step_times(
    place: Place, order: Order, seconds: float
) -> Generator[Progress | None, None, StepTimes]:
    """Time the steps of each way of training; after one that breaks the next has a new process."""
    times = StepTimes((yield from _timed(place, order, seconds, captured=False)))
    if times.plain is None or not can_capture(order.device):
        return times
    try:
        most = _CAPTURING_SHARE * seconds
        captured = yield from _timed(place, order, most, captured=True)
    except WorkFailed as error:
        return replace(times, not_captured=str(error))
    why = "its steps could not be timed in time" if captured is None else ""
    return replace(times, captured=captured, not_captured=why)


def _timed(
    place: Place, order: Order, seconds: float, *, captured: bool
) -> Generator[Progress | None, None, float | None]:
    """Return what a step takes, ms; None where that was not known in time."""
    work = time_steps, order.device, order.size, captured
    pieces = followed(place.pieces(*work, seconds=seconds))
    # What it finds is not yet what the part does.
    _, found = yield from mapped(lambda piece: piece and piece._replace(found=None), pieces)
    return found


def moving_mnist(
    device: str, size: ReportSize, folder: Path, seconds: float, times: StepTimes
) -> Iterator[Progress]:
    """Train, score and keep a network within so many seconds."""
    ends_at = time.monotonic() + seconds
    config = configure(size.digits, preset("moving-mnist-openstl"))
    step_seconds = (times.captured or times.plain) / 1000
    sequence_seconds = yield from _time_scoring(config, device, size.first_sequences)
    reserve = min(_SCORING_SHARE * seconds, size.sequences * sequence_seconds)
    left = ends_at - time.monotonic() - reserve
    config, planned = _planned(config, left, step_seconds, size.most_flop)
    network = build_network(config.network, config.scene.frames, device="meta")
    parameters = sum(each.numel() for each in network.parameters())
    precision = resolve_precision(config.precision, torch.device(device))
    found = DigitsRun(parameters, precision, planned, times)
    with contextlib.closing(_train(config, device, found, folder)) as states:
        for state in states:
            found, text = state, f"training, {state.steps} steps, {state.flop:.1e} FLOP"
            yield Progress((1 - _SCORING_SHARE) * state.progress, text, found)
            if time.monotonic() > ends_at - _LEAST_RESERVE * reserve:  # it was slower than thought
                break
    left = 0.9 * (ends_at - time.monotonic())
    count = min(size.sequences, max(size.first_sequences, int(left / sequence_seconds)))
    scores = yield from mapped(
        lambda done: Progress(1 - _SCORING_SHARE * (1 - done / count), f"{done} scored", found),
        _scoring(config, folder / NETWORK_NAME, device, count),
    )
    model, baselines = scores.mean
    yield Progress(
        1.0,
        "scored",
        replace(
            found,
            scored=scores.sequences,
            model=_summed(model, config),
            baselines={name: _summed(each, config) for name, each in baselines.items()},
        ),
    )


def _train(config: TrainConfig, device: str, found: DigitsRun, folder: Path) -> Iterator[DigitsRun]:
    """Train to the end, captured if such steps were timed; say how far it is.

    A captured training that breaks goes on without.
    """
    if found.step_times.captured is None:
        yield from _kept(Trainer(config, device), found, folder)
        return
    trainer = CapturedTrainer(config, device)
    try:
        yield from _kept(trainer, found, folder)
        return
    except CheckpointError:
        raise
    except Exception as error:
        times = replace(found.step_times, not_captured=one_line(error))
        content = checkpoint_bytes(trainer)
    del trainer  # and the memory of its graphs
    trainer = resume(read_checkpoint(content), device)
    yield from _kept(trainer, replace(found, step_times=times), folder)


def _kept(trainer: Trainer, found: DigitsRun, folder: Path) -> Iterator[DigitsRun]:
    """Train to the end, and keep it, also where it is left early; say how far it is."""
    config, saved_at, counted = trainer.config, time.monotonic(), 0
    try:
        for record in trainer.pieces():
            if record is None:
                yield found
                continue
            new, counted = trainer.records[counted:], trainer.step
            validation = record.evaluation and _summed(record.evaluation.model, config)
            found = replace(
                found,
                steps=trainer.step,
                sequences=trainer.step * config.batch_size,
                seconds=record.seconds,
                flop=found.flop + sum(_step_flop(config, each.horizon) for each in new),
                progress=min(1.0, trainer.progress),
                ended=record.ended,
                validation=validation or found.validation,
            )
            yield found
            if time.monotonic() - saved_at > _SAVE_SECONDS:
                with contextlib.suppress(CheckpointError):  # a disk may be full for a while
                    save_checkpoint(trainer, folder / RUN_NAME)
                saved_at = time.monotonic()
    finally:
        save_checkpoint(trainer, folder / RUN_NAME)
        save_network(trainer, folder / NETWORK_NAME, half=True)  # small enough to be shipped


def time_steps(device: str, size: ReportSize, captured: bool) -> Iterator[Progress]:
    """Find what a training step takes at the full horizon, ms."""
    changes = {**size.digits, "curriculum": 0.0, "evaluate_every": MAX_STEPS}
    config = configure(changes, preset("moving-mnist-openstl"))
    trainer = (CapturedTrainer if captured else Trainer)(config, device)
    first, cold = None, WARM_UPS + 1 if captured else _COLD_STEPS
    for record in trainer.pieces():
        yield Progress(0.0, "timing a training step")
        if record is None or record.step < cold:
            continue
        if first is None:
            first = record
            continue
        seconds, steps = record.seconds - first.seconds, record.step - first.step
        if seconds > _PROBED_SECONDS or steps >= _PROBED_STEPS:
            yield Progress(0.0, "timing a training step", 1000 * seconds / steps)
            return
    raise WorkFailed(f"A training ended in its first steps: {trainer.ended}.")


def _time_scoring(config: TrainConfig, device: str, count: int) -> Generator[Progress, None, float]:
    """Return the seconds that scoring a test sequence takes."""
    network = Trainer(config, device).network.eval()
    for _ in range(2):  # the first time, digits are read and libraries are cold
        started = time.perf_counter()
        yield from mapped(
            lambda done: Progress(0.0, "timing the scores"),
            _scored(config, network, device, count),
        )
    return (time.perf_counter() - started) / count


def _planned(
    config: TrainConfig, seconds: float, step_seconds: float, most_flop: float
) -> tuple[TrainConfig, str]:
    """Fit a training into seconds, and into the arithmetic that it may spend.

    Returns:
        Its configuration, and what ends it.
    """
    points = [(number + 0.5) / 100 for number in range(100)]
    flop = statistics.mean(_step_flop(config, config.horizon_at(point)) for point in points)
    steps = max(1, min(MAX_STEPS, int(most_flop / flop)))
    fitting = int(max(0.0, seconds) / step_seconds)
    every = max(1, min(steps, fitting) // _EVALUATIONS)
    if steps * _MARGIN <= fitting:
        config = replace(config, epochs=steps, batches_per_epoch=1, evaluate_every=every)
        return config, f"{most_flop:.2g} FLOP"
    allowed = most_flop / _step_flop(config, config.horizon) * step_seconds
    minutes = max(_LEAST_MINUTES, min(seconds, allowed) / 60)
    return replace(config, max_minutes=minutes, evaluate_every=every), f"{minutes:.2g} minutes"


def _step_flop(config: TrainConfig, horizon: int) -> float:
    """Count the arithmetic of a training step; the backward pass takes two forward ones."""
    return 3e9 * work_of(config, horizon).gflop * config.batch_size


def _scoring(
    config: TrainConfig, file: Path, device: str, count: int
) -> Generator[int, None, LeadTimeScores]:
    """Score the network of a file as the command `evaluate` does."""
    return (yield from _scored(config, load_checkpoint(file, device), device, count))


def _scored(
    config: TrainConfig, network: torch.nn.Module, device: str, count: int
) -> Generator[int, None, LeadTimeScores]:
    seen, horizon, scene = config.context_frames, config.horizon, config.scene
    clips, at_once = scene.test(seen, horizon, count, 0), evaluation_chunk(config, device)
    return (yield from score_network(network, scene, clips, seen, horizon, at_once=at_once))


def _summed(scores: Scores, config: TrainConfig) -> Scores:
    """Return scores whose errors are summed over a frame."""
    factor = config.scene.measure.factor
    return replace(scores, mse=factor * scores.mse, mae=factor * scores.mae)
