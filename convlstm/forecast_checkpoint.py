"""Checkpoints of forecasters: a trained model, or a whole run to go on with.

A model's file holds the weights that are to be used, their settings and how they came about. A
run's file holds besides all that the next step depends on, and a record of each step. Axes as in
`forecaster`.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from convlstm.checks import SettingError, check_choice, check_integer, check_number, shown
from convlstm.forecast_config import FORECAST_NAMES, ForecastConfig, forecast_config
from convlstm.forecast_history import TABLES, history_tables, read_history
from convlstm.forecaster import Forecaster, build_forecaster
from convlstm.forecasting import End, ForecastRecord, ForecastTrainer, PastTraining
from convlstm.safe_files import (
    CheckpointError,
    check_finite,
    check_generator,
    check_not_negative,
    load_content,
    open_checkpoint,
    parse_json,
    part_of,
    read_settings,
    write_atomically,
)
from convlstm.settings import Change, settings_of

FORECAST_FORMAT = "convlstm-forecaster"
VERSION = "3"
MAX_BYTES = 2**33  # the largest network with its moments takes 7 GiB
_MAX_STEPS = 10_000_000
_MOST_TRAININGS = 100
_LARGEST = 1e30  # that any number of a run reaches


@dataclass(frozen=True)
class ForecastCheckpoint:
    """A file's content, checked: it fits its own configuration and every weight is finite.

    Attributes:
        config: the run that it comes from.
        weights: of the model to use: the averaged ones where the run keeps them.
        run: what a run needs to go on, or None.
        trainings: what the weights have been through, oldest first; at least one.
        progress: where a run stands, or None.
        history: a record for each step of a run.
    """

    config: ForecastConfig
    weights: dict[str, Tensor]
    run: dict[str, Tensor] | None
    trainings: tuple[PastTraining, ...]
    progress: dict[str, object] | None
    history: tuple[ForecastRecord, ...] = ()


def save_forecaster(trainer: ForecastTrainer, path: str | Path, *, best: bool = True) -> None:
    """Write the model alone: the best one by validation loss, or the newest.

    Raises:
        CheckpointError: the file could not be written; an old one is untouched.
    """
    write_atomically(Path(path), model_bytes(trainer, best=best))


def model_bytes(trainer: ForecastTrainer, *, best: bool = True) -> bytes:
    """Make the content of a model's file: the best one by validation loss, or the newest."""
    weights = trainer.averaged or trainer.model.state_dict()
    if best and math.isfinite(trainer.best_loss):
        weights = trainer.best_weights
    tensors = {f"model.{name}": value for name, value in weights.items()}
    return _content(tensors, trainer, progress=None)


def save_run(trainer: ForecastTrainer, path: str | Path) -> None:
    """Write a run: a kill at any moment leaves the old file or the new one.

    Raises:
        CheckpointError: the file could not be written; an old one is untouched.
    """
    write_atomically(Path(path), run_bytes(trainer))


def run_bytes(trainer: ForecastTrainer) -> bytes:
    """Make the content of a run's file, as of its last whole step."""
    tensors = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in trainer.best_weights.items()}
    for name, value in (trainer.averaged or {}).items():
        tensors[f"averaged.{name}"] = value
    tensors |= {f"optimizer.{name}": value for name, value in trainer.optimizer.state().items()}
    tensors["generator"] = trainer.generator.get_state()
    tensors |= history_tables(trainer.history)
    progress = {
        "ended": trainer.ended,
        "changes": [asdict(change) for change in trainer.changes],
        "progress": trainer.progress,
        "best_loss": trainer.best_loss if math.isfinite(trainer.best_loss) else None,
        "evaluations_since_best": trainer.evaluations_since_best,
        "scaler": trainer.scaler.state_dict(),
    }
    return _content(tensors, trainer, progress)


