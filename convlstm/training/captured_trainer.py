"""Training in which the device does a whole step by itself, and is asked only now and then.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from convlstm.scenes.scene import Scene
from convlstm.training.captured import Captured
from convlstm.training.config import TrainConfig
from convlstm.training.costs import training_chunk
from convlstm.training.records import StepRecord
from convlstm.training.trainer import Trainer

_LOOK_SECONDS = 0.1  # between two looks at what came of the steps
_MOST_ORDERED = 1000  # steps between two looks


class CapturedTrainer(Trainer):
    """A `Trainer` whose steps a GPU repeats by itself: data, forward, backward and optimiser.

    Its losses are those of a `Trainer`, but for rounding. Pulled, it takes as many steps as fit a
    tenth of a second, then looks at what came of them, and yields the last one's record; `records`
    has all. So it finds out a little later that a run diverged; the steps since count for nothing.

    Args:
        config: the run; its precision must not be float16, whose scale of losses is decided on the
            way, and its scene one that draws on the device.
        device: where it computes.
        weights: what the network starts with; None means weights drawn from the seed.

    Raises:
        ValueError: the run is one that cannot be captured, or is shared by several processes.
    """

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device | str = "cpu",
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__(config, device, weights)
        if self.precision == "float16":
            raise ValueError("precision is float16: must be float32 or bfloat16 to be captured.")
        if not config.scene.draws_on_device:
            raise ValueError(f"scene is {config.scene.name}: must be one that draws on the device.")
        if self.processes > 1:
            raise ValueError(f"processes are {self.processes}: must be 1 to be captured.")
        # What changes from step to step; a graph reads it where it lies.
        self._rate = torch.zeros((), device=self.device)
        self._chance = torch.zeros((), device=self.device)
        # What came of the steps ordered: loss, mean squared error, and the gradient's norm.
        self._results = torch.zeros(_MOST_ORDERED, 3, device=self.device)
        self._row = torch.zeros(1, dtype=torch.long, device=self.device)
        self._shares: list[float] = []  # of those steps, by which errors count
        self._ordered_at = 0.0
        self._burst = 1  # steps that are ordered at once
        self._step = Captured(self._whole_step, self.device, [self.generator])

    def order(self) -> None:
        """Have the device take a step; what came of it is known after a `look`.

        A record is there at once, its loss and its error not yet numbers.
        """
        if len(self._shares) == _MOST_ORDERED:
            self.look()
        if not self._shares:
            self._ordered_at = time.perf_counter()
        horizon, rate = self.config.horizon_at(self.progress), self._learning_rate()
        scene, chance = self.config.scene.at(self.progress), self._chance_of_truth()
        self._rate.fill_(rate)
        if chance is not None:
            self._chance.fill_(chance)
        before = self.generator.get_state()
        try:
            self._step(scene, horizon, chance is not None)
        except BaseException:  # broken off in mid-step: the same sequences come again
            self.generator.set_state(before)
            self.network.zero_grad()
            raise
        self._average()
        self._shares.append(self._share_of_frame(scene))
        record = StepRecord(
            self.step + 1, self.progress, horizon, math.nan, math.nan, rate, self.seconds
        )
        self.records.append(record)
        self.progress = self._progress_now()

    def look(self) -> None:
        """Wait for the steps that were ordered, and put what came of them into their records."""
        count = len(self._shares)
        if not count:
            return
        results = self._results[:count].tolist()  # waits
        each = (time.perf_counter() - self._ordered_at) / count
        self._row.zero_()
        shares, self._shares = self._shares, []
        first, started = self.step - count, self.records[-count].seconds
        for n, ((loss, mse, norm), share) in enumerate(zip(results, shares, strict=True)):
            record = self.records[first + n]
            seconds = started + (n + 1) * each
            self.records[first + n] = replace(record, loss=loss, mse=mse * share, seconds=seconds)
            if self._is_lost(loss) or not math.isfinite(norm):
                self._end_at(first + n)
                break
        self.progress = self._progress_now()

    def _train_step(self) -> Iterator[None]:
        started, steps = time.perf_counter(), self.step
        try:
            while self.step - steps < self._burst and not self.evaluation_is_due:
                self.order()
        finally:
            self.look()
        seconds, done = time.perf_counter() - started, self.step - steps
        self._burst = min(_MOST_ORDERED, max(1, round(done * _LOOK_SECONDS / seconds)))
        return iter(())  # all of that is one piece

    def _whole_step(self, scene: Scene, horizon: int, reads_truth: bool) -> None:
        """Take a step without a word to the host.

        Args:
            scene: as training sees it now.
            horizon: frames to predict.
            reads_truth: whether the network reads a true frame now and then.
        """
        config, chance = self.config, self._chance if reads_truth else None
        clip, use_truth, known = self._draw(scene, horizon, chance)
        sums = torch.zeros(2, device=self.device)  # loss, mean squared error
        count, size = len(clip.clean), training_chunk(config, self.device)
        for start in range(0, count, size):
            some = slice(start, start + size)
            reads = None if use_truth is None else use_truth[some]
            sums += self._backward(clip.part(some), reads, count, known)
        self.optimizer.take_gradients()
        limit = config.gradient_clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        self.optimizer.step(self._rate)
        self.network.zero_grad()
        self._results.index_copy_(0, self._row, torch.cat([sums, norm[None]])[None])
        self._row += 1

    def _end_at(self, index: int) -> None:
        """End the run with the step of that record, whose loss has no way back."""
        del self.records[index + 1 :]
        # The optimiser has gone on meanwhile; what it holds came of what is lost.
        for name, value in self.optimizer.state().items():
            value.fill_(index if name.endswith(".step") else 0)
        self.ended = "diverged"
        self.records[index] = replace(self.records[index], ended=self.ended)
        self.restore_best()
