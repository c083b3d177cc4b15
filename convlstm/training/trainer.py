"""Training as a generator of records: one configuration in, one small record a step out.

Every technique is a setting, which works alone and together with the others. Axes: B batch, T time
(frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

import contextlib
import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from convlstm.checks import SettingError, check_names
from convlstm.devices import resolve_precision
from convlstm.networks import Network, build_network
from convlstm.pieces import Clock, finish
from convlstm.scenes.scene import DATA_STREAM, Clip, Scene
from convlstm.settings import configure, differences, settings_of
from convlstm.training.config import CHANGEABLE, MAX_STEPS, TrainConfig
from convlstm.training.costs import evaluation_chunk, training_chunk
from convlstm.training.losses import LOSSES
from convlstm.training.metrics import Evaluation
from convlstm.training.optimizers import Optimizer, onecycle
from convlstm.training.records import Change, End, PastTraining, StepRecord
from convlstm.training.validation import NEARLY, Validation

_DIVERGED_RATIO = 100  # a loss this many times the first one has no way back


class Trainer:
    """The state of one run, moved on by pulling from `pieces`.

    In a process group (`torch.distributed`) each process takes its share of every batch, and all
    of them end up with the same weights.

    Args:
        config: the run.
        device: where it computes.
        weights: what the network starts with, of this configuration's names and shapes; None means
            weights drawn from the seed.

    Attributes:
        network: the one that learns, as it is now.
        averaged: its averaged weights, or None where the run keeps none.
        earlier: the trainings that its first weights come from, oldest first.
        progress: share of the run that is done.
        records: one for each step done.
        changes: settings changed on the way.
        ended: why the run is over, or None.
        best_loss: the least validation loss so far.
        best_weights: the weights that it was measured with.
    """

    def __init__(
        self,
        config: TrainConfig,
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
        self.network = build_network(config.network, config.scene.frames, drawn, self.device)
        if weights is not None:
            self.network.load_state_dict(weights)
        self.earlier: tuple[PastTraining, ...] = ()
        self.optimizer = Optimizer(config.optimizer, self.network, config.weight_decay)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "float16")
        self.generator = torch.Generator(self.device).manual_seed(config.seed + DATA_STREAM)
        self._before_step: Tensor | None = None  # its state, while a step is under way
        self.averaged = self._averaged() if config.ema else None
        self.progress = 0.0
        self.records: list[StepRecord] = []
        self.changes: list[Change] = []
        self.ended: End | None = None
        self.best_loss, self.best_weights = math.inf, self._copy_weights()
        self.evaluations_since_best = 0
        self._validation: Validation | None = None
        self._parallel: nn.Module = self.network
        if self.processes > 1:
            self._parallel = nn.parallel.DistributedDataParallel(self.network)

    @property
    def step(self) -> int:
        """Training steps done."""
        return len(self.records)

    @property
    def last(self) -> StepRecord | None:
        """The newest record, or None."""
        return self.records[-1] if self.records else None

    @property
    def seconds(self) -> float:
        """Computing time so far, in s."""
        return self.last.seconds if self.last else 0.0

    @property
    def evaluation_is_due(self) -> bool:
        """Whether the last step's evaluation is still to be done."""
        if self.last is None or self.ended or self.last.validation_loss is not None:
            return False
        return self.step % self.config.evaluate_every == 0 or self.progress >= 1

    @property
    def total_steps(self) -> int:
        """Steps of the whole run; where its time decides, what they will be at this pace."""
        if not self.config.max_minutes or self.progress < 1e-6:
            return self.config.total_steps
        return max(self.step, round(self.step / min(1, self.progress)))

    @property
    def trainings(self) -> tuple[PastTraining, ...]:
        """What its weights have been through, this run's part last."""
        sequences = self.step * self.config.batch_size
        this = PastTraining(self.step, sequences, self.seconds, self.device.type)
        return (*self.earlier, this)

    @property
    def generator_state(self) -> Tensor:
        """The generator's state after the last whole step; with it a step under way begins anew."""
        return self.generator.get_state() if self._before_step is None else self._before_step

    @property
    def judged(self) -> Network:
        """The network that is shown, scored and saved: the averaged one where there is one."""
        return self.averaged.module if self.averaged else self.network

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
            yield self.last

    def change(self, **settings: float) -> None:
        """Change `speed` or `learning_rate` between two steps; the run goes on with it.

        Raises:
            SettingError: another setting, or a value that is refused.
        """
        known = settings_of(self.config)
        check_names(settings, [name for name in CHANGEABLE if name in known])
        old, self.config = self.config, configure(settings, self.config)
        for name, values in differences(old, self.config).items():
            self.changes.append(Change(self.step, name, *values))
        if self.config.scene != old.scene:
            self._validation = None
            self.best_loss = math.inf  # losses of another scene do not compare
            self.best_weights = self._copy_weights()

    def predict(self, context: Tensor, horizon: int) -> Tensor:
        """Continue sequences by `Network.predict`, with the weights as they are now.

        What it returns is float32, whatever the run's precision.
        """
        network = self.judged.eval()
        with self._autocast():
            return network.predict(context, horizon, augmented=self.config.augmented)

    def evaluate(self) -> Evaluation:
        """Score the network on the validation set, in one go."""
        return finish(self._evaluation_pieces(Clock(0.0)))[1]

    def restore_best(self) -> None:
        """Put back the weights of the best evaluation so far."""
        self.judged.load_state_dict(self.best_weights)
        self.network.load_state_dict(self.best_weights)

    def any_process(self, flag: bool) -> bool:
        """Whether a flag is set in any of the processes; each of them must ask."""
        if self.processes == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags.item())

    def _train_step(self) -> Iterator[None]:
        config, self._before_step = self.config, self.generator.get_state()
        clock = Clock(self.seconds)
        horizon = config.horizon_at(self.progress)
        try:
            loss, mse = yield from self._gradients(horizon, clock)
        except BaseException:  # closed or broken off in mid-step: the same sequences come again
            self.generator.set_state(self._before_step)
            self._before_step = None
            self.network.zero_grad()
            raise
        rate = self._learning_rate()
        self.ended = None if self._update(loss, rate) else "diverged"
        self.network.zero_grad()
        self.records.append(
            StepRecord(
                self.step + 1,
                self.progress,
                horizon,
                loss,
                mse,
                rate,
                clock.seconds(),
                ended=self.ended,
            )
        )
        self.progress = self._progress_now()
        self._before_step = None

    def _gradients(self, horizon: int, clock: Clock) -> Generator[None, None, tuple[float, float]]:
        """Find the gradients of a step; return its loss and its mean squared error."""
        config = self.config
        scene = config.scene.at(self.progress)
        clip, use_truth, known = self._draw(scene, horizon, self._chance_of_truth())
        mine = slice(self.rank, None, self.processes)
        clip, use_truth = clip.part(mine), None if use_truth is None else use_truth[mine]
        sums = torch.zeros(2, device=self.device)  # loss, mean squared error
        count, size = len(clip.clean), training_chunk(config, self.device)
        for start in range(0, count, size):
            some = slice(start, start + size)
            is_last = start + size >= count
            waits = self.processes > 1 and not is_last
            with self._parallel.no_sync() if waits else contextlib.nullcontext():
                sums += self._backward(
                    clip.part(some), None if use_truth is None else use_truth[some], count, known
                )
            yield from clock.interruption()
        if self.processes > 1:
            dist.all_reduce(sums)
            sums /= self.processes
        loss, mse = sums.tolist()
        return loss, mse * self._share_of_frame(scene)

    def _draw(
        self, scene: Scene, horizon: int, chance: float | Tensor | None
    ) -> tuple[Clip, Tensor | None, Tensor | None]:
        """Draw a step's sequences, those of all processes.

        Args:
            scene: as training sees it now.
            horizon: frames to predict.
            chance: that the network reads the true frame instead of its own; None for never.

        Returns:
            The sequences; where the network reads the truth in them, (B, horizon) of bool; and how
            many of their values an error is counted of, a process, where it is not all.
        """
        config = self.config
        frames = config.context_frames + horizon
        clip = scene.sample(config.batch_size, frames, self.generator, "train")
        use_truth = None
        if chance is not None:
            shape = (config.batch_size, horizon)
            use_truth = torch.rand(shape, generator=self.generator, device=self.device) < chance
        known = clip.split(config.context_frames)[2]
        if known is not None:
            counted = known[:, :, config.scene.scored].sum()
            known = (counted / self.processes).clamp(min=1)
        return clip, use_truth, known

    def _share_of_frame(self, scene: Scene) -> float:
        """Return what turns an error per pixel of training's frames into one of whole frames.

        To those the validation set's errors and the baselines' belong.
        """
        return math.prod(scene.size) / math.prod(self.config.scene.size)

    def _backward(
        self, clip: Clip, use_truth: Tensor | None, count: int, known_count: Tensor | None
    ) -> Tensor:
        """Add the gradient of some of a step's sequences; return their share of loss and MSE.

        Args:
            clip: the sequences.
            use_truth: where the network reads the truth.
            count: sequences in the step.
            known_count: values in the step of which an error is counted, where not all are.
        """
        self.network.train()  # inside the loop: whoever pulls may have called eval() meanwhile
        config, share = self.config, len(clip.clean) / count
        context, future, known = clip.split(config.context_frames)
        horizon = future.shape[1]
        with self._autocast():
            values = self._parallel(context, horizon, future, use_truth)
        asked = horizon if config.targets == "future" else values.shape[1]
        values, truth = values[:, -asked:].float(), clip.clean[:, -asked:]
        frames = self.network.intensities(values)
        scored = config.scene.scored
        errors = (frames[:, -horizon:].detach() - future)[:, :, scored].square()
        if known is None:
            mse = errors.mean() * share
        else:
            mse = (errors * known[:, :, scored]).sum() / known_count
        if clip.valid is not None:  # where nobody knows the truth, the prediction is it
            valid = clip.valid[:, -asked:]
            frames = torch.where(valid, frames, truth)
            values = torch.where(valid, values, truth.logit(NEARLY))
        loss = LOSSES[config.loss](values, frames, truth, config.ssim_weight) * share
        self.scaler.scale(loss).backward()
        return torch.stack([loss.detach(), mse])

    def _chance_of_truth(self) -> float | None:
        share = self.config.scheduled_sampling
        return None if self.progress >= share else 1 - self.progress / share

    def _learning_rate(self) -> float:
        config = self.config
        if config.schedule == "constant":
            return config.learning_rate
        total = config.total_steps
        if config.max_minutes:  # as many steps as there will be at this pace
            total = self.step / self.progress if self.progress else math.inf
        return config.learning_rate * onecycle(self.step, total, config.warm_up)

    def _update(self, loss: float, rate: float) -> bool:
        """Change the weights by their gradients; return whether the run can go on."""
        self.optimizer.take_gradients()
        for part in self.optimizer.parts:
            self.scaler.unscale_(part)
        limit = self.config.gradient_clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        if self._is_lost(loss):
            self.restore_best()
            return False
        if norm.isfinite():
            self.optimizer.step(rate)
            self._average()
        elif not self.scaler.is_enabled():
            # Under float16 an overflow is no end: the next step scales the loss by less.
            self.restore_best()
            return False
        self.scaler.update()
        return True

    def _averaged(self) -> AveragedModel:
        averaged = AveragedModel(self.network)
        averaged.n_averaged.fill_(1)  # the first weights count: a copy is no average
        return averaged

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the network's.

        Not by `AveragedModel.update_parameters`, which for each of them asks a GPU for their count.
        """
        if self.averaged is None:
            return
        updates = self.averaged.n_averaged  # it stays on the CPU
        # Early on the average follows closely, or it would remember the first weights.
        decay = min(self.config.ema, (updates / (9 + updates)).item())
        followers, leaders = (
            list(each.parameters()) for each in (self.averaged.module, self.network)
        )
        torch._foreach_lerp_(followers, leaders, 1 - decay)
        updates += 1

    def _is_lost(self, loss: float) -> bool:
        """Whether a step's loss has no way back."""
        first = self.records[0].loss if self.records else loss
        return not math.isfinite(loss) or loss > _DIVERGED_RATIO * max(first, 1e-3)

    def _evaluate_step(self) -> Iterator[None]:
        clock = Clock(self.seconds)
        loss, evaluation = yield from self._evaluation_pieces(clock)
        loss = self._of_first(loss)
        if loss < self.best_loss:
            self.best_loss, self.evaluations_since_best = loss, 0
            self.best_weights = self._copy_weights()
        else:
            self.evaluations_since_best += 1
        if self._of_first(evaluation.model.mse) < self.config.stop_below:
            self.ended = "goal"
        elif self.progress >= 1:
            self.ended = "finished"
        elif 0 < self.config.patience == self.evaluations_since_best:
            self.ended = "patience"
        self.records[-1] = replace(
            self.last,
            seconds=clock.seconds(),
            validation_loss=loss,
            evaluation=evaluation,
            ended=self.ended,
        )

    def _evaluation_pieces(self, clock: Clock) -> Generator[None, None, tuple[float, Evaluation]]:
        """Find the loss and the scores on the validation set, at the full horizon."""
        config = self.config
        if self._validation is None:
            self._validation = Validation(
                config.scene, config.context_frames, config.horizon, self.device
            )
        return self._validation.score(
            lambda context: self.predict(context, config.horizon),
            partial(LOSSES[config.loss], ssim_weight=config.ssim_weight),
            evaluation_chunk(config, self.device),
            clock,
        )

    def _progress_now(self) -> float:
        """How much of the run is done, in [0, 1] and over; the same in all processes."""
        if not self.config.max_minutes:
            return self.step / self.config.total_steps
        if self.step >= MAX_STEPS:
            return 1.0
        return self._of_first(self.seconds / (60 * self.config.max_minutes))

    def _of_first(self, value: float) -> float:
        """Return the first process's value: clocks differ, and so may sums on a GPU."""
        values = [value]
        if self.processes > 1:
            dist.broadcast_object_list(values)
        return values[0]

    def _copy_weights(self) -> dict[str, Tensor]:
        weights = self.judged.state_dict()
        return {name: value.detach().clone() for name, value in weights.items()}

    def _autocast(self) -> torch.autocast:
        enabled = self.precision != "float32"
        dtype = getattr(torch, self.precision) if enabled else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=enabled)


def train(
    config: TrainConfig, *, device: torch.device | str = "cpu", trainer: Trainer | None = None
) -> Iterator[StepRecord]:
    """Train a network, one record a step.

    Args:
        config: the run.
        device: where it computes.
        trainer: the run's own state, to look into on the way or to go on with; None makes one.

    Yields:
        A record after each step. The run ends with its steps, or earlier at its goal, when the
        validation loss no longer falls, or when it diverges; then the best weights are put back.

    Example:
        >>> for record in train(TrainConfig(Squares(), epochs=100)):
        ...     print(record.step, record.loss)
    """
    trainer = trainer or Trainer(config, device)
    return (record for record in trainer.pieces() if record is not None)