def read_forecaster(source: str | Path | bytes) -> ForecastCheckpoint:
    """Read and check a file, or its content, before anything of it is used.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    data, metadata, entries = open_checkpoint(
        source, kind="forecaster", form=FORECAST_FORMAT, version=VERSION, max_bytes=MAX_BYTES
    )
    config = read_settings(metadata, FORECAST_NAMES, forecast_config)
    is_run = "progress" in metadata
    _check_entries(config, entries, is_run=is_run)
    tensors = load_content(data)
    for name, tensor in tensors.items():
        if tensor.dtype == torch.float32:
            check_finite(name, tensor)
    trainings = _read_trainings(metadata)
    weights = part_of(tensors, "averaged.") or part_of(tensors, "model.")
    if not is_run:
        return ForecastCheckpoint(config, weights, None, trainings, None)
    progress = _read_progress(metadata)
    history = read_history({name: tensors.pop(name) for name in TABLES}, progress["ended"])
    return ForecastCheckpoint(config, weights, tensors, trainings, progress, tuple(history))


def load_forecaster(
    source: str | Path | ForecastCheckpoint, device: torch.device | str = "cpu"
) -> Forecaster:
    """Make the model of a checkpoint, ready to predict.

    Args:
        source: a file that `train` wrote, or its content as `read_forecaster` returned it.
        device: where the model shall be.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    checkpoint = source if isinstance(source, ForecastCheckpoint) else read_forecaster(source)
    model = build_forecaster(checkpoint.config.model, torch.Generator(), device)
    model.load_state_dict(checkpoint.weights)
    return model.eval()


def start_from(
    checkpoint: ForecastCheckpoint, config: ForecastConfig, device: torch.device | str = "cpu"
) -> ForecastTrainer:
    """Make the trainer of a new run that starts with a checkpoint's weights.

    Args:
        checkpoint: a model or a run, of the same network.
        config: the new run; a seed other than the earlier run's draws other sequences.
        device: where it computes.

    Raises:
        CheckpointError: the file holds another network than the configuration asks for.
    """
    asked, held = asdict(config.model), asdict(checkpoint.config.model)
    for name, value in asked.items():
        # Recomputation changes how the gradient is found, not what the weights are.
        if name != "recompute" and value != held[name]:
            raise CheckpointError(
                f"The file holds another network: {name} is {held[name]} there and {value} here."
            )
    trainer = ForecastTrainer(config, device, checkpoint.weights)
    trainer.earlier = checkpoint.trainings[-_MOST_TRAININGS + 1 :]
    return trainer


def resume_forecaster(
    checkpoint: ForecastCheckpoint, device: torch.device | str = "cpu"
) -> ForecastTrainer:
    """Make the trainer that a checkpoint holds; it goes on bit for bit as if never interrupted.

    Raises:
        CheckpointError: the file holds a model alone, or a run of another kind of device.
    """
    if checkpoint.run is None:
        raise CheckpointError("The file holds a model alone, no run that could go on.")
    trainer = ForecastTrainer(checkpoint.config, device)
    tensors = {n: value.to(trainer.device, copy=True) for n, value in checkpoint.run.items()}
    progress = checkpoint.progress
    moments = part_of(tensors, "optimizer.")
    trainer.history = list(checkpoint.history)
    _check_moments(trainer, moments)
    try:
        trainer.generator.set_state(check_generator(checkpoint.run["generator"]))
        trainer.scaler.load_state_dict(progress["scaler"])
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"This run cannot go on on {trainer.device.type}: its generator belongs to another "
            "kind of device, or is damaged."
        ) from error
    trainer.optimizer.load_state(moments)
    with torch.no_grad():  # into the same memory, which the optimiser shares
        for name, value in trainer.model.state_dict().items():
            value.copy_(tensors[f"model.{name}"])
    trainer.earlier = checkpoint.trainings[:-1]
    trainer.best_weights = part_of(tensors, "best.")
    trainer.averaged = part_of(tensors, "averaged.") or None
    trainer.changes = list(progress["changes"])
    trainer.progress = progress["progress"]
    trainer.best_loss = math.inf if progress["best_loss"] is None else progress["best_loss"]
    trainer.evaluations_since_best = progress["evaluations_since_best"]
    return trainer


