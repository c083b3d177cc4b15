"""What decides a training of a forecaster, in one checked and frozen value."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from convlstm.checks import (
    SettingError,
    check_choice,
    check_flag,
    check_integer,
    check_number,
    normalise,
)
from convlstm.digits import DigitsConfig
from convlstm.forecaster import ForecasterConfig
from convlstm.losses import FORECAST_LOSSES
from convlstm.optimizers import OptimizerName, Schedule
from convlstm.settings import MAX_SEED, configure, settings_of

Targets = Literal["all", "future"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

CONTEXT_FRAMES = 10  # frames seen, as in the published tables
HORIZON = 10  # frames to predict, likewise


@dataclass(frozen=True)
class ForecastConfig:
    """Everything that decides a run. The defaults are the preset "moving-mnist-compact".

    Attributes:
        scene: what the sequences show.
        model: what learns them.
        steps: training steps, 1 to 1,000,000.
        max_minutes: computing time that the schedules fit instead of the steps, 0 to 100,000; 0
            leaves it to the steps.
        batch_size: sequences in a step, 1 to 1024, over all processes.
        optimizer: "adamw", or "muon" for the ConvLSTM kernels (and AdamW for the rest).
        learning_rate: the rate, the largest one under "onecycle", 1e-6 to 1.
        schedule: "onecycle" or "constant".
        warm_up: share of the run over which "onecycle" rises, 0.01 to 0.9.
        weight_decay: of kernels, 0 to 1.
        loss: "mse", "l1", "l1+mse", "bce", "ssim", "mse+ssim" (0.7 MSE + 0.3 (1 - SSIM)) or
            "bce+ssim".
        targets: "all" next frames, or only the "future" ones after the context.
        gradient_clip: largest norm of the gradient, 0 to 1000; 0 leaves it alone.
        precision: "float32", "bfloat16", "float16" (on a GPU, with scaled losses), or "auto".
        curriculum: share of the run over which the horizon grows from 1 to 10 frames, 0 to 1.
        scheduled_sampling: share of the run over which the chance to read the true frame instead of
            the predicted one falls from 1 to 0, 0 to 1.
        ema: decay of the averaged weights that are evaluated and saved, 0 to 0.99999; 0 for none.
        patience: evaluations without a better validation loss that end the run, 0 for no end.
        augmented: whether evaluations average the predictions of mirrored sequences.
        seed: of the weights and the sequences, 0 to 2**31 - 1.
        evaluate_every: steps between evaluations on the validation set, 1 to 1,000,000.
    """

    scene: DigitsConfig = field(default_factory=DigitsConfig)
    model: ForecasterConfig = field(default_factory=ForecasterConfig)
    steps: int = 30_000
    max_minutes: float = 0.0
    batch_size: int = 4
    optimizer: OptimizerName = "muon"
    learning_rate: float = 6e-3
    schedule: Schedule = "onecycle"
    warm_up: float = 0.15
    weight_decay: float = 0.1
    loss: str = "bce+ssim"
    targets: Targets = "all"
    gradient_clip: float = 1.0
    precision: Precision = "auto"
    curriculum: float = 0.4
    scheduled_sampling: float = 0.0
    ema: float = 0.0
    patience: int = 0
    augmented: bool = False
    seed: int = 0
    evaluate_every: int = 500

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: a field is outside its range, or two do not go together.
        """
        normalise(
            self,
            steps=check_integer("steps", self.steps, 1, 1_000_000),
            max_minutes=check_number("max_minutes", self.max_minutes, 0, 100_000),
            batch_size=check_integer("batch_size", self.batch_size, 1, 1024),
            optimizer=check_choice("optimizer", self.optimizer, get_args(OptimizerName)),
            learning_rate=check_number("learning_rate", self.learning_rate, 1e-6, 1),
            schedule=check_choice("schedule", self.schedule, get_args(Schedule)),
            warm_up=check_number("warm_up", self.warm_up, 0.01, 0.9),
            weight_decay=check_number("weight_decay", self.weight_decay, 0, 1),
            loss=check_choice("loss", self.loss, FORECAST_LOSSES),
            targets=check_choice("targets", self.targets, get_args(Targets)),
            gradient_clip=check_number("gradient_clip", self.gradient_clip, 0, 1000),
            precision=check_choice("precision", self.precision, get_args(Precision)),
            curriculum=check_number("curriculum", self.curriculum, 0, 1),
            scheduled_sampling=check_number("scheduled_sampling", self.scheduled_sampling, 0, 1),
            ema=check_number("ema", self.ema, 0, 0.99999),
            patience=check_integer("patience", self.patience, 0, 1000),
            augmented=check_flag("augmented", self.augmented),
            seed=check_integer("seed", self.seed, 0, MAX_SEED),
            evaluate_every=check_integer("evaluate_every", self.evaluate_every, 1, 1_000_000),
        )
        if self.scene.canvas % self.model.divisor:
            raise SettingError("canvas", self.scene.canvas, "multiple", divisor=self.model.divisor)


FORECAST_NAMES = tuple(settings_of(ForecastConfig()))


def forecast_config(settings: object, base: ForecastConfig | None = None) -> ForecastConfig:
    """Make a configuration of settings (names of FORECAST_NAMES); base None means the defaults.

    Raises:
        SettingError: settings is no mapping, or a name or a value is refused.
    """
    return configure(settings, base or ForecastConfig())


def horizon_at(config: ForecastConfig, progress: float) -> int:
    """Return how many frames are predicted at a point of a run, 1 to HORIZON."""
    if progress >= config.curriculum:
        return HORIZON
    return 1 + int(HORIZON * progress / config.curriculum)
