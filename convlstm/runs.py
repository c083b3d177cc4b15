"""Runs that belong to the server: one compute thread takes turns over all of them.

A browser tab only watches. Everything here may be called from any thread; whatever touches a model
happens on the compute thread, between two pieces of work.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Intensities in [0, 1].
"""

import contextlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch

from convlstm.checkpoint import checkpoint_bytes
from convlstm.checks import SettingError, check_integer
from convlstm.costs import Cost, estimate
from convlstm.data import CONTEXT_FRAMES, sample_squares
from convlstm.metrics import Scores, as_images, copy_last_frame, score_frames
from convlstm.training import (
    HORIZON,
    SETTING_NAMES,
    TrainConfig,
    Trainer,
    config_from,
    resolve_precision,
    settings_of,
)

RunState = Literal[
    "idle", "waiting", "training", "paused", "stopped", "goal", "finished", "diverged", "failed"
]
ACTIVE: tuple[RunState, ...] = ("waiting", "training")
_OVER: tuple[RunState, ...] = ("stopped", "goal", "finished", "diverged", "failed")

_log = logging.getLogger(__name__)

SAMPLES = 8  # sequences to look at, drawn with a seed of their own
# Near the held-out set's, where no training sequences are drawn; of those the one whose first four
# samples stay clear of the walls at the default speed, and show what a prediction looks like.
_SAMPLE_SEED = 2**31 - 8
_SLICE_SECONDS = 0.1  # of computing before the next run has its turn
_PICTURE_SECONDS = 0.25  # between two pictures of a run that trains
_LARGEST_SLOWDOWN = 4.0  # taken for real; the presets stay within the limits at that
_WATCHED_SECONDS = 3.0  # after the last look at a run, its pictures are no longer drawn


@dataclass(frozen=True)
class Limits:
    """What one server takes on.

    Attributes:
        active_runs: runs that train at the same time; further ones wait in line.
        kept_runs: runs kept in memory, training or not.
        piece_seconds: the longest uninterruptible piece of work, s; Stop waits for it.
        run_seconds: estimated computing time of a run, s.
        memory_mib: estimated memory of a run's training, MiB.
        budget_seconds: computing time after which a run is paused for good, s.
        unwatched_seconds: time without a viewer after which a run ends, s.
        kept_seconds: time without a viewer after which a run is forgotten, s.
    """

    active_runs: int = 32
    kept_runs: int = 512
    piece_seconds: float = 0.6
    run_seconds: float = 1800
    memory_mib: float = 2048
    budget_seconds: float = 3600
    unwatched_seconds: float = 300
    kept_seconds: float = 3600


@dataclass(frozen=True)
class Picture:
    """What the stage shows: one sequence, its continuation and the prediction of it.

    Attributes:
        sample: which of the SAMPLES sequences, from 0.
        context: frames seen, (T, H, W).
        truth: frames that followed, (look_ahead, H, W).
        predicted: the model's frames, on its own output after the first, (look_ahead, H, W).
        scores: of the model, for each lead time from 1.
        copy_last: of repeating the last frame seen, likewise.
        black: of a black frame, likewise.
    """

    sample: int
    context: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    scores: list[Scores]
    copy_last: list[Scores]
    black: list[Scores]


class ResetNeeded(ValueError):
    """Settings that a run under way cannot take on.

    Attributes:
        names: those settings.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(f"{', '.join(names)} changed: reset the run to train with it.")


class ServerFull(RuntimeError):
    """Every run that this server keeps is training or being watched."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"This server is full: all of its {limit} runs are in use. Try later.")


