"""The command `train`: a run from a preset and settings, or one that goes on."""

import argparse
import contextlib
import gc
import importlib.util
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from convlstm.checks import check_number
from convlstm.commands.shared import (
    INTERRUPTED,
    UsageError,
    about,
    check_writable,
    count_parameters,
    device_of,
    first_interrupt,
    flag_of,
    missing_for_pictures,
)
from convlstm.commands.terminal import (
    ProgressBar,
    black_warning,
    print_json,
    record_data,
    score_table,
)
from convlstm.devices import Threads
from convlstm.files.checkpoint import resume, save_checkpoint, save_network, start_from
from convlstm.files.clips import read_clip
from convlstm.files.pictures import losses_csv, picture_files, write_files
from convlstm.files.reading import read_checkpoint
from convlstm.files.safe_files import CheckpointError
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.settings import all_declared, configure, settings_of
from convlstm.training.config import TrainConfig
from convlstm.training.picture import make_picture
from convlstm.training.presets import preset
from convlstm.training.records import StepRecord
from convlstm.training.trainer import Trainer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RUN_NAME = "checkpoint.safetensors"
NETWORK_NAME = "network.safetensors"


def train(flags: argparse.Namespace) -> int:
    """Train from a preset and settings, or go on with a checkpoint.

    Returns:
        The exit code: 0, or INTERRUPTED.
    """
    if flags.out:
        check_writable("--out", flags.out)
    check_number("save_every", flags.save_every, 0.001, 1000)
    if flags.log_dir:
        check_writable("--log-dir", flags.log_dir)
        if importlib.util.find_spec("tensorboard") is None:
            raise UsageError("--log-dir needs TensorBoard: pip install tensorboard.")
    with first_interrupt() as interrupted, _process_group(device_of(flags)) as device:
        return _run(flags, device, interrupted.is_set)


def _run(flags: argparse.Namespace, device: torch.device, interrupted: Callable[[], bool]) -> int:
    trainer = _make_trainer(flags, device)
    is_first = trainer.rank == 0
    if flags.json and is_first:
        facts = about(trainer.config, trainer.network, trainer.device, trainer.precision)
        print_json({**facts, "processes": trainer.processes})
    with _scalars(flags.log_dir if is_first else None) as writer:
        _pull(trainer, flags, writer, interrupted)
    return _finish(trainer, flags) if is_first else 0


def _make_trainer(flags: argparse.Namespace, device: torch.device) -> Trainer:
    given = {
        each.name: getattr(flags, each.name)
        for entry in CATALOGUE.values()
        for each in all_declared(TrainConfig(entry.scene))
        if each.name in flags
    }
    if flags.resume:
        asked = [name for name in ("preset", "start_from", "clip") if getattr(flags, name)]
        if odd := ", ".join(map(flag_of, [*asked, *given])):
            raise UsageError(
                f"--resume goes on with the checkpoint's own settings: leave out {odd}."
            )
        trainer = resume(read_checkpoint(flags.resume), device)
        if trainer.ended:
            raise UsageError(f"The run of {flags.resume} has ended ({trainer.ended}).")
        return trainer
    name = flags.preset or ("own-clip" if flags.clip else "quick")
    base = preset(name)
    if flags.clip:
        base = _with_clip(base, flags.clip)
    known = settings_of(base)
    for setting in given:
        if setting not in known:
            raise UsageError(f"{flag_of(setting)} is no setting of the preset {name}.")
    config = configure(given, base)
    if flags.start_from:
        return start_from(read_checkpoint(flags.start_from), config, device)
    return Trainer(config, device)


def _with_clip(config: TrainConfig, path: Path) -> TrainConfig:
    """Put a person's own clip into a preset of its scene."""
    if not config.scene.brings:
        raise UsageError("--clip is for presets of a person's own clip, as own-clip.")
    if importlib.util.find_spec("PIL") is None:
        raise UsageError("--clip needs Pillow: pip install pillow.")
    try:
        recording = read_clip(path)
    except OSError as error:
        raise UsageError(f"--clip {path}: {error.strerror}.") from error
    return replace(config, scene=replace(config.scene, recording=recording))


def _pull(
    trainer: Trainer,
    flags: argparse.Namespace,
    scalars: "SummaryWriter | None",
    interrupted: Callable[[], bool],
) -> None:
    """Train to the end of the run, or to Ctrl-C."""
    saved_at = time.monotonic()
    total = 1000  # the bar counts thousandths: a run may be bound by steps or by time
    # Where JSON lines come to the same terminal, the bar would stand between them.
    hidden = (flags.json and sys.stdout.isatty()) or trainer.rank > 0
    pieces, threads = trainer.pieces(), Threads()
    with contextlib.closing(pieces), contextlib.closing(ProgressBar(total, hidden=hidden)) as bar:
        for record in pieces:
            threads.adapt()
            if record is not None and trainer.rank == 0:
                if flags.json:
                    print_json(record_data(record))
                _log(scalars, record)
                bar.draw(min(total, int(total * trainer.progress)), _progress(trainer, record))
                if flags.out and time.monotonic() - saved_at > 60 * flags.save_every:
                    _save_on_the_way(trainer, flags, bar)
                    saved_at = time.monotonic()
            if trainer.any_process(interrupted()):
                return


