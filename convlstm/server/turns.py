"""The one thread of a worker that computes: its runs take turns.

Whatever touches a model happens on that thread, between two pieces of work; all else may be called
from any thread.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import torch

from convlstm.devices import Threads
from convlstm.pieces import cancellable
from convlstm.server.inside import Insides
from convlstm.server.limits import Limits
from convlstm.server.run import ACTIVE, Run
from convlstm.server.runs import Runs
from convlstm.server.shelf import Shelf
from convlstm.server.snapshot import Viewer
from convlstm.server.thrown import Thrown
from convlstm.training.costs import estimate, step_seconds
from convlstm.training.trainer import Trainer

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 3.0  # that a piece under way may take at most when the server ends
_SLICE_SECONDS = 0.1  # of computing before the next run has its turn
_JOBS_SECONDS = 0.05  # that questions may take before runs have their turn
_JOBS_PAUSE = 3  # times what they took: all together leave three quarters to training
_DRAWING_PAUSE = 7  # times what a picture took: all together leave seven eighths to training
_REPORT_SECONDS = 0.1  # between two snapshots of a run that trains


class Turns:
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

    def working_runs(self) -> int:
        """Count the runs that share the computing."""
        return sum(run.wants_work for run in self._runs.all())

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

    def stop_study(self, run: Run) -> Future:
        """End a run's study, in mid-piece if need be; the run itself goes on."""

        def job() -> None:
            with self._wake:
                run.stop_study()

        job()  # at once, and once more behind a `study` that is still to be begun
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
        """End the compute thread after the piece under way; as a daemon it holds up no exit."""
        with self._wake:
            self._closing = True
            self._call_thread()
        self._thread.join(_CLOSE_SECONDS)
        self._runs.close()

    def _call_thread(self) -> None:
        self._called = True
        self._wake.notify()

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