class Run:
    """One person's run: a trainer, how far it is, and what its viewers look at.

    Attributes:
        id: unguessable name; whoever has it may steer the run.
        trainer: what trains; another one after a reset.
        state: what it is doing.
        reason: why the server stopped or failed it, else empty.
        version: grows with every change that a viewer could see.
        steps_done: records that viewers may read; the trainer's last one may be unfinished.
        place: place in line while waiting, from 1.
        sample: which of the SAMPLES sequences is shown, from 0.
        look_ahead: predicted frames shown, 1 to HORIZON.
        picture: the latest picture, or None before the first.
        shipped: whether it shows the shipped checkpoint, untouched.
    """

    def __init__(self, trainer: Trainer, *, shipped: bool = False) -> None:
        self.id = secrets.token_urlsafe(16)
        self.sample, self.look_ahead = 0, 1
        self.version = 0
        self.watched_at = time.monotonic()
        self.replace_trainer(trainer, shipped=shipped)

    def replace_trainer(self, trainer: Trainer, *, shipped: bool = False) -> None:
        """Begin anew with another trainer; viewers stay."""
        self.trainer, self.shipped = trainer, shipped
        self.state: RunState = trainer.ended or ("paused" if trainer.step else "idle")
        self.reason = ""
        self.place = 0
        self.steps_done = trainer.step
        self.steps_wanted = 0  # by Step: train until so many more records have come
        self.step_seconds: float | None = None
        self.picture: Picture | None = None
        self._pictured: tuple[object, ...] = ()
        self._pictured_at = -_PICTURE_SECONDS
        self._pieces = trainer.pieces()
        self._draw_samples()
        self.version += 1

    @property
    def config(self) -> TrainConfig:
        """The settings the run has now."""
        return self.trainer.config

    @property
    def is_over(self) -> bool:
        """Whether to train here means to begin anew."""
        return self.shipped or self.state in _OVER

    @property
    def wants_work(self) -> bool:
        """Whether the compute thread has something to train here."""
        return self.state == "training" or self.steps_wanted > 0

    def advance(self, seconds: float) -> None:
        """Train for about so many seconds; the last piece is finished."""
        started = time.perf_counter()
        while self.wants_work and time.perf_counter() - started < seconds:
            record = next(self._pieces, None)
            if record is None:
                if self.trainer.ended:  # a pause or a stop crossed the last step
                    self.state, self.steps_wanted = self.trainer.ended, 0
                    self.version += 1
                continue
            before = self.trainer.records[-2].seconds if record.step > 1 else 0.0
            taken = record.seconds - before
            self.step_seconds = (
                taken if self.step_seconds is None else (0.9 * self.step_seconds + 0.1 * taken)
            )
            self.steps_wanted = max(0, self.steps_wanted - 1)
            self.steps_done = record.step
            if record.ended:
                self.state, self.steps_wanted = record.ended, 0
            self.version += 1

    def interrupt(self) -> None:
        """Go back to the last whole step, so that the trainer may be changed, saved or left."""
        self._pieces.close()
        self._pieces = self.trainer.pieces()

    def change(self, **settings: float) -> None:
        """Change speed or learning rate between two steps."""
        self.interrupt()
        self.trainer.change(**settings)
        if "speed" in settings:
            self._draw_samples()
        self.version += 1

    def picture_is_due(self, now: float) -> bool:
        """Whether somebody watches and would see something new."""
        if now - self.watched_at > _WATCHED_SECONDS or self._pictured == self._view():
            return False
        waits = self.wants_work and self._pictured[:-1] == self._view()[:-1]
        return not waits or now - self._pictured_at >= _PICTURE_SECONDS

    def draw_picture(self) -> None:
        """Predict the sequence that viewers look at."""
        view = self._view()
        sample, look_ahead = self.sample, self.look_ahead
        context = self._context[sample : sample + 1]
        truth = self._truth[sample : sample + 1, :look_ahead]
        predicted = self.trainer.predict(context, look_ahead)
        predicted_images, truth_images = as_images(predicted), as_images(truth)
        self.picture = Picture(
            sample=sample,
            context=as_images(context)[0],
            truth=truth_images[0],
            predicted=predicted_images[0],
            scores=score_frames(predicted_images, truth_images)[0],
            copy_last=self._copy_last[sample][:look_ahead],
            black=self._black[sample][:look_ahead],
        )
        self._pictured, self._pictured_at = view, time.monotonic()
        self.version += 1

    def _view(self) -> tuple[object, ...]:
        """What the picture depends on; the step comes last."""
        return self.config.scene, self.sample, self.look_ahead, self.trainer.step

    def _draw_samples(self) -> None:
        generator = torch.Generator(self.trainer.device).manual_seed(_SAMPLE_SEED)
        frames = CONTEXT_FRAMES + HORIZON
        batch = sample_squares(self.config.scene, SAMPLES, frames, generator)
        self._context = batch.observed[:, :CONTEXT_FRAMES]
        self._truth = batch.clean[:, CONTEXT_FRAMES:]
        truth = as_images(self._truth)
        self._copy_last = score_frames(as_images(copy_last_frame(self._context, HORIZON)), truth)
        self._black = score_frames(np.zeros_like(truth), truth)