def _save_on_the_way(trainer: Trainer, flags: argparse.Namespace, bar: ProgressBar) -> None:
    """Save the run so far; a disk that is full now may not be at the next interval."""
    try:
        save_checkpoint(trainer, flags.out / RUN_NAME)
    except CheckpointError as error:
        bar.say(f"convlstm: {error} Training goes on; the next try is in {flags.save_every:g} min.")


def _finish(trainer: Trainer, flags: argparse.Namespace) -> int:
    """Say how the run went, and save it."""
    if trainer.ended is None:
        if flags.out:
            _save(trainer, flags.out)
        saved = f"; saved to {flags.out / RUN_NAME}" if flags.out else ""
        print(f"Interrupted after step {trainer.step}{saved}.", file=sys.stderr)
        return INTERRUPTED
    if not flags.json:
        print(_summary(trainer))  # before anything is saved, in case the disk is full
    if flags.out:
        _save(trainer, flags.out)
        if missing := missing_for_pictures():
            print(f"convlstm: no pictures were drawn, which needs {missing}.", file=sys.stderr)
        else:
            write_files(_pictures(trainer), flags.out)
        if not flags.json:
            print(f"Saved to {flags.out}.")
    return 0


def _pictures(trainer: Trainer) -> dict[str, bytes]:
    """Draw the run, and what its network makes of an unseen sequence."""
    config, scene = trainer.config, trainer.config.scene
    clip = next(scene.test(config.context_frames, config.horizon, 1, seed=0))

    def predict(context: Tensor, horizon: int) -> Tensor:
        return trainer.predict(context.to(trainer.device), horizon)

    picture = make_picture("sequence 1", scene, clip, config.context_frames, predict)
    return picture_files(picture, trainer.records, scene.look, scene.measure)


def _save(trainer: Trainer, folder: Path) -> None:
    save_checkpoint(trainer, folder / RUN_NAME)
    save_network(trainer, folder / NETWORK_NAME)
    write_files({"losses.csv": losses_csv(trainer.records).encode()}, folder)


def _log(scalars: "SummaryWriter | None", record: StepRecord) -> None:
    if scalars is None:
        return
    for name in ("loss", "learning_rate", "horizon", "validation_loss"):
        value = getattr(record, name)
        if value is not None:
            scalars.add_scalar(name, value, record.step)
    if record.evaluation:
        for name, value in asdict(record.evaluation.model).items():
            scalars.add_scalar(f"validation/{name}", value, record.step)


def _progress(trainer: Trainer, record: StepRecord) -> str:
    left = record.seconds * (1 / trainer.progress - 1) if trainer.progress else 0.0
    best = f", best {trainer.best_loss:.5f}" if math.isfinite(trainer.best_loss) else ""
    return f"loss {record.loss:.5f}{best}, {_time(record.seconds)}, {_time(left)} left"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 180 else f"{seconds / 60:.0f} min"


def _summary(trainer: Trainer) -> str:
    """Say how a run went, in a few lines."""
    config, last = trainer.config, trainer.last
    # A diverged run went back to its best weights; its last evaluation is of others.
    evaluation = last.evaluation or trainer.evaluate()
    ends = {
        "goal": f"reached its goal, a validation MSE under {config.stop_below:g}",
        "finished": "finished all of its steps",
        "patience": "ended: the validation loss no longer fell",
        "diverged": "diverged: the last good weights were kept; try a lower learning rate",
    }
    lines = [
        f"{count_parameters(trainer.network):,} parameters, {last.step:,} of "
        f"{trainer.total_steps:,} steps of {config.batch_size} sequences in {last.seconds:.1f} s "
        f"on {trainer.device} in {trainer.precision}.",
        f"The run {ends[last.ended]}.",
        "",
        score_table(
            "frames", [("unseen", evaluation.model, evaluation.baselines)], config.scene.measure
        ),
    ]
    if evaluation.is_black:
        lines.append(black_warning(evaluation.brightest))
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
        gc.collect()  # a network that outlives its group aborts the interpreter's end, now and then
        dist.destroy_process_group()


def _scalars(folder: Path | None) -> "contextlib.AbstractContextManager[SummaryWriter | None]":
    """Open what takes the curves, where somebody wants them."""
    if folder is None:
        return contextlib.nullcontext()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder)
