"""Training an encoder-forecaster on moving digits, as a generator of records.

Every technique is a setting, which works alone and together with the others. Axes: B batch, T time
(frames), H height (px), W width (px). Intensities in [0, 1].
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from convlstm.checks import (
    SettingError,
    check_choice,
    check_integer,
    check_names,
    check_number,
    normalise,
)
from convlstm.digits import read_digits, sample_digits
from convlstm.forecast_config import (
    CONTEXT_FRAMES,
    HORIZON,
    ForecastConfig,
    horizon_at,
)
from convlstm.forecast_validation import Validation
from convlstm.forecaster import Forecaster, build_forecaster, forecast
from convlstm.losses import FORECAST_LOSSES
from convlstm.optimizers import Optimizer, onecycle
from convlstm.pieces import Clock
from convlstm.settings import CHANGEABLE, Change, configure, differences
from convlstm.training import resolve_precision
from convlstm.video_metrics import VideoEvaluation

End = Literal["finished", "patience", "diverged"]

_DATA_STREAM = 2**31  # added to a run's seed for its sequences


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


@dataclass(frozen=True, slots=True)  # a run keeps them all
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
        progress: share of the run that is done.
        history: a record for each step done.
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
        self.precision = resolve_precision(config.precision, self.device)
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
        self.progress = 0.0
        self.history: list[ForecastRecord] = []
        self.changes: list[Change] = []
        self.best_loss, self.best_weights = math.inf, self._copy_weights()
        self.evaluations_since_best = 0
        self._digits = read_digits("train").to(self.device)
        self._validation: Validation | None = None
        self._parallel: nn.Module = self.model
        if self.processes > 1:
            self._parallel = nn.parallel.DistributedDataParallel(self.model)

    @property
    def step(self) -> int:
        """Training steps done."""
        return len(self.history)

    @property
    def last(self) -> ForecastRecord | None:
        """The newest record, or None."""
        return self.history[-1] if self.history else None

    @property
    def evaluation_is_due(self) -> bool:
        """Whether the last step's evaluation is still to be done."""
        if self.last is None or self.last.ended or self.last.validation_loss is not None:
            return False
        return self.step % self.config.evaluate_every == 0 or self.progress >= 1

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
        """Train to the end of the run, its evaluations cut fine.

        Yields:
            None between the pieces of an evaluation; a record after each step. Closed in between,
            a new call goes on there.
        """
        while self.ended is None:
            if not self.evaluation_is_due:
                self.history.append(self._train_step(Clock(self.seconds)))
                self.progress = self._progress_now()
            if self.evaluation_is_due:
                yield from self._evaluate_step(Clock(self.seconds))
            yield self.last

    def change(self, **settings: float) -> None:
        """Change `speed` or `learning_rate` between two steps; the run goes on with it.

        Raises:
            SettingError: another setting, or a value that is refused.
        """
        check_names(settings, CHANGEABLE)
        old, self.config = self.config, configure(settings, self.config)
        for name, values in differences(old, self.config).items():
            self.changes.append(Change(self.step, name, *values))
        if self.config.scene != old.scene:
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
        return ForecastRecord(
            self.step + 1,
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
        self.history[-1] = replace(
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
            self._validation = Validation(self.config.scene, self.device)
        model = self.evaluation_model()

        def predict(context: Tensor) -> Tensor:
            with self._autocast():
                return forecast(model, context, HORIZON, augmented=self.config.augmented)

        return self._validation.score(predict, FORECAST_LOSSES[self.config.loss], clock)

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
