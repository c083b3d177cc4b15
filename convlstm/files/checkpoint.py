"""Checkpoints: a network, or a whole run to go on with, in one safetensors file.

A network's file holds the weights that are to be used, their settings and how they came about. A
run's file holds besides all that the next step depends on, and a record of each step. Nothing is
pickled, so that a file from a stranger can be refused but never run code.
"""

import json
import math
import random
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from convlstm.files.history import history_tables
from convlstm.files.reading import MOST_TRAININGS, Checkpoint, read_checkpoint
from convlstm.files.safe_files import CheckpointError, check_generator, part_of, write_atomically
from convlstm.files.versions import DATA_PREFIX, FORMAT, VERSION, Tensors, Values
from convlstm.networks import Network, build_network
from convlstm.settings import differences, settings_of
from convlstm.training.config import TrainConfig
from convlstm.training.trainer import Trainer


def save_network(
    trainer: Trainer, path: str | Path, *, best: bool = True, half: bool = False
) -> None:
    """Write the network alone.

    Args:
        trainer: whose network.
        path: the file.
        best: whether it is the best one by validation loss, or the newest.
        half: whether its weights are in float16 there: half as large, with three digits of each.

    Raises:
        CheckpointError: the file could not be written; an old one is untouched.
    """
    write_atomically(Path(path), network_bytes(trainer, best=best, half=half))


def network_bytes(trainer: Trainer, *, best: bool = True, half: bool = False) -> bytes:
    """Make the content of a network's file, as `save_network` writes it."""
    is_known = best and math.isfinite(trainer.best_loss)
    weights = trainer.best_weights if is_known else trainer.judged.state_dict()
    if half:
        weights = {name: _halved(each) for name, each in weights.items()}
    return _content(_named("network", weights), trainer, progress=None)


def save_checkpoint(trainer: Trainer, path: str | Path) -> None:
    """Write a run: a kill at any moment leaves the old file or the new one.

    Raises:
        CheckpointError: the folder is missing or read-only, or the disk is full; the old file, if
            there was one, is untouched.
    """
    write_atomically(Path(path), checkpoint_bytes(trainer))


