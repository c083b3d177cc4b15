"""The two systems of the playground, each as a server of runs needs it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from convlstm.checkpoint import checkpoint_bytes, read_checkpoint, resume
from convlstm.costs import Cost, estimate
from convlstm.forecast_checkpoint import (
    FORECAST_FORMAT,
    model_bytes,
    read_forecaster,
    resume_forecaster,
    run_bytes,
    start_from,
)
from convlstm.forecast_config import ForecastConfig
from convlstm.forecast_costs import estimate_forecast
from convlstm.forecast_view import ForecastView
from convlstm.forecasting import ForecastTrainer
from convlstm.presets import LIVE_PRESETS, PRESETS, Preset
from convlstm.safe_files import file_format
from convlstm.settings import configure
from convlstm.squares_view import SquaresView
from convlstm.train_config import TrainConfig
from convlstm.training import Trainer

SystemName = Literal["squares", "digits"]
Config = TrainConfig | ForecastConfig
AnyTrainer = Trainer | ForecastTrainer
View = SquaresView | ForecastView


@dataclass(frozen=True)
class System:
    """One of the systems.

    Attributes:
        name: "squares" (the next frame of moving squares) or "digits" (ten frames of Moving MNIST).
        presets: its settings worth a button, by name; the first is what a page begins with.
        estimate: what a configuration costs, under a precision and a slowdown.
        make_trainer: begins a run on a device.
        make_view: chooses what its viewers look at.
        save: makes the content of a run's file, or of a model's where nothing was trained yet.
        advised: settings whose lower values are advised where a cost is over a limit, by cost.
    """

    name: SystemName
    presets: dict[str, Preset]
    estimate: Callable[[Config, str, float], Cost]
    make_trainer: Callable[[Config, torch.device], AnyTrainer]
    make_view: Callable[[AnyTrainer], View]
    save: Callable[[AnyTrainer], bytes]
    advised: dict[str, tuple[str, ...]]

    @property
    def default(self) -> Config:
        """What a page begins with."""
        return next(iter(self.presets.values())).config


def _forecaster_bytes(trainer: ForecastTrainer) -> bytes:
    return run_bytes(trainer) if trainer.step else model_bytes(trainer)


SQUARES = System(
    name="squares",
    presets=PRESETS,
    estimate=estimate,
    make_trainer=Trainer,
    make_view=SquaresView,
    save=checkpoint_bytes,
    advised={
        "piece_seconds": ("canvas", "hidden_channels", "kernel_size"),
        "memory_mib": ("canvas", "hidden_channels"),
        "run_seconds": ("epochs", "batches_per_epoch"),
    },
)
DIGITS = System(
    name="digits",
    presets=LIVE_PRESETS,
    estimate=estimate_forecast,
    make_trainer=ForecastTrainer,
    make_view=ForecastView,
    save=_forecaster_bytes,
    advised={
        "piece_seconds": ("batch_size", "hidden_channels", "canvas"),
        "memory_mib": ("batch_size", "hidden_channels", "canvas"),
        "run_seconds": ("max_minutes", "steps"),
    },
)
SYSTEMS: dict[str, System] = {system.name: system for system in (SQUARES, DIGITS)}


@dataclass(frozen=True)
class OpenedFile:
    """A checkpoint, read and checked.

    Attributes:
        config: the run that it comes from.
        is_model: whether it holds a model alone, and no run to go on with.
        work: what it makes a server compute: the run, or no more than a forecaster's pictures.
        make_trainer: makes the run's trainer on a device, or one whose model is the file's.
    """

    config: Config
    is_model: bool
    work: Config
    make_trainer: Callable[[torch.device], AnyTrainer]

    @property
    def system(self) -> System:
        """The system that it belongs to."""
        return system_of(self.config)


def open_file(path: Path) -> OpenedFile:
    """Read a checkpoint of either system.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    if file_format(path) != FORECAST_FORMAT:
        checkpoint = read_checkpoint(path)
        config = checkpoint.config
        return OpenedFile(config, False, config, lambda device: resume(checkpoint, device))
    forecaster = read_forecaster(path)
    config = forecaster.config
    pictures = configure({"steps": 1, "batch_size": 1, "max_minutes": 0}, config)
    if forecaster.run is None:
        return OpenedFile(
            config, True, pictures, lambda device: start_from(forecaster, config, device)
        )
    work = pictures if forecaster.progress["ended"] else config
    return OpenedFile(config, False, work, lambda device: resume_forecaster(forecaster, device))


def system_of(config: Config) -> System:
    """Return the system that a configuration belongs to."""
    return SQUARES if isinstance(config, TrainConfig) else DIGITS