def _content(
    tensors: dict[str, Tensor], trainer: ForecastTrainer, progress: dict[str, object] | None
) -> bytes:
    metadata = {
        "format": FORECAST_FORMAT,
        "version": VERSION,
        "torch": torch.__version__,
        "settings": json.dumps(settings_of(trainer.config)),
        "about": json.dumps({"trainings": [asdict(training) for training in trainer.trainings]}),
    }
    if progress is not None:
        metadata["progress"] = json.dumps(progress)
    contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    return save_tensors(contiguous, metadata)


def _check_entries(config: ForecastConfig, entries: dict[str, dict], *, is_run: bool) -> None:
    """Compare the header's names, shapes and types with what the settings ask for.

    The optimiser's are compared when a run goes on: `_check_moments`.
    """
    weights = build_forecaster(config.model, torch.Generator(), "meta").state_dict()
    prefixes = ["model"]
    if is_run:
        prefixes += ["best", "averaged"] if config.ema else ["best"]
    expected = {f"{prefix}.{name}" for prefix in prefixes for name in weights}
    expected |= {"generator", *TABLES} if is_run else set()
    found = {name for name in entries if not (is_run and name.startswith("optimizer."))}
    if found != expected:
        odd = shown(sorted(found ^ expected)[0])
        raise CheckpointError(f"The checkpoint does not fit its settings: tensor {odd}.")
    for name, entry in entries.items():
        dtype, shape = entry.get("dtype"), entry.get("shape")
        if name == "generator":
            fits = dtype == "U8" and isinstance(shape, list) and len(shape) == 1
        elif name in TABLES:
            fits = dtype == "F64" and isinstance(shape, list) and shape[1:] == [TABLES[name]]
            fits = fits and shape[0] <= (_MAX_STEPS if config.max_minutes else config.steps)
        elif name.startswith("optimizer."):
            fits = dtype == "F32"
        else:
            fits = dtype == "F32" and shape == list(weights[name.partition(".")[2]].shape)
        if not fits:
            raise CheckpointError(
                f"The checkpoint does not fit its settings: tensor {name} is "
                f"{shown(dtype)} {shown(shape)}."
            )


def _check_moments(trainer: ForecastTrainer, moments: dict[str, Tensor]) -> None:
    """Refuse an optimiser's state that is not this model's: its kernels do not check sizes."""
    expected = trainer.optimizer.shape_of_state()
    # Before the first update there is none; under float16 the first steps may have been left out.
    updates = trainer.step - (trainer.ended == "diverged")
    may_lack = not updates or trainer.scaler.is_enabled()
    if not moments and may_lack:
        return
    if {name: list(value.shape) for name, value in moments.items()} != expected:
        raise CheckpointError("The checkpoint is damaged: its optimiser belongs to another model.")
    for name, value in moments.items():
        if name.endswith(("exp_avg_sq", "step")):
            check_not_negative(name, value)


def _read_trainings(metadata: dict[str, str]) -> tuple[PastTraining, ...]:
    trainings = parse_json(metadata.get("about")).get("trainings")
    if not isinstance(trainings, list) or not 1 <= len(trainings) <= _MOST_TRAININGS:
        raise CheckpointError("The checkpoint is damaged: it does not say how it was trained.")
    try:
        return tuple(PastTraining(**training) for training in trainings)
    except SettingError as error:
        raise CheckpointError(f"The checkpoint is damaged: {error}") from error
    except TypeError as error:
        raise CheckpointError(
            "The checkpoint is damaged: what it says of its training has another structure."
        ) from error


def _read_progress(metadata: dict[str, str]) -> dict[str, object]:
    progress = parse_json(metadata["progress"])
    try:
        if progress["ended"] is not None:
            check_choice("ended", progress["ended"], get_args(End))
        progress["changes"] = [Change(**change) for change in progress["changes"]]
        check_number("progress", progress["progress"], 0, _LARGEST)
        check_integer("evaluations_since_best", progress["evaluations_since_best"], 0, _MAX_STEPS)
        if progress["best_loss"] is not None:
            check_number("best_loss", progress["best_loss"], -_LARGEST, _LARGEST)
        for name, value in progress["scaler"].items():
            check_number(name, value, 0, _LARGEST)
    except SettingError as error:
        raise CheckpointError(f"The checkpoint is damaged: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            "The checkpoint is damaged: its progress has another structure."
        ) from error
    return progress
