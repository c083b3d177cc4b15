"""The owner of a worker's runs: one compute thread that takes turns over them.

A browser tab only watches. Everything here may be called from any thread; whatever touches a model
happens on the compute thread, between two pieces of work.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import torch

from convlstm.checks import SettingError, check_choice
from convlstm.devices import Threads, resolve_precision
from convlstm.files.checkpoint import network_bytes, read_checkpoint
from convlstm.pieces import cancellable
from convlstm.scenes.drawing import make_drawing
from convlstm.server.budget import check_budget
from convlstm.server.facts import Facts
from convlstm.server.inside import Insides
from convlstm.server.limits import Limits
from convlstm.server.opening import new_trainer, trainer_of
from convlstm.server.run import ACTIVE, WATCHED_SECONDS, Run
from convlstm.server.runs import Runs, ServerFull
from convlstm.server.shelf import Shelf
from convlstm.server.snapshot import Viewer, told_of
from convlstm.server.study import STUDIES
from convlstm.server.thrown import Thrown
from convlstm.settings import configure, differences
from convlstm.training.config import CHANGEABLE, TrainConfig
from convlstm.training.costs import Cost, estimate, step_seconds
from convlstm.training.presets import first_config
from convlstm.training.trainer import Trainer

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 3.0  # that a piece under way may take at most when the server ends
_SLICE_SECONDS = 0.1  # of computing before the next run has its turn
_JOBS_SECONDS = 0.05  # that questions may take before runs have their turn
_JOBS_PAUSE = 3  # times what they took: all together leave three quarters to training
_DRAWING_PAUSE = 7  # times what a picture took: all together leave seven eighths to training
_REPORT_SECONDS = 0.1  # between two snapshots of a run that trains


class ResetNeeded(ValueError):
    """Settings that a run under way cannot take on.

    Attributes:
        names: those settings.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(f"{', '.join(names)} changed: reset the run to train with it.")


