"""Checkpoints: a whole run in one safetensors file, written atomically and checked before use.

The file holds the weights, the best weights, Adam's moments, the state of the generator and the
history; its header holds the settings, the scores and the format's version. Nothing is pickled, so
that a file from a stranger can be refused but never run code.
"""

import json
import math
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from convlstm.checks import SettingError, check_choice, check_integer, check_number, shown
from convlstm.metrics import Evaluation, Scores
from convlstm.predictor import NextFramePredictor
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
from convlstm.train_config import TRAIN_NAMES, TrainConfig, train_config
from convlstm.training import End, StepRecord, Trainer

FORMAT = "convlstm-playground"
VERSION = "1"
MAX_BYTES = 136 * 2**20  # the largest model with the longest history takes 131 MiB
_MAX_GENERATOR_BYTES = 2**13
_MAX_STEPS = 5000 * 100  # the largest total_steps
_STEP_COLUMNS = ("loss", "mse", "learning_rate", "seconds")
_EVALUATION_COLUMNS = 1 + 3 * 4 + 1  # step; four scores of model, black, copy-last; brightest


@dataclass(frozen=True)
class Checkpoint:
    """A file's content, checked: it fits its own configuration and every weight is finite."""

    config: TrainConfig
    tensors: dict[str, Tensor]
    ended: End | None
    optimizer_steps: int
    best_mse: float | None
    changes: tuple[Change, ...]


def save_checkpoint(trainer: Trainer, path: str | Path) -> None:
    """Write a run to a file: a kill at any moment leaves the old file or the new one.

    Raises:
        CheckpointError: the folder is missing or read-only, or the disk is full; the old file, if
            there was one, is untouched.
    """
    write_atomically(Path(path), checkpoint_bytes(trainer))


def checkpoint_bytes(trainer: Trainer) -> bytes:
    """Return a run as the content of a checkpoint file."""
    tensors = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in trainer.best_weights.items()}
    for name, parameter in trainer.model.named_parameters():
        moments = trainer.optimizer.state[parameter]
        for key in ("exp_avg", "exp_avg_sq"):
            tensors[f"adam.{key}.{name}"] = moments.get(key, torch.zeros_like(parameter))
    tensors["generator"] = trainer.generator.get_state()
    steps = [[getattr(record, name) for name in _STEP_COLUMNS] for record in trainer.records]
    evaluations = [
        [record.step, *_flat(record.evaluation)] for record in trainer.records if record.evaluation
    ]
    tensors["history.steps"] = _table(steps, len(_STEP_COLUMNS))
    tensors["history.evaluations"] = _table(evaluations, _EVALUATION_COLUMNS)

    last = next((r.evaluation for r in reversed(trainer.records) if r.evaluation), None)
    progress = {
        "ended": trainer.ended,
        "optimizer_steps": _optimizer_steps(trainer),
        "best_mse": trainer.best_mse if math.isfinite(trainer.best_mse) else None,
        "changes": [asdict(change) for change in trainer.changes],
    }
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "torch": torch.__version__,
        "device": trainer.device.type,
        "settings": json.dumps(settings_of(trainer.config)),
        "progress": json.dumps(progress),
        "metrics": json.dumps(asdict(last) if last else None),
    }
    return save_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata)


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> NextFramePredictor:
    """Load the model of a checkpoint, ready to predict.

    Args:
        path: a file that `save_checkpoint` wrote.
        device: where the model shall be.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    return load_model(read_checkpoint(path), device)


def load_model(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> NextFramePredictor:
    """Make the model that a checkpoint holds."""
    with torch.device("meta"):
        model = NextFramePredictor(checkpoint.config.model)
    model.to_empty(device=device)
    model.load_state_dict(part_of(checkpoint.tensors, "model."))
    return model.eval()


def resume(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Trainer:
    """Make the trainer that a checkpoint holds; it goes on bit for bit as if never interrupted.

    Raises:
        CheckpointError: the run was trained on another kind of device, whose random numbers this
            one cannot continue.
    """
    trainer = Trainer(checkpoint.config, device)
    # Copies: training changes them in place, and one checkpoint may be resumed more than once.
    # The history stays where it is: some devices know no float64.
    tensors = {
        name: value if name.startswith("history.") else value.to(trainer.device, copy=True)
        for name, value in checkpoint.tensors.items()
    }
    try:
        trainer.generator.set_state(check_generator(checkpoint.tensors["generator"]))
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"This run cannot go on on {trainer.device.type}: the state of its generator belongs "
            "to another kind of device, or is damaged."
        ) from error
    trainer.model.load_state_dict(part_of(tensors, "model."))
    trainer.best_weights = part_of(tensors, "best.")
    _restore_optimizer(trainer, tensors, checkpoint.optimizer_steps)
    evaluations = {
        int(step): _evaluation(numbers)
        for step, *numbers in tensors["history.evaluations"].tolist()
    }
    for step, numbers in enumerate(tensors["history.steps"].tolist(), start=1):
        epoch = (step - 1) // checkpoint.config.batches_per_epoch + 1
        trainer.records.append(StepRecord(step, epoch, *numbers, evaluations.get(step)))
    if checkpoint.best_mse is not None:
        trainer.best_mse = checkpoint.best_mse
    trainer.changes = list(checkpoint.changes)
    trainer.ended = checkpoint.ended
    if trainer.records and trainer.ended:
        trainer.records[-1] = replace(trainer.records[-1], ended=trainer.ended)
    return trainer


def read_checkpoint(source: str | Path | bytes) -> Checkpoint:
    """Read and check a checkpoint file, or its content.

    Everything is checked before anything is used: size, header, settings, then every tensor's
    name, shape, type and finiteness against what those settings ask for.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    data, metadata, entries = open_checkpoint(
        source, kind="checkpoint", form=FORMAT, version=VERSION, max_bytes=MAX_BYTES
    )
    config = read_settings(metadata, TRAIN_NAMES, train_config)
    progress = _read_progress(metadata)
    _check_entries(config, entries)
    tensors = load_content(data)
    _check_content(config, tensors, progress)
    return Checkpoint(config=config, tensors=tensors, **progress)


