"""Checkpoint files are read with distrust: what a file declares is bounded before it is read."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from convlstm.checks import SettingError, check_choice, check_integer, check_number, shown
from convlstm.files.history import TABLES, read_history
from convlstm.files.safe_files import (
    CheckpointError,
    check_numbers,
    checked,
    damaged,
    load_content,
    parse_json,
    part_of,
    read_file,
    read_header,
)
from convlstm.files.versions import DATA_PREFIX, FORMAT, VERSION, VERSIONS, Tensors, Values, Version
from convlstm.networks import Network, build_network
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.settings import configure, settings_of
from convlstm.training.config import MAX_STEPS, TrainConfig
from convlstm.training.optimizers import Optimizer
from convlstm.training.records import Change, End, PastTraining, StepRecord

MAX_BYTES = 2**34  # the largest network, its best and averaged weights and moments take 12 GiB
_MAX_GENERATOR_BYTES = 2**13
MOST_TRAININGS = 100  # that a file tells of
_MOST_CHANGES = 10_000
_LARGEST = 1e30  # that any number of a run reaches


@dataclass(frozen=True)
class Checkpoint:
    """A file's content, checked: it fits its own configuration and every weight is finite.

    Attributes:
        config: the run that it comes from.
        weights: of the network to use: the averaged ones where the run keeps them.
        trainings: what the weights have been through, oldest first; at least one.
        run: what a run needs to go on, or None.
        progress: where a run stands, or None.
        records: one for each step of a run.
    """

    config: TrainConfig
    weights: Tensors
    trainings: tuple[PastTraining, ...]
    run: Tensors | None = None
    progress: Values | None = None
    records: tuple[StepRecord, ...] = field(default=(), repr=False)


def read_checkpoint(source: str | Path | bytes, *, max_bytes: int = MAX_BYTES) -> Checkpoint:
    """Read and check a checkpoint file, or its content.

    Everything is checked before anything is used: size, header, settings, then every tensor's
    name, shape, type and finiteness against what those settings ask for.

    Args:
        source: a file of this program or an earlier one, or its content.
        max_bytes: the largest size that is read.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    data = source if isinstance(source, bytes) else read_file(Path(source), max_bytes)
    if len(data) > max_bytes:
        raise CheckpointError(f"The file is too large: checkpoints have at most {max_bytes} bytes.")
    metadata, entries = read_header(data)
    version = _version(metadata)
    config = _read_config(metadata, version)
    network = build_network(config.network, config.scene.frames, device="meta")
    names = version.names(config, network)
    progress = parse_json(metadata["progress"]) if "progress" in metadata else None
    known = {names.get(name, name): entry for name, entry in entries.items()}
    if len(known) < len(entries):  # one would be checked, and the other one used
        raise damaged("it holds a tensor under two names")
    _check_entries(config, network, version, known, is_run=progress is not None)
    tensors = {names.get(name, name): value for name, value in load_content(data).items()}
    config = _with_data(
        config, {name: tensors.pop(name) for name in _data_of(config) & set(tensors)}
    )
    if progress is not None:
        _upgrade(version, config, tensors, progress)
    tensors = {name: _widened(tensor) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.float32:
            has_root = name.endswith((".exp_avg_sq", ".step"))  # which Adam takes
            check_numbers(name, tensor, may_be_negative=not has_root)
    weights = part_of(tensors, "averaged.") or part_of(tensors, "network.")
    if progress is None:
        return Checkpoint(config, weights, _read_trainings(metadata))
    tables = {name: tensors.pop(name) for name in TABLES}
    records = read_history(tables, progress["ended"], config)
    _check_progress(config, network, records, tensors, progress)
    trainings = (
        _read_trainings(metadata)
        if version.says_how_trained
        else _trainings_of(records, config, metadata.get("device"))
    )
    return Checkpoint(config, weights, trainings, tensors, progress, tuple(records))


def _widened(tensor: Tensor) -> Tensor:
    """Return a tensor of float16 in float32; by NumPy, as in `check_numbers`."""
    if tensor.dtype != torch.float16:
        return tensor
    return torch.from_numpy(tensor.numpy().astype("float32"))


def _version(metadata: dict[str, str]) -> Version:
    found = metadata.get("format"), metadata.get("version")
    if not all(isinstance(part, str) for part in found) or found not in VERSIONS:
        raise CheckpointError(
            f"The file is no checkpoint of this program: its format is {shown(found[0])}, version "
            f"{shown(found[1])}, not {FORMAT!r}, version {VERSION!r} or one before it."
        )
    return VERSIONS[found]


def _read_config(metadata: dict[str, str], version: Version) -> TrainConfig:
    settings = parse_json(metadata.get("settings"))
    scene = version.scene or metadata.get("scene")
    try:
        check_choice("scene", scene, CATALOGUE)
        base = TrainConfig(CATALOGUE[scene].scene)
        known = set(settings_of(base))
        lacking = {name: value for name, value in version.lacking.items() if name in known}
        settings = {**lacking, **version.settings(settings)}
        if missing := known - set(settings):
            raise damaged(f"{min(missing)} is missing")
        if unknown := set(settings) - known:  # without a list of all that there are
            name = min(unknown)
            raise CheckpointError(
                "The checkpoint's settings are refused: "
                f"{repr(name)[1:-1][:60]} is {shown(settings[name])}: is not a setting."
            )
        return configure(settings, base)
    except SettingError as error:
        raise CheckpointError(f"The checkpoint's settings are refused: {error}") from error


def _with_data(config: TrainConfig, tensors: Tensors) -> TrainConfig:
    """Give a configuration's scene what a file holds of it."""
    try:
        scene = config.scene.holding(part_of(tensors, DATA_PREFIX))
        return replace(config, scene=scene)
    except SettingError as error:
        raise CheckpointError(f"The checkpoint's clip is refused: {error}") from error


def _data_of(config: TrainConfig) -> set[str]:
    return {DATA_PREFIX + name for name in config.scene.data_shapes}


def _check_entries(
    config: TrainConfig,
    network: Network,
    version: Version,
    entries: dict[str, dict],
    *,
    is_run: bool,
) -> None:
    """Compare the header's names, shapes and types with what the settings ask for.

    Of a network alone, any weights may be in float16.
    """
    prefixes, others, moments = ["network"], {}, {}
    if is_run:
        prefixes += ["best", "averaged"] if config.ema else ["best"]
        rows = range(1 + (MAX_STEPS if config.max_minutes else config.total_steps))
        others = {
            "generator": ("U8", [range(1 + _MAX_GENERATOR_BYTES)]),
            TABLES[0]: ("F64", [rows, version.steps]),
            TABLES[1]: ("F64", [rows, version.evaluations(config.scene)]),
        }
        moments = Optimizer.shapes(config.optimizer, network)
        moments = {f"optimizer.{name}": ("F32", shape) for name, shape in moments.items()}
    weights = {name: ("F32", list(value.shape)) for name, value in network.state_dict().items()}
    data = {DATA_PREFIX + name: each for name, each in config.scene.data_shapes.items()}
    needed = {f"{p}.{name}": each for p in prefixes for name, each in weights.items()} | others
    known = needed | moments | data
    misfit = "The checkpoint does not fit its settings: tensor "
    if odd := (needed.keys() - entries.keys()) | (entries.keys() - known.keys()):
        raise CheckpointError(f"{misfit}{shown(min(odd))}.")
    for name, entry in entries.items():
        dtype, shape = entry.get("dtype"), entry.get("shape")
        is_half = dtype == "F16" and name in needed and not is_run
        if not (dtype == known[name][0] or is_half) or not _is_shape(shape, known[name][1]):
            raise CheckpointError(f"{misfit}{name} is {shown(dtype)} {shown(shape)}.")


def _is_shape(shape: object, known: list[int | range]) -> bool:
    """Whether a shape is the known one; a range stands for any size in it."""
    if not isinstance(shape, list) or len(shape) != len(known):
        return False
    sizes = (each if isinstance(each, range) else [each] for each in known)
    return all(type(n) is int and n in each for n, each in zip(shape, sizes, strict=True))


def _upgrade(version: Version, config: TrainConfig, tensors: Tensors, progress: Values) -> None:
    """Bring a run's tensors and progress up to today, and check the progress."""
    with checked("its progress"):
        if not isinstance(progress["changes"], list) or len(progress["changes"]) > _MOST_CHANGES:
            raise damaged("its progress has another structure")
        if "optimizer_steps" in progress:  # checked here, since it becomes a tensor
            check_integer("optimizer_steps", progress["optimizer_steps"], 0, MAX_STEPS)
        version.upgrade(config, tensors, progress)
        if progress["ended"] is not None:
            check_choice("ended", progress["ended"], get_args(End))
        progress["changes"] = [Change(**change) for change in progress["changes"]]
        check_number("progress", progress["progress"], 0, _LARGEST)
        check_integer("evaluations_since_best", progress["evaluations_since_best"], 0, MAX_STEPS)
        check_integer("averages", progress["averages"], 0, MAX_STEPS + 1)
        if progress["best_loss"] is not None:
            check_number("best_loss", progress["best_loss"], -_LARGEST, _LARGEST)
        for name, value in progress["scaler"].items():
            check_number(name, value, 0, _LARGEST)


def _check_progress(
    config: TrainConfig,
    network: Network,
    records: list[StepRecord],
    tensors: Tensors,
    progress: Values,
) -> None:
    """Refuse a run whose parts contradict each other."""
    ended, last = progress["ended"], records[-1] if records else None
    is_scored = last is not None and last.validation_loss is not None
    is_whole = is_scored and progress["progress"] >= 1
    # What the last step is like in a run that ended so; None is a run that is to go on.
    possible = {
        None: not is_whole,
        "finished": is_whole,
        "goal": is_scored,
        "patience": is_scored,
        "diverged": last is not None,
    }
    if not possible[ended]:
        raise damaged(f"its end, {shown(ended)}, and history differ")
    if not config.max_minutes and progress["progress"] != len(records) / config.total_steps:
        raise damaged("its progress and history differ")
    # Before the first update there are no moments; under float16 the first may have been left out.
    expected = set(Optimizer.shapes(config.optimizer, network))
    moments = part_of(tensors, "optimizer.")
    updates = len(records) - (ended == "diverged")
    if set(moments) != expected and (moments or (updates and not progress["scaler"])):
        raise damaged("its optimiser belongs to another run")
    if any(name.endswith(".step") and value.item() > updates for name, value in moments.items()):
        raise damaged("more updates than steps")


def _read_trainings(metadata: dict[str, str]) -> tuple[PastTraining, ...]:
    trainings = parse_json(metadata.get("about")).get("trainings")
    if not isinstance(trainings, list) or not 1 <= len(trainings) <= MOST_TRAININGS:
        raise damaged("it does not say how it was trained")
    with checked("what it says of its training"):
        return tuple(PastTraining(**training) for training in trainings)


def _trainings_of(
    records: list[StepRecord], config: TrainConfig, device: object
) -> tuple[PastTraining, ...]:
    device = device if device in ("cpu", "cuda", "mps") else "cpu"
    seconds = records[-1].seconds if records else 0.0
    return (PastTraining(len(records), len(records) * config.batch_size, seconds, device),)
