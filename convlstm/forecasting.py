"""Training an encoder-forecaster on moving digits, as a generator of records.

Every technique is a setting, which works alone and together with the others. Axes: B batch, T time
(frames), H height (px), W width (px). Intensities in [0, 1].
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn

from convlstm.checks import (
    SettingError,
    check_choice,
    check_flag,
    check_integer,
    check_names,
    check_number,
    normalise,
)
from convlstm.digits import DigitsConfig, read_digits, sample_digits
from convlstm.forecaster import Forecaster, ForecasterConfig, build_forecaster, forecast
from convlstm.losses import FORECAST_LOSSES
from convlstm.optimizers import Optimizer, OptimizerName, Schedule, onecycle
from convlstm.training import MAX_SEED, Change, Clock, resolve_precision
from convlstm.video_metrics import VideoEvaluation, baseline_scores, frame_scores, mean_of

Targets = Literal["all", "future"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
End = Literal["finished", "patience", "diverged"]

CONTEXT_FRAMES = 10  # frames seen, as in the published tables
HORIZON = 10  # frames to predict, likewise
VALIDATION_SEQUENCES = 128
_VALIDATION_SEED = 2**31 - 1  # of the lower half, from which training draws nothing but weights
_DATA_STREAM = 2**31  # added to a run's seed for its sequences
_EVALUATED_AT_ONCE = 8  # sequences; a fraction of a second of work on a CPU
_NEARLY = 1e-6  # how near to 0 and 1 a prediction may come where its logit is asked for


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


_SCENE_NAMES = tuple(f.name for f in fields(DigitsConfig))
_MODEL_NAMES = tuple(f.name for f in fields(ForecasterConfig))
_RUN_NAMES = tuple(f.name for f in fields(ForecastConfig) if f.name not in ("scene", "model"))
FORECAST_NAMES = _SCENE_NAMES + _MODEL_NAMES + _RUN_NAMES


def forecast_settings(config: ForecastConfig) -> dict[str, object]:
    """Return a configuration as one flat mapping, as files and flags carry it."""
    nested = asdict(config)
    return {**nested.pop("scene"), **nested.pop("model"), **nested}


def forecast_config(settings: object, base: ForecastConfig | None = None) -> ForecastConfig:
    """Make a configuration from a flat mapping: the one way in for whatever arrives.

    Args:
        settings: names of FORECAST_NAMES and their values; what is missing comes from base.
        base: the configuration to start from; None means the defaults.

    Raises:
        SettingError: settings is no mapping, or a name or a value is refused.
    """
    settings = check_names(settings, FORECAST_NAMES)
    base = base or ForecastConfig()

    def part(names: tuple[str, ...]) -> dict[str, object]:
        return {name: value for name, value in settings.items() if name in names}

    return replace(
        base,
        scene=replace(base.scene, **part(_SCENE_NAMES)),
        model=replace(base.model, **part(_MODEL_NAMES)),
        **part(_RUN_NAMES),
    )


@dataclass(frozen=True)
class PastTraining:
    """What a model has been through, as its file tells.

    Attributes:
        steps: training steps.
        sequences: sequences learnt from, 0 or more.
        seconds: computing time, in s.
        device: "cpu", "cuda" or "mps".
    """

    steps: int
    sequences: int
    seconds: float
    device: str

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: a field is outside its range.
        """
        normalise(
            self,
            steps=check_integer("steps", self.steps, 0, 10_000_000),
            sequences=check_integer("sequences", self.sequences, 0, 10**11),
            seconds=check_number("seconds", self.seconds, 0, 10**9),
            device=check_choice("device", self.device, ("cpu", "cuda", "mps")),
        )


