"""Checkpoints of forecasters: a trained model, or a whole run to go on with.

A model's file holds the weights that are to be used, their settings and how they came about. A
run's file holds besides all that the next step depends on. Axes as in `forecaster`.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from convlstm.checks import SettingError, check_integer, check_number, shown
from convlstm.forecaster import Forecaster, build_forecaster
from convlstm.forecasting import (
    FORECAST_NAMES,
    ForecastConfig,
    ForecastRecord,
    ForecastTrainer,
    forecast_config,
    forecast_settings,
)
from convlstm.safe_files import (
    CheckpointError,
    parse_json,
    read_file,
    read_header,
    write_atomically,
)

FORECAST_FORMAT = "convlstm-forecaster"
VERSION = "1"
MAX_BYTES = 2**30
_MAX_STEPS = 10_000_000


@dataclass(frozen=True)
class ForecastCheckpoint:
    """A file's content, checked: it fits its own configuration and every weight is finite.

    Attributes:
        config: the run that it comes from.
        weights: of the model to use: the averaged ones where the run keeps them.
        run: what a run needs to go on, or None.
        about: steps, sequences, seconds of training, and the device.
    """

    config: ForecastConfig
    weights: dict[str, Tensor]
    run: dict[str, Tensor] | None
    about: dict[str, object]


def save_forecaster(trainer: ForecastTrainer, path: str | Path, *, best: bool = True) -> None:
    """Write the model alone: the best one by validation loss, or the newest.

    Raises:
        CheckpointError: the file could not be written; an old one is untouched.
    """
    weights = trainer.averaged or trainer.model.state_dict()
    if best and math.isfinite(trainer.best_loss):
        weights = trainer.best_weights
    tensors = {f"model.{name}": value for name, value in weights.items()}
    _write(Path(path), tensors, trainer, progress=None)


def save_run(trainer: ForecastTrainer, path: str | Path) -> None:
    """Write a run: a kill at any moment leaves the old file or the new one.

    Raises:
        CheckpointError: the file could not be written; an old one is untouched.
    """
    tensors = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in trainer.best_weights.items()}
    for name, value in (trainer.averaged or {}).items():
        tensors[f"averaged.{name}"] = value
    tensors |= {f"optimizer.{name}": value for name, value in trainer.optimizer.state().items()}
    tensors["generator"] = trainer.generator.get_state()
    progress = {
        "last": asdict(trainer.last) | {"evaluation": None} if trainer.last else None,
        "progress": trainer.progress,
        "best_loss": trainer.best_loss if math.isfinite(trainer.best_loss) else None,
        "evaluations_since_best": trainer.evaluations_since_best,
        "scaler": trainer.scaler.state_dict(),
    }
    _write(Path(path), tensors, trainer, progress)


def read_forecaster(source: str | Path | bytes) -> ForecastCheckpoint:
    """Read and check a file, or its content, before anything of it is used.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    data = source if isinstance(source, bytes) else read_file(Path(source), MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"The file is too large: checkpoints have at most {MAX_BYTES} bytes.")
    metadata, entries = read_header(data)
    if metadata.get("format") != FORECAST_FORMAT or metadata.get("version") != VERSION:
        found = f"{shown(metadata.get('format'))}, version {shown(metadata.get('version'))}"
        raise CheckpointError(
            f"The file is no forecaster of this program: its format is {found}, "
            f"not {FORECAST_FORMAT!r}, version {VERSION!r}."
        )
    try:
        settings = parse_json(metadata.get("settings"))
        if missing := set(FORECAST_NAMES) - set(settings):
            raise CheckpointError(f"The checkpoint is damaged: {min(missing)} is missing.")
        config = forecast_config(settings)
    except SettingError as error:
        raise CheckpointError(f"The checkpoint's settings are refused: {error}") from error
    _check_entries(config, entries)
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"The checkpoint is damaged: {shown(str(error))}.") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"The checkpoint is damaged: {name} holds NaN or infinity.")
    about = parse_json(metadata.get("about"))
    if "progress" not in metadata:
        return ForecastCheckpoint(config, part_of(tensors, "model."), None, about)
    about["progress"] = _read_progress(metadata)
    averaged = part_of(tensors, "averaged.")
    return ForecastCheckpoint(config, averaged or part_of(tensors, "model."), tensors, about)


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
    try:
        trainer.generator.set_state(checkpoint.run["generator"])
        trainer.optimizer.load_state(part_of(tensors, "optimizer."))
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"This run cannot go on on {trainer.device.type}: its generator or optimiser belongs "
            "to another kind of device, or is damaged."
        ) from error
    with torch.no_grad():  # into the same memory, which the optimiser shares
        for name, value in trainer.model.state_dict().items():
            value.copy_(tensors[f"model.{name}"])
    trainer.best_weights = part_of(tensors, "best.")
    trainer.averaged = part_of(tensors, "averaged.") or None
    progress = checkpoint.about["progress"]
    trainer.last = ForecastRecord(**progress["last"]) if progress["last"] else None
    trainer.step = trainer.last.step if trainer.last else 0
    trainer.progress = progress["progress"]
    trainer.best_loss = math.inf if progress["best_loss"] is None else progress["best_loss"]
    trainer.evaluations_since_best = progress["evaluations_since_best"]
    trainer.scaler.load_state_dict(progress["scaler"])
    return trainer


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _write(
    path: Path,
    tensors: dict[str, Tensor],
    trainer: ForecastTrainer,
    progress: dict[str, object] | None,
) -> None:
    metadata = {
        "format": FORECAST_FORMAT,
        "version": VERSION,
        "torch": torch.__version__,
        "settings": json.dumps(forecast_settings(trainer.config)),
        "about": json.dumps(
            {
                "steps": trainer.step,
                "sequences": trainer.step * trainer.config.batch_size,
                "seconds": trainer.seconds,
                "device": trainer.device.type,
            }
        ),
    }
    if progress is not None:
        metadata["progress"] = json.dumps(progress)
    contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_atomically(path, save_tensors(contiguous, metadata))