def checkpoint_bytes(trainer: Trainer) -> bytes:
    """Make the content of a run's file, as of its last whole step."""
    tensors = _named("network", trainer.network.state_dict())
    tensors |= _named("best", trainer.best_weights)
    if trainer.averaged:
        tensors |= _named("averaged", trainer.judged.state_dict())
    tensors |= _named("optimizer", trainer.optimizer.state())
    tensors["generator"] = trainer.generator_state
    tensors |= history_tables(trainer.records, trainer.config.scene)
    progress = {
        "ended": trainer.ended,
        "changes": [asdict(change) for change in trainer.changes],
        "progress": trainer.progress,
        "best_loss": trainer.best_loss if math.isfinite(trainer.best_loss) else None,
        "evaluations_since_best": trainer.evaluations_since_best,
        "scaler": trainer.scaler.state_dict(),
        "averages": int(trainer.averaged.n_averaged) if trainer.averaged else 0,
    }
    return _content(tensors, trainer, progress)


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> Network:
    """Load the network of a checkpoint, ready to predict.

    Args:
        path: a file that this program wrote, or an earlier one.
        device: where the network shall be.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    return load_network(read_checkpoint(path), device)


def load_network(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Network:
    """Make the network that a checkpoint holds."""
    config = checkpoint.config
    network = build_network(config.network, config.scene.frames, device=device)
    network.load_state_dict(checkpoint.weights)
    return network.eval()


def start_from(
    checkpoint: Checkpoint, config: TrainConfig, device: torch.device | str = "cpu"
) -> Trainer:
    """Make the trainer of a new run that starts with a checkpoint's weights.

    Args:
        checkpoint: a network or a run, of the same network.
        config: the new run; a seed other than the earlier run's draws other sequences.
        device: where it computes.

    Raises:
        CheckpointError: the file holds another network than the configuration asks for.
    """
    another = "The file holds another network: "
    for name, (there, here) in differences(checkpoint.config.network, config.network).items():
        if name != "recompute":  # which changes how the gradient is found, not what the weights are
            raise CheckpointError(f"{another}{name} is {there} there and {here} here.")
    there, here = checkpoint.config.scene.frames.channels, config.scene.frames.channels
    if there != here:
        raise CheckpointError(f"{another}its frames have {there} channels and these {here}.")
    trainer = Trainer(config, device, checkpoint.weights)
    trainer.earlier = checkpoint.trainings[-MOST_TRAININGS + 1 :]
    return trainer


def resume(
    checkpoint: Checkpoint, device: torch.device | str = "cpu", *, anywhere: bool = False
) -> Trainer:
    """Make the trainer that a checkpoint holds; it goes on bit for bit as if never interrupted.

    Args:
        checkpoint: a run.
        device: where it computes.
        anywhere: whether a run of another kind of device may go on there, too, with sequences that
            are drawn from its seed and its step, and not those that it would have drawn there.

    Raises:
        CheckpointError: the file holds a network alone, or a run of another kind of device.
    """
    if checkpoint.run is None:
        raise CheckpointError("The file holds a network alone, no run that could go on.")
    trainer = Trainer(checkpoint.config, device)
    progress = checkpoint.progress
    # Copies: training changes them in place, and one checkpoint may be resumed more than once.
    tensors = {n: value.to(trainer.device, copy=True) for n, value in checkpoint.run.items()}
    state = checkpoint.run["generator"]
    try:
        if anywhere and state.numel() != trainer.generator.get_state().numel():
            # A CPU's generator looks at 32 bits of its seed and no more.
            drawn = random.Random(f"{checkpoint.config.seed}, {len(checkpoint.records)}")
            trainer.generator.manual_seed(drawn.getrandbits(32))
        else:
            trainer.generator.set_state(check_generator(state))
        trainer.scaler.load_state_dict(progress["scaler"])
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"This run cannot go on on {trainer.device.type}: its generator belongs to another "
            "kind of device, or is damaged."
        ) from error
    trainer.optimizer.load_state(part_of(tensors, "optimizer."))
    with torch.no_grad():  # into the same memory, which the optimiser shares
        for name, value in trainer.network.state_dict().items():
            value.copy_(tensors[f"network.{name}"])
    if trainer.averaged:
        trainer.judged.load_state_dict(part_of(tensors, "averaged."))
        trainer.averaged.n_averaged.fill_(progress["averages"])
    trainer.records = list(checkpoint.records)
    trainer.earlier = checkpoint.trainings[:-1]
    trainer.best_weights = part_of(tensors, "best.")
    trainer.changes = list(progress["changes"])
    trainer.progress, trainer.ended = progress["progress"], progress["ended"]
    trainer.best_loss = math.inf if progress["best_loss"] is None else progress["best_loss"]
    trainer.evaluations_since_best = progress["evaluations_since_best"]
    return trainer


def _named(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _halved(tensor: Tensor) -> Tensor:
    """Return a tensor in float16, unless it holds numbers that are too large for that."""
    half = tensor.half()
    return half if half.isfinite().all() else tensor


def _content(tensors: Tensors, trainer: Trainer, progress: Values | None) -> bytes:
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "torch": torch.__version__,
        "scene": trainer.config.scene.name,
        "settings": json.dumps(settings_of(trainer.config)),
        "about": json.dumps({"trainings": [asdict(training) for training in trainer.trainings]}),
    }
    if progress is not None:
        metadata["progress"] = json.dumps(progress)
    tensors = tensors | {
        DATA_PREFIX + name: each for name, each in trainer.config.scene.data.items()
    }
    contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    return save_tensors(contiguous, metadata)
