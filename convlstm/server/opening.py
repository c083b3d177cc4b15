"""Trainers for what a server opens: shipped files, uploads, and runs that go on after a death."""

import functools
from pathlib import Path

import torch

from convlstm.checks import check_choice
from convlstm.files.checkpoint import resume, start_from
from convlstm.files.reading import Checkpoint, read_checkpoint
from convlstm.files.shipped import shipped_file
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server.facts import Facts
from convlstm.server.lessons import Lesson
from convlstm.server.run import ACTIVE, OVER, Run
from convlstm.server.shelf import Note
from convlstm.server.study import answered
from convlstm.settings import configure
from convlstm.training.config import TrainConfig
from convlstm.training.presets import default_config
from convlstm.training.trainer import Trainer


@functools.cache  # a few MiB that never change, asked for by every new page
def read_shipped(name: str) -> Checkpoint:
    """Read a file of `checkpoints/`: a scene's or a lesson's `shipped`.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    return read_checkpoint(shipped_file(name))


def trainer_of(checkpoint: Checkpoint, device: torch.device, *, anywhere: bool = False) -> Trainer:
    """Make the trainer of a file's run, or one that shows a file's network.

    Args:
        checkpoint: the file.
        device: where it computes.
        anywhere: whether a run of another kind of device may go on there.
    """
    if checkpoint.run is None:
        return start_from(checkpoint, checkpoint.config, device)
    return resume(checkpoint, device, anywhere=anywhere)


def new_trainer(config: TrainConfig, device: torch.device, lesson: Lesson | None) -> Trainer:
    """Make what begins to train: with fresh weights, or in some lessons with the shipped ones.

    Raises:
        CheckpointError: those are of another network, or their file is missing.
    """
    if lesson and lesson.goes_on:
        return start_from(read_shipped(lesson.shipped), config, device)
    return Trainer(config, device)


def work_of(checkpoint: Checkpoint) -> TrainConfig:
    """Return what a file makes a server compute: a run to go on with, or pictures alone."""
    if checkpoint.run is not None and checkpoint.progress["ended"] is None:
        return checkpoint.config
    pictures = {"epochs": 1, "batches_per_epoch": 1, "batch_size": 1, "max_minutes": 0}
    return configure(pictures, checkpoint.config)


def restored(note: Note, content: Path | bytes | None, device: torch.device) -> Run:
    """Make a run anew that was kept, as it was when it was kept.

    Args:
        note: what it was doing; one that trained is to train again.
        content: its checkpoint, where there is one; it may be of another kind of device.
        device: where it computes.

    Raises:
        CheckpointError: its content, or the shipped file, is missing or damaged.
        SettingError: a note's value is refused.
    """
    check_choice("scene", note.scene, CATALOGUE)
    facts = Facts.of(note.lesson) if note.lesson else None
    if content is not None:
        trainer = trainer_of(read_checkpoint(content), device, anywhere=True)
    elif note.shipped:
        shown = facts.lesson if facts else CATALOGUE[note.scene]
        trainer = trainer_of(read_shipped(shown.shipped), device)
    else:
        trainer = Trainer(configure(note.settings, default_config(note.scene)), device)
    run = Run(trainer, shipped=note.shipped, run_id=note.id, facts=facts)
    run.chosen, run.sample = note.chosen, min(note.sample, run.view.samples - 1)
    run.resumed = tuple(step for step in note.resumed if step <= trainer.step)
    if note.study:
        run.study = answered(note.study)
    if note.state in (*ACTIVE, "paused", *OVER) and not trainer.ended:
        run.state, run.reason = note.state, note.reason
    if note.state in ACTIVE and not trainer.ended:
        run.resumed = (*run.resumed, trainer.step)
    return run