class Scheduler:
    """Owns all runs of a server and the one thread that computes.

    Args:
        device: where the runs compute.
        limits: what the server takes on.
    """

    def __init__(self, device: torch.device | str = "cpu", limits: Limits | None = None) -> None:
        self.device = torch.device(device)
        self.limits = limits or Limits()
        self.slowdown = 1.0
        self._runs: dict[str, Run] = {}
        self._line: deque[Run] = deque()
        self._jobs: deque[tuple[Future, Callable[[], object]]] = deque()
        self._wake = threading.Condition(threading.RLock())
        self._closing = False
        self._called = False  # since the compute thread last looked round
        self._thread = threading.Thread(target=self._compute, name="compute", daemon=True)
        self._thread.start()

    # What a page asks for; each returns at once, with a Future where the compute thread has a part.

    def get(self, run_id: object) -> Run | None:
        """Return the run of that id, or None."""
        return self._runs.get(run_id) if isinstance(run_id, str) else None

    def open(self, make_trainer: Callable[[], Trainer], *, shipped: bool = False) -> Future:
        """Register a new run around a trainer that is made on the compute thread."""
        return self.call(lambda: self._register(Run(make_trainer(), shipped=shipped)))

    def replace(self, run: Run, make_trainer: Callable[[], Trainer]) -> Future:
        """Give a run another trainer; if making it fails, the run is as it was."""

        def job() -> Run:
            trainer = make_trainer()
            self._leave_line(run)
            run.interrupt()
            run.replace_trainer(trainer)
            return run

        return self.call(job)

    def check(self, config: TrainConfig) -> Cost:
        """Estimate a run, or refuse it.

        Raises:
            SettingError: it is over a limit; names a value to lower, and to what.
        """
        return check_budget(config, self.limits, self._estimate)

    def train(self, run: Run, settings: object) -> Future:
        """Go on with a paused run, or begin a new one with these settings.

        Raises:
            SettingError: a setting is refused; nothing changed.
            ResetNeeded: the run is paused and these settings are not its own.
        """
        config = config_from(settings)
        self.check(config)
        if run.state in ACTIVE:
            return self.call(lambda: run)
        if not run.is_over:
            self.adjust(run, config)
            return self.call(lambda: self._stand_in_line(run))

        def job() -> Run:
            if run.state not in ACTIVE:  # or somebody pressed twice
                run.interrupt()
                run.replace_trainer(Trainer(config, self.device))
            return self._stand_in_line(run)

        return self.call(job)

    def reset(self, run: Run, settings: object) -> Future:
        """Throw a run's training away and stand ready with these settings."""
        config = config_from(settings)
        self.check(config)
        return self.replace(run, lambda: Trainer(config, self.device))

    def adjust(self, run: Run, config: TrainConfig) -> None:
        """Take over changed speed and learning rate.

        Raises:
            ResetNeeded: something else changed too; nothing is taken over.
        """
        old, new = settings_of(run.config), settings_of(config)
        changed = [name for name in SETTING_NAMES if old[name] != new[name]]
        if others := [name for name in changed if name not in ("speed", "learning_rate")]:
            raise ResetNeeded(others)
        if changed:
            self.call(lambda: run.change(**{name: new[name] for name in changed}))

    def pause(self, run: Run) -> Future:
        """Pull no further pieces until `train`."""

        def job() -> Run:
            with self._wake:
                if run.state in ACTIVE:
                    self._leave_line(run)
                    run.state = "paused"
                    run.version += 1
            return run

        job()  # at once, and once more behind a `train` that is still to be done
        return self.call(job)

    def step(self, run: Run, settings: object) -> Future:
        """Train one step more, and pause there.

        Raises:
            SettingError: a setting is refused.
            ResetNeeded: the run is under way and these settings are not its own.
        """
        config = config_from(settings)
        self.check(config)
        fresh = run.is_over
        if not fresh:
            self.adjust(run, config)

        def job() -> Run:
            if fresh and run.is_over:  # or somebody pressed twice
                run.interrupt()
                run.replace_trainer(Trainer(config, self.device))
            self._leave_line(run)
            run.state, run.steps_wanted = "paused", run.steps_wanted + 1
            run.version += 1
            return run

        return self.call(job)

    def stop(self, run: Run, reason: str = "") -> Future:
        """End a run's computing after the piece under way; its last state stays."""

        def end() -> None:
            with self._wake:
                if run.state in ACTIVE or run.state == "paused":
                    self._leave_line(run)
                    run.state, run.reason, run.steps_wanted = "stopped", reason, 0
                    run.version += 1

        def job() -> None:
            end()
            run.interrupt()

        end()  # at once, and once more behind a `train` that is still to be done
        return self.call(job)

    def look(self, run: Run, sample: object, look_ahead: object) -> None:
        """Choose the sequence and the number of predicted frames that a run's viewers see.

        Raises:
            SettingError: a value is out of range.
        """
        sample = check_integer("sample", sample, 0, SAMPLES - 1)
        look_ahead = check_integer("look_ahead", look_ahead, 1, HORIZON)
        with self._wake:
            run.sample, run.look_ahead = sample, look_ahead
            run.watched_at = time.monotonic()
            self._call_thread()

    def watch(self, run: Run) -> None:
        """Say that somebody is looking; the run's pictures are drawn and it is kept."""
        with self._wake:
            if time.monotonic() - run.watched_at > _WATCHED_SECONDS:
                self._call_thread()
            run.watched_at = time.monotonic()

    def watched_runs(self) -> int:
        """Count the runs that somebody looks at."""
        now = time.monotonic()
        return sum(now - run.watched_at < _WATCHED_SECONDS for run in list(self._runs.values()))

    def working_runs(self) -> int:
        """Count the runs that share the computing."""
        return sum(run.wants_work for run in list(self._runs.values()))

    def save(self, run: Run) -> Future:
        """Make the content of a checkpoint file of the run's last whole step."""

        def job() -> bytes:
            run.interrupt()
            return checkpoint_bytes(run.trainer)

        return self.call(job)

    def call(self, job: Callable[[], object]) -> Future:
        """Do something on the compute thread, between two pieces of work."""
        future: Future = Future()
        with self._wake:
            if self._closing:
                future.set_exception(RuntimeError("The server is closing."))
            else:
                self._jobs.append((future, job))
            self._call_thread()
        return future

    def close(self) -> None:
        """End the compute thread after the piece under way."""
        with self._wake:
            self._closing = True
            for run in list(self._runs.values()):
                run.steps_wanted, run.state = 0, "stopped"
            self._call_thread()
        self._thread.join()

    def _call_thread(self) -> None:
        self._called = True
        self._wake.notify()

    # The compute thread.

    def _compute(self) -> None:
        self.slowdown = _measure_slowdown(self.device)
        while not self._closing:
            self._called = False
            self._do_jobs()
            self._admit()
            self._retire()
            working = [run for run in self._runs.values() if run.wants_work]
            for run in working:
                self._guard(run, lambda run=run: run.advance(_SLICE_SECONDS))
                self._learn_speed(run)
                self._draw(run)
                self._do_jobs()
            for run in list(self._runs.values()):
                self._draw(run)
            with self._wake:
                if not (working or self._called or self._line or self._closing):
                    self._wake.wait(timeout=1.0)
        self._do_jobs()

    def _learn_speed(self, run: Run) -> None:
        """Let what steps take here correct what they are thought to take."""
        if run.step_seconds:
            precision = resolve_precision(run.config.precision, self.device)
            seen = run.step_seconds / estimate(run.config, precision).step_seconds
            self.slowdown += 0.05 * (min(seen, _LARGEST_SLOWDOWN) - self.slowdown)

    def _do_jobs(self) -> None:
        while self._jobs:
            future, job = self._jobs.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except Exception as error:  # belongs to whoever waits for the future
                future.set_exception(error)

    def _guard(self, run: Run, work: Callable[[], None]) -> None:
        """Do a run's work; if it breaks, that run fails and the others go on."""
        try:
            work()
        except Exception as error:
            _log.exception("run failed")
            self._leave_line(run)
            run.state, run.steps_wanted = "failed", 0
            run.reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            run.version += 1

    def _draw(self, run: Run) -> None:
        if run.state != "failed" and run.picture_is_due(time.monotonic()):
            self._guard(run, run.draw_picture)

    def _admit(self) -> None:
        with self._wake:
            free = self.limits.active_runs - sum(
                run.state == "training" for run in self._runs.values()
            )
            for _ in range(min(free, len(self._line))):
                run = self._line.popleft()
                run.state, run.place = "training", 0
                run.version += 1
            for place, run in enumerate(self._line, start=1):
                if run.place != place:
                    run.place = place
                    run.version += 1

    def _retire(self) -> None:
        """End runs that used up their time or that nobody watches; forget old ones."""
        now = time.monotonic()
        for run in list(self._runs.values()):
            unwatched = now - run.watched_at
            if run.state in ACTIVE and unwatched > self.limits.unwatched_seconds:
                self.stop(run, "unwatched")
            elif run.wants_work and run.trainer.seconds > self.limits.budget_seconds:
                self.stop(run, "budget")
            elif unwatched > self.limits.kept_seconds:
                del self._runs[run.id]

    def _register(self, run: Run) -> Run:
        if len(self._runs) >= self.limits.kept_runs:
            now = time.monotonic()
            unused = [
                run
                for run in self._runs.values()
                if not run.wants_work and now - run.watched_at > _WATCHED_SECONDS
            ]
            if not unused:
                raise ServerFull(self.limits.kept_runs)
            del self._runs[min(unused, key=lambda run: run.watched_at).id]
        self._runs[run.id] = run
        return run

    def _stand_in_line(self, run: Run) -> Run:
        with self._wake:
            if run.state not in ACTIVE:
                run.state, run.reason, run.steps_wanted = "waiting", "", 0
                self._line.append(run)
                run.version += 1
        self._admit()
        return run

    def _leave_line(self, run: Run) -> None:
        with self._wake:
            if run in self._line:
                self._line.remove(run)
            run.place = 0

    def _estimate(self, config: TrainConfig) -> Cost:
        precision = resolve_precision(config.precision, self.device)
        return estimate(config, precision, self.slowdown)