class Scheduler:
    """Owns the runs of one device and the one thread that computes.

    Args:
        device: where the runs compute.
        limits: what the server takes on.
        shelf: where runs are kept, and found again; None keeps none.
        computes: told the id of the run whose turn it is, before its turn.
        kept: told a run's id and the step from which it would go on.
        broke: told that the compute thread has come to its end by an error of its own, and not of
            a run's.
        blamed: runs that have killed their worker; they are found again as failed.
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        limits: Limits | None = None,
        shelf: Shelf | None = None,
        *,
        computes: Callable[[str], None] = lambda run_id: None,
        kept: Callable[[str, int], None] = lambda run_id, step: None,
        broke: Callable[[], None] = lambda: None,
        blamed: frozenset[str] = frozenset(),
    ) -> None:
        self.device = torch.device(device)
        self.limits = limits or Limits()
        self.slowdown, self._speeds_seen = 1.0, 0
        self._computes, self._broke = computes, broke
        self._runs = Runs(self.limits, self.device, shelf, kept)
        self._viewers: dict[str, Viewer] = {}
        self._insides = Insides()
        self._line: deque[Run] = deque()
        self._jobs: deque[tuple[Future, Callable[[], object]]] = deque()
        self._wake = threading.Condition(threading.RLock())
        self._draws_from = self._jobs_from = 0.0
        self._closing = False
        self._called = False  # since the compute thread last looked round
        for run in self._runs.find(blamed):
            run.state = "waiting"
            self._line.append(run)
        self._thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self._thread.start()

    # What a page asks for; each returns at once, with a Future where the compute thread has a part.

    def get(self, run_id: object) -> Run | None:
        """Return the run of that id if it is in memory, or None."""
        return self._runs.get(run_id)

    def is_away(self, run_id: object) -> bool:
        """Whether a run is put away: `bring_back` brings it."""
        return self._runs.is_away(run_id)

    def bring_back(self, run_id: str) -> Future:
        """Take a run into memory again; its result is the run, or None if it is lost."""
        return self.call(lambda: self._runs.bring_back(run_id))

    def open(
        self,
        make_trainer: Callable[[], Trainer],
        *,
        shipped: bool = False,
        facts: Facts | None = None,
    ) -> Future:
        """Register a new run around a trainer that is made on the compute thread.

        Args:
            make_trainer: makes it.
            shipped: whether it shows a model that was trained before.
            facts: of the lesson that it is for, if any.
        """

        def job() -> Run:
            run = Run(make_trainer(), shipped=shipped, facts=facts)
            run.sample = facts.lesson.sample if facts else 0
            return self._runs.register(run)

        return self.call(job)

    def replace(
        self, run: Run, make_trainer: Callable[[], Trainer], *, shipped: bool = False
    ) -> Future:
        """Give a run another trainer; if making it fails, the run is as it was."""
        return self.call(lambda: self._give(run, make_trainer(), shipped=shipped))

    def check(self, config: TrainConfig) -> Cost:
        """Estimate what a run takes here, or refuse it.

        Raises:
            SettingError: it is over a limit; names a value to lower, and to what.
        """
        precision = resolve_precision(config.precision, self.device)
        return check_budget(config, precision, self.limits).slowed(self.slowdown)

    def train(self, run: Run, settings: object) -> Future:
        """Go on with a paused run, or begin a new one with these settings.

        Raises:
            SettingError: a setting is refused; nothing changed.
            ResetNeeded: the run is paused and these settings are not its own.
        """
        config = _configured(run, settings)
        self.check(config)
        if run.state in ACTIVE:
            return self.call(lambda: run)
        if not run.begins_anew_with(config):
            self.adjust(run, config)
            return self.call(lambda: self._stand_in_line(run))

        def job() -> Run:
            if run.state not in ACTIVE:  # or somebody pressed twice
                self._begin(run, config)
            return self._stand_in_line(run)

        return self.call(job)

    def reset(self, run: Run, settings: object) -> Future:
        """Throw a run's training away and stand ready with these settings."""
        config = _configured(run, settings)
        self.check(config)

        def job() -> Run:
            trainer, thrown = self._anew(run, config), run.to_throw()
            try:
                return self._give(run, trainer, thrown=thrown)
            except ServerFull:  # no memory to keep anything
                return self._give(run, trainer)

        return self.call(job)

    def undo(self, run: Run) -> Future:
        """Bring back what the last reset threw away; its result says whether there was anything."""

        def job() -> bool:
            thrown = run.thrown
            if thrown:
                self._give(run, trainer_of(read_checkpoint(thrown.content), self.device))
                run.stand_as(thrown)
            return thrown is not None

        return self.call(job)

    def adjust(self, run: Run, config: TrainConfig) -> None:
        """Take over changed speed and learning rate.

        Raises:
            ResetNeeded: something else changed too; nothing is taken over.
        """
        new = {name: value for name, (_, value) in differences(run.wanted, config).items()}
        if others := [name for name in new if name not in CHANGEABLE]:
            raise ResetNeeded(others)
        if new:
            self.call(lambda: run.change(**new))

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
        config = _configured(run, settings)
        self.check(config)
        fresh = run.begins_anew_with(config)
        if not fresh:
            self.adjust(run, config)

        def job() -> Run:
            if fresh and run.begins_anew_with(config):  # or somebody pressed twice
                self._begin(run, config)
            self._leave_line(run)
            run.state, run.steps_wanted = "paused", run.steps_wanted + 1
            run.version += 1
            return run

        return self.call(job)

    def stop(self, run: Run, reason: str = "") -> Future:
        """End a run's computing after the piece under way; its last state stays."""

        def end() -> None:
            with self._wake:
                run.stop_study()
                if run.state in ACTIVE or run.state == "paused":
                    self._leave_line(run)
                    run.state, run.reason, run.steps_wanted = "stopped", reason, 0
                    run.version += 1

        def job() -> None:
            end()
            run.interrupt()

        end()  # at once, and once more behind a `train` that is still to be done
        return self.call(job)

    def study(self, run: Run, kind: object, options: object = None) -> Future:
        """Begin a long question about a run's network as it is now.

        It is answered in the run's own turns; its future is done when it has begun.

        Args:
            run: whose network.
            kind: of `STUDIES`.
            options: of that kind.

        Raises:
            SettingError: there is no such kind. An option that is refused is the future's.
        """
        kind = check_choice("kind", kind, STUDIES)
        return self.call(lambda: run.ask(kind, options))

    def stop_study(self, run: Run) -> Future:
        """End a run's study, in mid-piece if need be; the run itself goes on."""

        def job() -> None:
            with self._wake:
                run.stop_study()

        job()  # at once, and once more behind a `study` that is still to be begun
        return self.call(job)

    def pin(self, run: Run) -> Future:
        """Keep what a run's network is now, and its curve and scores, beside the run.

        Its future may hold a SettingError, where as many are pinned as may be, or a ServerFull.
        """

        def job() -> None:
            content = network_bytes(run.trainer, best=False)
            run.pins.check_room(content)
            self._runs.make_room(run.kept_mib + len(content) / 2**20, run)
            run.pins.add(told_of(run), content)
            run.version += 1

        return self.call(job)

    def unpin(self, run: Run, number: object) -> Future:
        """Forget a pinned run; the future may hold a SettingError."""

        def job() -> None:
            run.pins.remove(number)
            run.version += 1

        return self.call(job)

    def look(self, run: Run, sample: object, speed: object = None) -> None:
        """Choose the sequence that a run's viewers see.

        Args:
            run: whose viewers.
            sample: which of the view's, or of the speed test's, from 0; or "beyond".
            speed: of those, px a frame; None for the view's.

        Raises:
            SettingError: a value is out of range, or nothing in the scene has a speed.
        """
        shown = run.view.choice(sample, speed)
        with self._wake:
            run.show(shown)
            run.watched_at = run.looked_at = time.monotonic()
            self._call_thread()

    def draw(self, run: Run, pixels: object, angle: object) -> None:
        """Show a run's viewers a digit that one of them has drawn, instead of a sample.

        Raises:
            SettingError: it is no drawing, or the run's scene has no digits.
        """
        if not run.config.scene.look.drawable:
            raise SettingError("drawing", "a digit", "needs digits")
        drawing = make_drawing(pixels, angle)
        with self._wake:
            run.show(drawing)
            run.watched_at = run.looked_at = time.monotonic()
            self._call_thread()

    def watch(self, run: Run, *, looks: bool = True) -> None:
        """Say that somebody wants to know of a run: it is kept.

        Args:
            run: which one.
            looks: whether at its pictures, too; only then they are drawn.
        """
        with self._wake:
            now = time.monotonic()
            if not run.is_watched(now) or (looks and now - run.looked_at > WATCHED_SECONDS):
                self._call_thread()
            run.watched_at = now
            if looks:
                run.looked_at = now

    def watched(self) -> list[Run]:
        """Return the runs that somebody looks at."""
        now = time.monotonic()
        return [run for run in self._runs.all() if run.is_watched(now)]

    def steps(self) -> dict[str, int]:
        """Return the ids of all runs, and how far each is."""
        return self._runs.steps()

    def working_runs(self) -> int:
        """Count the runs that share the computing."""
        return sum(run.wants_work for run in self._runs.all())

    def look_inside(self, run: Run, asked: object) -> Future:
        """Answer a viewer who looks inside a run's network; as `Insides.look`."""
        return self.call(lambda: self._insides.look(run, asked))

    def answer(self, run: Run, given: object) -> Future:
        """Take in a guess, or answers, in the lesson that a run belongs to.

        Its result is refused by a `SettingError` where it does not answer what is asked.
        """

        def job() -> None:
            run.facts.answer(given)
            run.version += 1

        return self.call(job)

    def save(self, run: Run) -> Future:
        """Make the content of a checkpoint file of the run's last whole step."""
        return self.call(run.content)

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
        """End the compute thread after the piece under way; as a daemon it holds up no exit."""
        with self._wake:
            self._closing = True
            self._call_thread()
        self._thread.join(_CLOSE_SECONDS)
        self._runs.close()

    def _call_thread(self) -> None:
        self._called = True
        self._wake.notify()

    # The compute thread.

    def _work(self) -> None:
        try:
            with cancellable(lambda: not self._closing):
                self._compute()
        except BaseException:
            _log.exception("the compute thread broke")
            self._broke()
            raise

    def _compute(self) -> None:
        threads = Threads()
        while not self._closing:
            threads.adapt()
            self._called = False
            self._do_jobs()
            self._admit()
            self._retire()
            working = [run for run in self._runs.all() if run.wants_work]
            for run in working:
                self._tell(run)  # before its first piece, which may take a while
                self._computes(run.id)
                trains = run.wants_training
                self._guard(run, lambda run=run: run.take_turn(_SLICE_SECONDS))
                if trains:
                    self._learn_speed(run)
                self._do_jobs()
                self._show(run)
                if self._closing:
                    break
            for run in self._runs.all():
                self._show(run)
            if not working:
                self._computes("")
            with self._wake:
                if not (working or self._called or self._jobs or self._line or self._closing):
                    self._wake.wait(timeout=1.0)
        while self._jobs:
            self._do_jobs()
        for run in self._runs.all():
            self._guard(run, lambda run=run: self._runs.keep(run, at_once=True))

    def _learn_speed(self, run: Run) -> None:
        """Let what steps take here correct what they are thought to take."""
        if run.step_seconds and run.trainer.last.horizon == run.config.horizon:
            trainer = run.trainer
            thought = step_seconds(run.config, trainer.precision, trainer.last.progress)
            seen = run.step_seconds / thought
            self._speeds_seen += 1
            self.slowdown += max(0.02, 1 / self._speeds_seen) * (seen - self.slowdown)

    def _do_jobs(self) -> None:
        """Do what was asked for; a flood of it waits while runs have their turns."""
        started = time.monotonic()
        if started < self._jobs_from and self.working_runs():
            return
        while self._jobs and time.monotonic() - started < _JOBS_SECONDS:
            future, job = self._jobs.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except Exception as error:  # belongs to whoever waits for the future
                future.set_exception(error)
        done = time.monotonic()
        self._jobs_from = done + _JOBS_PAUSE * (done - started)

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

    def _show(self, run: Run) -> None:
        """Draw what viewers look at, tell them, and keep the run."""
        self._guard(run, run.note_facts)
        now = time.monotonic()
        may_draw = now >= self._draws_from or not self.working_runs()
        if run.state != "failed" and may_draw and run.picture_is_due(now):
            self._tell(run)  # a picture may take a while
            self._computes(run.id)
            self._guard(run, run.draw_picture)
            done = time.monotonic()
            self._draws_from = done + _DRAWING_PAUSE * (done - now)
        self._tell(run)
        self._guard(run, lambda: self._runs.keep(run))

    def _tell(self, run: Run) -> None:
        """Make what viewers are told, if there is something new and somebody to be told."""
        now, told = time.monotonic(), run.snapshot[0] if run.snapshot else None
        waits = run.wants_work and now - run.told_at < _REPORT_SECONDS
        if not run.is_watched(now) or told == run.version or waits:
            return
        run.told_at, version = now, run.version  # before: what changes meanwhile is told next time

        def tell() -> None:
            viewer = self._viewers.get(run.id)
            if viewer is None or viewer.run is not run:  # it was put away meanwhile
                viewer = self._viewers[run.id] = Viewer(run)
            snapshot = viewer.snapshot(self.working_runs())
            if run.loan:
                snapshot = run.loan.told(snapshot, keeps_picture=not isinstance(run.shown, int))
            run.snapshot = version, snapshot

        self._guard(run, tell)

    def _admit(self) -> None:
        with self._wake:
            free = self.limits.active_runs - sum(
                run.state == "training" for run in self._runs.all()
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
        for run in self._runs.all():
            run.call_in(self.limits.lent_seconds)
            if run.state in ACTIVE and now - run.watched_at > self.limits.unwatched_seconds:
                self.stop(run, "unwatched")
            elif run.is_studied and now - run.watched_at > self.limits.unwatched_seconds:
                self.stop_study(run)
            elif run.wants_training and run.trainer.seconds > self.limits.budget_seconds:
                self.stop(run, "budget")
        for run in self._runs.forget_old():
            self._leave_line(run)
        self._insides.forget_old()
        for run_id in self._viewers.keys() - {run.id for run in self._runs.all()}:
            del self._viewers[run_id]

    def _begin(self, run: Run, config: TrainConfig) -> None:
        """Begin anew; what a reset threw away may still be brought back."""
        self._give(run, self._anew(run, config), thrown=None if run.is_over else run.thrown)

    def _give(
        self, run: Run, trainer: Trainer, *, shipped: bool = False, thrown: Thrown | None = None
    ) -> Run:
        """Give a run another trainer, if there is memory for it, and for what is thrown away."""
        needed = estimate(trainer.config, trainer.precision).kept_mib + run.pins.mib
        self._runs.make_room(needed + (thrown.mib if thrown else 0.0), run)
        self._leave_line(run)
        run.interrupt()
        run.replace_trainer(trainer, shipped=shipped)
        run.keep(thrown)
        return run

    def _anew(self, run: Run, config: TrainConfig) -> Trainer:
        """Make the trainer with which a run begins anew."""
        return new_trainer(config, self.device, run.facts and run.facts.lesson)

    def _stand_in_line(self, run: Run) -> Run:
        with self._wake:
            if run.state not in ACTIVE:
                run.state, run.reason, run.steps_wanted = "waiting", "", 0
                self._line.append(run)
                run.version += 1
        self._admit()
        self._guard(run, lambda: self._runs.keep(run))
        return run

    def _leave_line(self, run: Run) -> None:
        with self._wake:
            if run in self._line:
                self._line.remove(run)
            run.place = 0


def _configured(run: Run, settings: object) -> TrainConfig:
    """Make a configuration of a run's scene."""
    return configure(settings, first_config(run.config.scene))
