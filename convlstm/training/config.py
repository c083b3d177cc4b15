"""What decides a training, in one checked and frozen value."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from convlstm.checks import SettingError
from convlstm.networks.config import NetworkConfig
from convlstm.scenes.scene import Scene
from convlstm.settings import MAX_SEED, Choice, Flag, Integer, Number, Settings, setting
from convlstm.training.losses import LOSSES
from convlstm.training.optimizers import OptimizerName, Schedule

Targets = Literal["all", "future"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

MAX_STEPS = 1_000_000  # of a run: its history is kept
CHANGEABLE = ("speed", "learning_rate")  # between two steps of a run, where the scene has them


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Everything that decides a run: a scene, a network, and how it learns.

    Attributes:
        scene: what the sequences show.
        network: what learns them.
    """

    scene: Scene
    network: NetworkConfig = field(default_factory=NetworkConfig)
    epochs: int = setting(
        260,
        Integer(1, MAX_STEPS, shown_high=100_000, scale="log"),
        "passes; sequences are drawn fresh, so an epoch is only a count",
        first=True,
    )
    learning_rate: float = setting(
        0.02,
        Number(1e-6, 1, shown_low=1e-5, scale="log"),
        "the optimiser's rate; the largest one under onecycle",
        first=True,
    )
    loss: str = setting(
        "bce",
        Choice(tuple(LOSSES)),
        "what training makes small; mse+ssim is 0.7 MSE + 0.3 (1 - SSIM); those with bce need the "
        "sigmoid or the transport output",
    )
    ssim_weight: float = setting(
        0.1,
        Number(0, 100, shown_high=2, step=0.05),
        "what 1 - SSIM counts beside the cross-entropy in bce+ssim",
    )
    batch_size: int = setting(
        4, Integer(1, 1024, shown_high=32), "sequences in a step, over all processes"
    )
    batches_per_epoch: int = setting(
        1, Integer(1, 10_000, shown_high=100, scale="log"), "training steps in an epoch"
    )
    context_frames: int = setting(
        9, Integer(1, 20), "frames seen before the first that is predicted"
    )
    horizon: int = setting(1, Integer(1, 20), "frames that training and scores predict at most")
    targets: Targets = setting(
        "all",
        Choice(get_args(Targets)),
        "all next frames, or only the future ones after the context",
    )
    optimizer: OptimizerName = setting(
        "adamw",
        Choice(get_args(OptimizerName)),
        "adamw, or muon for the ConvLSTM kernels (and adamw for the rest)",
    )
    schedule: Schedule = setting(
        "onecycle",
        Choice(get_args(Schedule)),
        "of the learning rate: onecycle (up, then down to almost 0) or constant",
    )
    warm_up: float = setting(
        0.15,
        Number(0.01, 0.9, shown_low=0.05, step=0.05),
        "share of the run over which onecycle rises",
    )
    weight_decay: float = setting(0.0, Number(0, 1, typed=True, step=0.01), "of kernels")
    gradient_clip: float = setting(
        1.0,
        Number(0, 1000, shown_high=10, step=0.5),
        "largest norm of the gradient; 0 leaves it alone",
    )
    curriculum: float = setting(
        0.0, Number(0, 1), "share of the run over which the horizon grows from 1 frame to all"
    )
    scheduled_sampling: float = setting(
        0.0,
        Number(0, 1),
        "share of the run over which the chance to read the true frame instead of the predicted "
        "one falls from 1 to 0",
    )
    ema: float = setting(
        0.0,
        Number(0, 0.99999, typed=True, step=0.001),
        "decay of the averaged weights that are shown, scored and saved; 0 for none",
    )
    augmented: bool = setting(
        False, Flag(), "whether predictions are averaged over mirrored sequences"
    )
    precision: Precision = setting(
        "auto",
        Choice(get_args(Precision)),
        "float32, bfloat16, float16 (on a GPU, with scaled losses), or auto: bfloat16 where it is "
        "fast",
    )
    stop_below: float = setting(
        0.0,
        Number(0, 1, typed=True, step=0.0001),
        "mean squared error per pixel on the validation set that ends the run; 0 never does",
    )
    patience: int = setting(
        0,
        Integer(0, 1000, typed=True),
        "evaluations without a better validation loss that end the run; 0 for no end",
    )
    max_minutes: float = setting(
        0.0,
        Number(0, 100_000, typed=True, step=1),
        "computing time that the schedules fit instead of the epochs; 0 leaves it to those",
    )
    evaluate_every: int = setting(
        30,
        Integer(1, MAX_STEPS, shown_high=1000, scale="log"),
        "steps between evaluations on the validation set",
    )
    seed: int = setting(0, Integer(0, MAX_SEED, typed=True), "of the weights and the sequences")

    def check_together(self) -> None:
        """Refuse what does not go together, or could not act."""
        network = self.network
        if self.total_steps > MAX_STEPS:
            high = MAX_STEPS // self.epochs
            raise SettingError("batches_per_epoch", self.batches_per_epoch, "steps", high=high)
        if self.horizon > self.scene.longest_horizon:
            high = self.scene.longest_horizon
            raise SettingError("horizon", self.horizon, "integer", low=1, high=high)
        longest = self.scene.longest_sequence
        if longest is not None and self.context_frames + self.horizon > longest:
            high = longest - self.horizon
            raise SettingError("context_frames", self.context_frames, "integer", low=1, high=high)
        if self.loss.startswith("bce") and not network.gives_logits:
            raise SettingError("loss", self.loss, "sigmoid")
        if self.targets == "all" and not network.predicts_next_frames:
            raise SettingError("targets", "all", "needs next frames")
        for name in ("curriculum", "scheduled_sampling"):
            if getattr(self, name) and self.horizon == 1:
                raise SettingError(name, getattr(self, name), "needs horizon")
        if self.scheduled_sampling and network.rollout == "states":
            raise SettingError("scheduled_sampling", self.scheduled_sampling, "needs feedback")

    @property
    def total_steps(self) -> int:
        """Training steps of the whole run, where its time does not decide."""
        return self.epochs * self.batches_per_epoch

    def horizon_at(self, progress: float) -> int:
        """Return how many frames are predicted at a point of a run, 1 to horizon."""
        if progress >= self.curriculum:
            return self.horizon
        return 1 + int(self.horizon * progress / self.curriculum)
