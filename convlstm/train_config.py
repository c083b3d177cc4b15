"""What decides a training of a next-frame predictor, in one checked and frozen value."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from convlstm.checks import SettingError, check_choice, check_integer, check_number, normalise
from convlstm.data import SquaresConfig
from convlstm.losses import LOSSES
from convlstm.optimizers import Schedule
from convlstm.predictor import ModelConfig
from convlstm.settings import MAX_SEED, configure, settings_of

Targets = Literal["all", "last"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run. The defaults are the preset "Quick start".

    Attributes:
        scene: what the sequences show.
        model: what learns them.
        epochs: passes, 1 to 5000; sequences are drawn fresh, so an epoch is only a count.
        batches_per_epoch: training steps in an epoch, 1 to 100.
        batch_size: sequences in a step, 1 to 32.
        learning_rate: Adam's rate, 1e-5 to 1; the largest one under "onecycle".
        schedule: "onecycle" (up over the first 15 % of the steps, then down to 0) or "constant".
        loss: "mse", "l1", "mse+ssim", or "bce" (needs the sigmoid output).
        targets: "all" next frames (2 to 10), or only the "last" as in the article.
        gradient_clip: largest norm of the gradient, 0 to 100; 0 leaves it alone.
        precision: "float32", "bfloat16" (autocast), or "auto": bfloat16 where it is fast.
        seed: of the weights and the sequences, 0 to 2**31 - 1.
        stop_below: held-out MSE that ends the run, 0 to 1; 0 never does.
        evaluate_every: steps between evaluations on the held-out set, 1 to 1000.
    """

    scene: SquaresConfig = field(default_factory=SquaresConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    epochs: int = 260
    batches_per_epoch: int = 1
    batch_size: int = 4
    learning_rate: float = 0.02
    schedule: Schedule = "onecycle"
    loss: str = "bce"
    targets: Targets = "all"
    gradient_clip: float = 1.0
    precision: Precision = "auto"
    seed: int = 0
    stop_below: float = 0.0
    evaluate_every: int = 30

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: a field is outside its range.
        """
        normalise(
            self,
            epochs=check_integer("epochs", self.epochs, 1, 5000),
            batches_per_epoch=check_integer("batches_per_epoch", self.batches_per_epoch, 1, 100),
            batch_size=check_integer("batch_size", self.batch_size, 1, 32),
            learning_rate=check_number("learning_rate", self.learning_rate, 1e-5, 1),
            schedule=check_choice("schedule", self.schedule, get_args(Schedule)),
            loss=check_choice("loss", self.loss, LOSSES),
            targets=check_choice("targets", self.targets, get_args(Targets)),
            gradient_clip=check_number("gradient_clip", self.gradient_clip, 0, 100),
            precision=check_choice("precision", self.precision, get_args(Precision)),
            seed=check_integer("seed", self.seed, 0, MAX_SEED),
            stop_below=check_number("stop_below", self.stop_below, 0, 1),
            evaluate_every=check_integer("evaluate_every", self.evaluate_every, 1, 1000),
        )
        if self.loss == "bce" and self.model.output != "sigmoid":
            raise SettingError("loss", "bce", "sigmoid")

    @property
    def total_steps(self) -> int:
        """Training steps of the whole run."""
        return self.epochs * self.batches_per_epoch


TRAIN_NAMES = tuple(settings_of(TrainConfig()))


def train_config(settings: object, base: TrainConfig | None = None) -> TrainConfig:
    """Make a configuration of settings (names of TRAIN_NAMES); base None means the defaults.

    Raises:
        SettingError: settings is no mapping, or a name or a value is refused.
    """
    return configure(settings, base or TrainConfig())