def _check_entries(config: ForecastConfig, entries: dict[str, dict]) -> None:
    """Compare the header's names, shapes and types with what the settings ask for."""
    with torch.device("meta"):
        weights = build_forecaster(config.model, torch.Generator(), "meta").state_dict()
    prefixes = {name.split(".")[0] for name in entries} & {"model", "best", "averaged"}
    expected = {f"{prefix}.{name}" for prefix in prefixes | {"model"} for name in weights}
    found = {name for name in entries if not name.startswith("optimizer.") and name != "generator"}
    if found != expected:
        odd = shown(sorted(found ^ expected)[0])
        raise CheckpointError(f"The checkpoint does not fit its settings: tensor {odd}.")
    for name in found:
        entry, shape = entries[name], list(weights[name.partition(".")[2]].shape)
        if entry.get("dtype") != "F32" or entry.get("shape") != shape:
            raise CheckpointError(
                f"The checkpoint does not fit its settings: tensor {name} is "
                f"{shown(entry.get('dtype'))} {shown(entry.get('shape'))}."
            )


def _read_progress(metadata: dict[str, str]) -> dict[str, object]:
    progress = parse_json(metadata["progress"])
    try:
        last = progress["last"]
        if last is not None:
            check_integer("step", last["step"], 1, _MAX_STEPS)
            ForecastRecord(**last)
        check_number("progress", progress["progress"], 0, math.inf)
        check_integer("evaluations_since_best", progress["evaluations_since_best"], 0, _MAX_STEPS)
        if progress["best_loss"] is not None:
            check_number("best_loss", progress["best_loss"], -1e9, 1e9)
        if not isinstance(progress["scaler"], dict):
            raise TypeError("scaler")
    except SettingError as error:
        raise CheckpointError(f"The checkpoint is damaged: {error}") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            "The checkpoint is damaged: its progress has another structure."
        ) from error
    return progress
