"""Training as a generator of records: one configuration in, one small record a step out.

Axes: B batch, T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from convlstm.checks import check_names
from convlstm.costs import evaluation_chunk, training_chunk
from convlstm.data import CONTEXT_FRAMES, Squares, sample_squares
from convlstm.losses import LOSSES
from convlstm.metrics import Evaluation, black_frames, copy_last_frame, score
from convlstm.optimizers import ONECYCLE_FIRST, ONECYCLE_LAST
from convlstm.pieces import Clock, finish
from convlstm.predictor import build_predictor
from convlstm.settings import CHANGEABLE, Change, configure, differences
from convlstm.train_config import TrainConfig

End = Literal["goal", "finished", "diverged"]

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
_DIVERGED_RATIO = 100  # a loss this many times the first one has no way back


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

    @property
    def evaluation_is_due(self) -> bool:
        """Whether the last step's evaluation is still to be done."""
        if not self.records or self.ended or self.records[-1].evaluation:
            return False
        due = self.step % self.config.evaluate_every == 0
        return due or self.step in (1, self.config.total_steps)

    def pieces(self) -> Iterator[StepRecord | None]:
        """Train to the end of the run, cut fine.

        Yields:
            None between the pieces of a step, each a fraction of a second long, so that whoever
            pulls may stop there or turn to something else; a record after each step. Closed within
            a step, it leaves everything as it was before that step, and a new call goes on there.
        """
        while self.ended is None:
            if not self.evaluation_is_due:
                yield from self._train_step()
            if self.evaluation_is_due:
                yield from self._evaluate_step()
            yield self.records[-1]

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
        return finish(self._evaluation_pieces(Clock(0.0)))

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

    def _evaluation_pieces(self, clock: Clock) -> Generator[None, None, Evaluation]:
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
        start, end, progress = ONECYCLE_FIRST, 1.0, step / peak
    else:
        start, end, progress = 1.0, ONECYCLE_LAST, (step - peak) / (last - peak)
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