def _read_progress(metadata: dict[str, str]) -> dict[str, object]:
    progress = parse_json(metadata.get("progress"))
    try:
        ended, steps = progress["ended"], progress["optimizer_steps"]
        best_mse, changes = progress["best_mse"], progress["changes"]
        check_integer("optimizer_steps", steps, 0, _MAX_STEPS)
        if ended is not None:
            check_choice("ended", ended, get_args(End))
        if best_mse is not None:
            check_number("best_mse", best_mse, 0, 1)
        changes = tuple(Change(**change) for change in changes)
    except SettingError as error:
        raise CheckpointError(f"The checkpoint is damaged: {error}") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            "The checkpoint is damaged: its progress has another structure."
        ) from error
    return {
        "ended": ended,
        "optimizer_steps": steps,
        "best_mse": best_mse,
        "changes": changes,
    }


def _check_entries(config: TrainConfig, entries: dict[str, dict]) -> None:
    """Compare the header's names, shapes and types with what the settings ask for."""
    with torch.device("meta"):
        weights = NextFramePredictor(config.model).state_dict()
    expected = {
        prefix + name: list(value.shape)
        for prefix in ("model.", "best.", "adam.exp_avg.", "adam.exp_avg_sq.")
        for name, value in weights.items()
    }
    names = {*expected, "generator", "history.steps", "history.evaluations"}
    if set(entries) != names:
        odd = shown(sorted(set(entries) ^ names)[0])
        raise CheckpointError(f"The checkpoint does not fit its settings: tensor {odd}.")
    for name, entry in entries.items():
        shape, dtype = entry.get("shape"), entry.get("dtype")
        if name in expected:
            fits = dtype == "F32" and shape == expected[name]
        elif name == "generator":
            fits = dtype == "U8" and _is_shape(shape, _MAX_GENERATOR_BYTES)
        elif name == "history.steps":
            fits = dtype == "F64" and _is_shape(shape, config.total_steps, len(_STEP_COLUMNS))
        else:
            fits = dtype == "F64" and _is_shape(shape, config.total_steps, _EVALUATION_COLUMNS)
        if not fits:
            raise CheckpointError(
                f"The checkpoint does not fit its settings: tensor {name} is "
                f"{shown(dtype)} {shown(shape)}."
            )


def _is_shape(shape: object, most: int, *rest: int) -> bool:
    """Whether a shape is [n, *rest] with n from 0 to most."""
    if not isinstance(shape, list) or shape[1:] != list(rest) or not shape:
        return False
    return type(shape[0]) is int and 0 <= shape[0] <= most


def _check_content(
    config: TrainConfig, tensors: dict[str, Tensor], progress: dict[str, object]
) -> None:
    steps, evaluations = tensors["history.steps"], tensors["history.evaluations"]
    # A diverged run's last loss may be NaN; that is what its history has to say.
    known = steps[:-1] if progress["ended"] == "diverged" else steps
    finite = {name: t for name, t in tensors.items() if t.is_floating_point()}
    finite["history.steps"] = known
    for name, tensor in finite.items():
        check_finite(name, tensor)
        if name.startswith("adam.exp_avg_sq."):  # Adam takes its root
            check_not_negative(name, tensor)
    at = evaluations[:, 0].tolist()
    if at != sorted(set(at)) or not all(1 <= s <= len(steps) and s == int(s) for s in at):
        raise CheckpointError("The checkpoint is damaged: its evaluations belong to no step.")
    if progress["optimizer_steps"] > len(steps):
        raise CheckpointError("The checkpoint is damaged: more updates than steps.")
    is_scored = len(steps) > 0 and at[-1:] == [len(steps)]
    is_whole = is_scored and len(steps) >= config.total_steps
    # What the last step is like in a run that ended so; None is a run that is to go on.
    possible = {None: not is_whole, "finished": is_whole, "goal": is_scored}
    if not possible.get(progress["ended"], len(steps) > 0):
        ended = shown(progress["ended"])
        raise CheckpointError(f"The checkpoint is damaged: its end, {ended}, and history differ.")


def _restore_optimizer(trainer: Trainer, tensors: dict[str, Tensor], steps: int) -> None:
    if steps == 0:
        return
    for name, parameter in trainer.model.named_parameters():
        trainer.optimizer.state[parameter] = {
            "step": torch.tensor(float(steps), device=trainer.device),
            "exp_avg": tensors[f"adam.exp_avg.{name}"],
            "exp_avg_sq": tensors[f"adam.exp_avg_sq.{name}"],
        }


def _optimizer_steps(trainer: Trainer) -> int:
    return trainer.step - (trainer.ended == "diverged")


def _table(rows: list[list[float]], columns: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), columns)


def _flat(evaluation: Evaluation) -> list[float]:
    scores = (evaluation.model, evaluation.black, evaluation.copy_last)
    return [*(number for s in scores for number in astuple(s)), evaluation.brightest]


def _evaluation(numbers: list[float]) -> Evaluation:
    *scores, brightest = numbers
    return Evaluation(*(Scores(*scores[i : i + 4]) for i in (0, 4, 8)), brightest)