@dataclass(frozen=True)
class ForecastRecord:
    """What one training step did.

    Attributes:
        step: steps done, from 1.
        progress: share of the run that lay before this step, in [0, 1).
        horizon: frames that were predicted.
        loss: the loss that was minimised, in its own unit.
        mse: squared error of the predicted frames, summed over a frame's pixels.
        learning_rate: the rate of this step.
        seconds: computing time since the run began, in s.
        validation_loss: the same loss on the validation set, at the steps that have one.
        evaluation: scores on the validation set, likewise.
        ended: why the run ends with this step, or None.
    """

    step: int
    progress: float
    horizon: int
    loss: float
    mse: float
    learning_rate: float
    seconds: float
    validation_loss: float | None = None
    evaluation: VideoEvaluation | None = None
    ended: End | None = None


class ForecastTrainer:
    """The state of one run, moved on by pulling from `records`, or from `pieces`.

    In a process group (`torch.distributed`) each process takes its share of every batch, and all
    of them end up with the same weights.

    Args:
        config: the run.
        device: where it computes.
        weights: what the model starts with, of this configuration's names and shapes; None means
            weights drawn from the seed.

    Attributes:
        model: the forecaster as it is now.
        averaged: its averaged weights, or None where the run keeps none.
        earlier: the trainings that its first weights come from, oldest first.
        step: steps done.
        progress: share of the run that is done.
        last: the newest record, or None.
        history: the records since this trainer was made, the newest last.
        changes: settings changed on the way.
        best_loss: the least validation loss so far.
        best_weights: the weights that it was measured with.
    """

    def __init__(
        self,
        config: ForecastConfig,
        device: torch.device | str = "cpu",
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        self.config, self.device = config, torch.device(device)
        self.precision = _resolve(config.precision, self.device)
        self.rank, self.processes = 0, 1
        if dist.is_initialized():
            self.rank, self.processes = dist.get_rank(), dist.get_world_size()
        if config.batch_size % self.processes:
            raise SettingError("batch_size", config.batch_size, "multiple", divisor=self.processes)
        drawn = torch.Generator().manual_seed(config.seed)
        self.model = build_forecaster(config.model, drawn, self.device)
        if weights is not None:
            self.model.load_state_dict(weights)
        self.earlier: tuple[PastTraining, ...] = ()
        self.optimizer = Optimizer(config.optimizer, self.model, config.weight_decay)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "float16")
        self.generator = torch.Generator(self.device).manual_seed(config.seed + _DATA_STREAM)
        self.averaged = self._copy_weights() if config.ema else None
        self.step, self.progress = 0, 0.0
        self.last: ForecastRecord | None = None
        self.history: list[ForecastRecord] = []
        self.changes: list[Change] = []
        self.best_loss, self.best_weights = math.inf, self._copy_weights()
        self.evaluations_since_best = 0
        self._digits = read_digits("train").to(self.device)
        self._validation: _Validation | None = None
        self._parallel: nn.Module = self.model
        if self.processes > 1:
            self._parallel = nn.parallel.DistributedDataParallel(self.model)

    @property
    def seconds(self) -> float:
        """Computing time so far, in s."""
        return self.last.seconds if self.last else 0.0

    @property
    def ended(self) -> End | None:
        """Why the run is over, or None."""
        return self.last.ended if self.last else None

    @property
    def trainings(self) -> tuple[PastTraining, ...]:
        """What its weights have been through, this run's part last."""
        sequences = self.step * self.config.batch_size
        this = PastTraining(self.step, sequences, self.seconds, self.device.type)
        return (*self.earlier, this)

    def records(self) -> Iterator[ForecastRecord]:
        """Train to the end of the run, one record a step."""
        return (record for record in self.pieces() if record is not None)

    def pieces(self) -> Iterator[ForecastRecord | None]:
        """Train to the end of the run, cut fine.

        Yields:
            None between the pieces of an evaluation; a record after each step. Closed in between,
            a new call goes on there.
        """
        while self.ended is None:
            if not self._evaluation_is_due():
                self.last = self._train_step(Clock(self.seconds))
                self.progress = self._progress_now()
            if self._evaluation_is_due():
                yield from self._evaluate_step(Clock(self.seconds))
            self.history.append(self.last)
            yield self.last

    def change(self, **settings: float) -> None:
        """Change `speed` or `learning_rate` between two steps; the run goes on with it.

        Raises:
            SettingError: another setting, or a value that is refused.
        """
        check_names(settings, ("speed", "learning_rate"))
        old = forecast_settings(self.config)
        self.config = forecast_config(settings, self.config)
        new = forecast_settings(self.config)
        for name in settings:
            if new[name] != old[name]:
                self.changes.append(Change(self.step, name, old[name], new[name]))
        if new["speed"] != old["speed"]:
            self._validation = None
            self.best_loss = math.inf  # losses of another scene do not compare

    def predict(self, context: Tensor, horizon: int) -> Tensor:
        """Continue sequences with the weights as they are now, in the run's precision.

        Args:
            context: frames seen, (B, 10, 1, H, W), intensities in [0, 1].
            horizon: number of frames to predict.

        Returns:
            (B, horizon, 1, H, W), in [0, 1], float32.
        """
        self.model.eval()
        with self._autocast():
            return forecast(self.model, context, horizon, augmented=self.config.augmented)

    def any_process(self, flag: bool) -> bool:
        """Whether a flag is set in any of the processes; each of them must ask."""
        if self.processes == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags.item())

    def evaluation_model(self) -> Forecaster:
        """Return a forecaster with the weights that this run would be judged by now."""
        model = build_forecaster(self.config.model, torch.Generator(), self.device)
        model.load_state_dict(self.averaged or self.model.state_dict())
        return model.eval()

    def _train_step(self, clock: Clock) -> ForecastRecord:
        config = self.config
        progress = self.progress
        horizon = horizon_at(config, progress)
        rate = config.learning_rate
        if config.schedule == "onecycle":
            rate *= onecycle(progress, config.warm_up)
        frames = sample_digits(
            config.scene, self._digits, config.batch_size, CONTEXT_FRAMES + horizon, self.generator
        )
        use_truth = self._draw_use_of_truth(progress, horizon)
        mine = slice(self.rank, None, self.processes)
        self.model.train()
        loss, mse = self._loss(frames[mine], None if use_truth is None else use_truth[mine])
        self.scaler.scale(loss).backward()
        sums = torch.stack([loss.detach().float(), mse])
        if self.processes > 1:
            dist.all_reduce(sums)
            sums /= self.processes
        mean_loss, mean_mse = sums.tolist()
        is_finite = self._update(rate) and math.isfinite(mean_loss)
        for parameter in self.model.parameters():
            parameter.grad = None
        self.step += 1
        return ForecastRecord(
            self.step,
            progress,
            horizon,
            mean_loss,
            mean_mse,
            rate,
            clock.seconds(),
            ended=None if is_finite else "diverged",
        )

    def _update(self, rate: float) -> bool:
        """Change the weights by their gradients; return whether those were finite."""
        self.optimizer.take_gradients()
        for part in self.optimizer.parts:
            self.scaler.unscale_(part)
        limit = self.config.gradient_clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if norm.isfinite():
            self.optimizer.step(rate)
            self._average()
        self.scaler.update()
        # Under float16 an overflow is no end: the next step scales the loss by less.
        return bool(norm.isfinite()) or self.scaler.is_enabled()

    @torch.no_grad()
    def _average(self) -> None:
        if self.averaged is None:
            return
        # Early on the average follows closely, or it would remember the first weights.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self.averaged[name].lerp_(value, 1 - decay)

    def _loss(self, frames: Tensor, use_truth: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the loss, and the squared error of the future frames."""
        context, future = frames[:, :CONTEXT_FRAMES], frames[:, CONTEXT_FRAMES:]
        with self._autocast():
            values = self._parallel(context, future.shape[1], future, use_truth)
        horizon = future.shape[1]
        count = horizon if self.config.targets == "future" else values.shape[1]
        values, truth = values[:, -count:].float(), frames[:, -count:]
        predicted = values.sigmoid()
        errors = (predicted[:, -horizon:].detach() - future).square()
        loss = FORECAST_LOSSES[self.config.loss](values, predicted, truth)
        return loss, errors.sum((-1, -2)).mean()

    def _draw_use_of_truth(self, progress: float, horizon: int) -> Tensor | None:
        share = self.config.scheduled_sampling
        if progress >= share:
            return None
        shape = (self.config.batch_size, horizon)
        drawn = torch.rand(shape, generator=self.generator, device=self.device)
        return drawn < 1 - progress / share

    def _evaluation_is_due(self) -> bool:
        if self.last is None or self.last.ended or self.last.validation_loss is not None:
            return False
        return self.step % self.config.evaluate_every == 0 or self.progress >= 1

    def _evaluate_step(self, clock: Clock) -> Iterator[None]:
        loss, evaluation = yield from self._evaluation_pieces(clock)
        loss = self._of_first(loss)
        ended: End | None = "finished" if self.progress >= 1 else None
        if loss < self.best_loss:
            self.best_loss, self.evaluations_since_best = loss, 0
            self.best_weights = self._copy_weights(self.averaged)
        else:
            self.evaluations_since_best += 1
            if self.evaluations_since_best == self.config.patience:
                ended = ended or "patience"
        self.last = replace(
            self.last,
            seconds=clock.seconds(),
            validation_loss=loss,
            evaluation=evaluation,
            ended=ended,
        )

    def _evaluation_pieces(
        self, clock: Clock
    ) -> Generator[None, None, tuple[float, VideoEvaluation]]:
        """Find the loss and the scores on the validation set, at the full horizon."""
        if self._validation is None:
            self._validation = _Validation(self.config.scene, self.device)
        validation = self._validation
        model, loss, scores = self.evaluation_model(), 0.0, []
        for frames in validation.sequences.split(_EVALUATED_AT_ONCE):
            context, truth = frames[:, :CONTEXT_FRAMES], frames[:, CONTEXT_FRAMES:]
            with self._autocast():
                predicted = forecast(model, context, HORIZON, augmented=self.config.augmented)
            criterion = FORECAST_LOSSES[self.config.loss]
            share = len(frames) / len(validation.sequences)
            loss += criterion(predicted.logit(_NEARLY), predicted, truth).item() * share
            scores.append(frame_scores(predicted, truth))
            yield from clock.interruption()
        return loss, VideoEvaluation(mean_of(torch.cat(scores)), *validation.baselines)

    def _progress_now(self) -> float:
        """How much of the run is done, in [0, 1] and over; the same in all processes."""
        if not self.config.max_minutes:
            return self.step / self.config.steps
        return self._of_first(self.seconds / (60 * self.config.max_minutes))

    def _of_first(self, value: float) -> float:
        """Return the first process's value: clocks differ, and so may sums on a GPU."""
        values = [value]
        if self.processes > 1:
            dist.broadcast_object_list(values)
        return values[0]

    def _copy_weights(self, weights: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        weights = weights or self.model.state_dict()
        return {name: value.detach().clone() for name, value in weights.items()}

    def _autocast(self) -> torch.autocast:
        enabled = self.precision != "float32"
        dtype = getattr(torch, self.precision) if enabled else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=enabled)


class _Validation:
    """Sequences of digits that no training sees, and what trivial predictors score on them."""

    def __init__(self, scene: DigitsConfig, device: torch.device) -> None:
        self.sequences = sample_digits(
            replace(scene, flips=False),
            read_digits("validation").to(device),
            VALIDATION_SEQUENCES,
            CONTEXT_FRAMES + HORIZON,
            torch.Generator(device).manual_seed(_VALIDATION_SEED),
        )
        context, truth = self.sequences.split((CONTEXT_FRAMES, HORIZON), 1)
        self.baselines = baseline_scores(context, truth)


def horizon_at(config: ForecastConfig, progress: float) -> int:
    """Return how many frames are predicted at a point of a run, 1 to HORIZON."""
    if progress >= config.curriculum:
        return HORIZON
    return 1 + int(HORIZON * progress / config.curriculum)


def _resolve(precision: Precision, device: torch.device) -> str:
    return precision if precision == "float16" else resolve_precision(precision, device)
