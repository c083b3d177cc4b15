"""Training as a generator of records: one configuration in, one small record a step out.

Axes: B batch, T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from convlstm.checks import (
    SettingError,
    check_choice,
    check_integer,
    check_names,
    check_number,
    normalise,
)
from convlstm.costs import evaluation_chunk, training_chunk
from convlstm.data import CONTEXT_FRAMES, Squares, SquaresConfig, sample_squares
from convlstm.losses import LOSSES
from convlstm.metrics import Evaluation, black_frames, copy_last_frame, score
from convlstm.predictor import ModelConfig, build_predictor

Schedule = Literal["onecycle", "constant"]
Targets = Literal["all", "last"]
Precision = Literal["auto", "float32", "bfloat16"]
End = Literal["goal", "finished", "diverged"]

MAX_SEED = 2**31 - 1
# A CPU generator reads only the lower 32 bits of a seed. A person's seeds, which the weights are
# drawn from, take the lower half of those, and the sequences of training the upper half, so that no
# run draws weights and data from one stream, or trains on the held-out set: that has a seed of the
# lower half, where only weights are drawn.
_DATA_STREAM = 2**31
_HELD_OUT_SEED = 2**31 - 1
HELD_OUT_SEQUENCES = 32
HORIZON = 10  # frames that the longest look ahead shows

# torch's OneCycleLR with its own defaults but the warm-up: 0.15 of the steps instead of 0.3 reached
# a held-out MSE of 0.001 at steps 60, 60, 70 instead of 70, 80, 80.
_ONECYCLE_WARM_UP = 0.15
_ONECYCLE_FIRST = 1 / 25  # of the largest rate
_ONECYCLE_LAST = _ONECYCLE_FIRST / 1e4
_DIVERGED_RATIO = 100  # a loss this many times the first one has no way back


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


_SCENE_NAMES = tuple(f.name for f in fields(SquaresConfig))
_MODEL_NAMES = tuple(f.name for f in fields(ModelConfig))
_TRAIN_NAMES = tuple(f.name for f in fields(TrainConfig) if f.name not in ("scene", "model"))
SETTING_NAMES = _SCENE_NAMES + _MODEL_NAMES + _TRAIN_NAMES


def settings_of(config: TrainConfig) -> dict[str, object]:
    """Return a configuration as one flat mapping, as links, files and the page carry it."""
    nested = asdict(config)
    return {**nested.pop("scene"), **nested.pop("model"), **nested}


def config_from(settings: object, base: TrainConfig | None = None) -> TrainConfig:
    """Make a configuration from a flat mapping: the one way in for whatever arrives.

    Args:
        settings: names of SETTING_NAMES and their values; what is missing comes from base.
        base: the configuration to start from; None means the defaults.

    Raises:
        SettingError: settings is no mapping, or a name or a value is refused.
    """
    settings = check_names(settings, SETTING_NAMES)
    base = base or TrainConfig()
    part = {name: value for name, value in settings.items() if name in _TRAIN_NAMES}
    return replace(
        base,
        scene=replace(base.scene, **{k: v for k, v in settings.items() if k in _SCENE_NAMES}),
        model=replace(base.model, **{k: v for k, v in settings.items() if k in _MODEL_NAMES}),
        **part,
    )


@dataclass(frozen=True)
class StepRecord:
    """What one training step did.

    Attributes:
        step: steps done, from 1.
        epoch: the epoch this step belongs to, from 1.
        loss: the loss that was minimised, in its own unit.
        mse: mean squared error of the batch's last frame, comparable with the held-out one.
        learning_rate: Adam's rate at this step.
        seconds: computing time since the run began, in s; waiting and pauses do not count.
        evaluation: scores on the held-out set, at the steps that have one.
        ended: why the run ends with this step, or None.
    """

    step: int
    epoch: int
    loss: float
    mse: float
    learning_rate: float
    seconds: float
    evaluation: Evaluation | None = None
    ended: End | None = None


@dataclass(frozen=True)
class Change:
    """A setting changed during a run, from the step after `step` on."""

    step: int
    name: str
    old: float
    new: float


class Trainer:
    """The state of one run, moved on by pulling from `pieces`.

    Args:
        config: the run.
        device: where it computes.

    Attributes:
        model: the predictor as it is now.
        records: one for each step done.
        changes: settings changed on the way.
        ended: why the run is over, or None.
    """

    def __init__(self, config: TrainConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        weights = torch.Generator().manual_seed(config.seed)
        self.model = build_predictor(config.model, weights, self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), config.learning_rate, fused=True)
        self.generator = torch.Generator(self.device).manual_seed(config.seed + _DATA_STREAM)
        self.records: list[StepRecord] = []
        self.changes: list[Change] = []
        self.ended: End | None = None
        self.best_mse = math.inf
        self.best_weights = self._copy_weights()
        self._set_held_out()

    @property
    def step(self) -> int:
        """Training steps done."""
        return len(self.records)

    def pieces(self) -> Iterator[StepRecord | None]:
        """Train to the end of the run, cut fine.

        Yields:
            None between the pieces of a step, each a fraction of a second long, so that whoever
            pulls may stop there or turn to something else; a record after each step. Closed within
            a step, it leaves everything as it was before that step, and a new call goes on there.
        """
        while self.ended is None:
            if not self._evaluation_is_due():
                yield from self._train_step()
            if self._evaluation_is_due():
                yield from self._evaluate_step()
            yield self.records[-1]

    def change(self, **settings: float) -> None:
        """Change `speed` or `learning_rate` between two steps; the run goes on with it.

        Raises:
            SettingError: another setting, or a value that is refused.
        """
        check_names(settings, ("speed", "learning_rate"))
        old = settings_of(self.config)
        self.config = config_from(settings, self.config)
        new = settings_of(self.config)
        for name in settings:
            if new[name] != old[name]:
                self.changes.append(Change(self.step, name, old[name], new[name]))
        if new["speed"] != old["speed"]:
            self._set_held_out()
            self.best_mse = math.inf  # scores of another scene do not compare
            self.best_weights = self._copy_weights()

    @property
    def seconds(self) -> float:
        """Computing time so far, in s."""
        return self.records[-1].seconds if self.records else 0.0

    def predict(self, context: Tensor, horizon: int) -> Tensor:
        """Continue sequences with the model as it is now, in the run's precision.

        Args:
            context: (B, T, 1, H, W), intensities in [0, 1].
            horizon: number of frames to predict.

        Returns:
            (B, horizon, 1, H, W), in [0, 1], float32.
        """
        self.model.eval()
        with self._autocast():
            return self.model.predict(context, horizon)

    def evaluate(self) -> Evaluation:
        """Score the model on the held-out set, in one go."""
        pieces = self._evaluation_pieces(Clock(0.0))
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return end.value

    def restore_best(self) -> None:
        """Put back the weights of the best evaluation so far."""
        self.model.load_state_dict(self.best_weights)

    def _train_step(self) -> Iterator[None]:
        config, before = self.config, self.generator.get_state()
        clock = Clock(self.seconds)
        try:
            rate = learning_rate_at(config, self.step)
            batch = sample_squares(
                config.scene, config.batch_size, CONTEXT_FRAMES + 1, self.generator
            )
            sums = torch.zeros(2, device=self.device)  # loss, MSE of the last frame
            size = training_chunk(config)
            for start in range(0, config.batch_size, size):
                sums += self._backward(Squares(*(t[start : start + size] for t in batch)))
                yield from clock.interruption()
        except BaseException:  # closed or broken off in mid-step: the same sequences come again
            self.generator.set_state(before)
            self.optimizer.zero_grad()
            raise
        loss, mse = sums.tolist()
        limit = config.gradient_clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        too_large = _DIVERGED_RATIO * max(self.records[0].loss if self.records else loss, 1e-3)
        if math.isfinite(loss) and norm.isfinite() and loss <= too_large:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        else:
            self.restore_best()
            self.ended = "diverged"
        self.optimizer.zero_grad()
        epoch = self.step // config.batches_per_epoch + 1
        record = StepRecord(
            self.step + 1, epoch, loss, mse, rate, clock.seconds(), ended=self.ended
        )
        self.records.append(record)

    def _backward(self, batch: Squares) -> Tensor:
        """Add the gradient of some of a step's sequences; return their share of loss and MSE."""
        self.model.train()  # inside the loop: whoever pulls may have called eval() meanwhile
        share = len(batch.clean) / self.config.batch_size
        with self._autocast():
            values, _ = self.model(batch.observed[:, :-1])
        truth = batch.clean[:, 1:]
        values = values.float()
        frames = self.model.intensities(values)
        mse = (frames[:, -1].detach() - truth[:, -1]).square().mean()
        if self.config.targets == "last":
            values, frames, truth = values[:, -1:], frames[:, -1:], truth[:, -1:]
        loss = LOSSES[self.config.loss](values, frames, truth) * share
        loss.backward()
        return torch.stack([loss.detach(), mse * share])

    def _evaluation_is_due(self) -> bool:
        if not self.records or self.ended or self.records[-1].evaluation:
            return False
        due = self.step % self.config.evaluate_every == 0
        return due or self.step in (1, self.config.total_steps)

    def _evaluate_step(self) -> Iterator[None]:
        clock = Clock(self.seconds)
        evaluation = yield from self._evaluation_pieces(clock)
        mse = evaluation.model.mse
        if mse < self.best_mse:
            self.best_mse, self.best_weights = mse, self._copy_weights()
        if mse < self.config.stop_below:
            self.ended = "goal"
        elif self.step >= self.config.total_steps:
            self.ended = "finished"
        self.records[-1] = replace(
            self.records[-1], seconds=clock.seconds(), evaluation=evaluation, ended=self.ended
        )

    def _evaluation_pieces(self, clock: "Clock") -> Generator[None, None, Evaluation]:
        context, truth = self._held_out
        predicted = []
        for chunk in context.split(evaluation_chunk(self.config)):
            predicted.append(self.predict(chunk, 1))
            yield from clock.interruption()
        prediction = torch.cat(predicted)
        return Evaluation(
            score(prediction, truth), *self._baselines, brightest=float(prediction.max())
        )

    def _set_held_out(self) -> None:
        generator = torch.Generator(self.device).manual_seed(_HELD_OUT_SEED)
        frames = CONTEXT_FRAMES + 1
        batch = sample_squares(self.config.scene, HELD_OUT_SEQUENCES, frames, generator)
        context, truth = batch.observed[:, :CONTEXT_FRAMES], batch.clean[:, CONTEXT_FRAMES:]
        self._held_out = context, truth
        self._baselines = (
            score(black_frames(truth), truth),
            score(copy_last_frame(context, 1), truth),
        )

    def _copy_weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def _autocast(self) -> torch.autocast:
        precision = resolve_precision(self.config.precision, self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bfloat16")


def train(
    config: TrainConfig, *, device: torch.device | str = "cpu", trainer: Trainer | None = None
) -> Iterator[StepRecord]:
    """Train a next-frame predictor, one record a step.

    Args:
        config: the run.
        device: where it computes.
        trainer: a trainer to go on with, as `resume` gives it; None starts anew.

    Yields:
        A record after each step; the last one says why the run ended.

    Example:
        >>> for record in train(TrainConfig(epochs=20)):
        ...     print(record.step, record.loss)
    """
    trainer = trainer or Trainer(config, device)
    return (record for record in trainer.pieces() if record is not None)


def learning_rate_at(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step, counted from 0; torch's OneCycleLR as a function."""
    if config.schedule == "constant":
        return config.learning_rate
    peak = _ONECYCLE_WARM_UP * config.total_steps - 1
    last = config.total_steps - 1
    if step <= peak:
        start, end, progress = _ONECYCLE_FIRST, 1.0, step / peak
    else:
        start, end, progress = 1.0, _ONECYCLE_LAST, (step - peak) / (last - peak)
    return config.learning_rate * (end + (start - end) / 2 * (1 + math.cos(math.pi * progress)))


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return "float32" or "bfloat16": what "auto" means on a device, others unchanged."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return "bfloat16" if fast else "float32"


class Clock:
    """Counts a run's computing time, without what passes while others have their turn."""

    def __init__(self, seconds: float) -> None:
        self._started = time.perf_counter() - seconds

    def seconds(self) -> float:
        """Return the computing time so far, in s."""
        return time.perf_counter() - self._started

    def interruption(self) -> Iterator[None]:
        """Yield once; what passes meanwhile does not count."""
        seconds = self.seconds()
        yield None
        self._started = time.perf_counter() - seconds