def check_budget(
    config: TrainConfig, limits: Limits, estimate: Callable[[TrainConfig], Cost]
) -> Cost:
    """Return what a run will take, or refuse it with a value that would do.

    Raises:
        SettingError: over a limit.
    """
    cost = estimate(config)
    checks = (
        ("piece_seconds", limits.piece_seconds, "s", ("canvas", "hidden_channels", "kernel_size")),
        ("memory_mib", limits.memory_mib, "MiB", ("canvas", "hidden_channels")),
        ("run_seconds", limits.run_seconds, "s", ("epochs", "batches_per_epoch")),
    )
    for attribute, limit, unit, names in checks:
        if getattr(cost, attribute) <= limit:
            continue
        # The first setting that helps by itself, or else the first that can be lowered at all, and
        # the next one after it. Below 1 nothing can be asked for.
        advice = None
        for name in names:
            lower = config
            for lower in _lower_values(config, name):
                if getattr(estimate(lower), attribute) <= limit:
                    break
            helps = getattr(estimate(lower), attribute) <= limit
            if helps or (advice is None and lower is not config):
                advice = name, settings_of(lower)[name]
            if helps:
                break
        if advice:
            name, high = advice
            raise SettingError(
                name,
                settings_of(config)[name],
                "budget",
                high=high,
                cost=f"{getattr(cost, attribute):.2g} {unit}",
                limit=f"{limit:g} {unit}",
            )
    return cost


def _lower_values(config: TrainConfig, name: str) -> Iterator[TrainConfig]:
    """Yield the configuration with ever smaller values of one setting, as far as they are legal."""
    for value in range(settings_of(config)[name] - 1, 0, -1):
        with contextlib.suppress(SettingError):
            yield config_from({name: value}, config)


def _measure_slowdown(device: torch.device) -> float:
    """Time a training step here, over what the reference machine takes for it."""
    config = TrainConfig()
    trainer = Trainer(config, device)
    pieces = trainer.pieces()
    records = list(islice((record for record in pieces if record), 4))
    fastest = min(b.seconds - a.seconds for a, b in zip(records[1:], records[2:], strict=False))
    precision = resolve_precision(config.precision, device)
    measured = fastest / estimate(config, precision).step_seconds
    # A busy moment at start-up must not have every setting refused for the life of the server.
    return min(measured, _LARGEST_SLOWDOWN)
