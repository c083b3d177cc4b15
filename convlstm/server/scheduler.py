"""What may be asked of a worker's runs.

A browser tab only watches. Everything here may be called from any thread, and returns at once: with
a Future where the compute thread has a part.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future

from convlstm.checks import SettingError, check_choice
from convlstm.devices import resolve_precision
from convlstm.files.checkpoint import network_bytes
from convlstm.files.reading import read_checkpoint
from convlstm.scenes.drawing import make_drawing
from convlstm.server.budget import check_budget
from convlstm.server.facts import Facts
from convlstm.server.opening import new_trainer, trainer_of
from convlstm.server.run import ACTIVE, WATCHED_SECONDS, Run
from convlstm.server.runs import ServerFull
from convlstm.server.snapshot import told_of
from convlstm.server.study import STUDIES
from convlstm.server.turns import Turns
from convlstm.settings import configure, differences
from convlstm.training.config import CHANGEABLE, TrainConfig
from convlstm.training.costs import Cost
from convlstm.training.presets import first_config
from convlstm.training.trainer import Trainer


class ResetNeeded(ValueError):
    """Settings that a run under way cannot take on.

    Attributes:
        names: those settings.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(f"{', '.join(names)} changed: reset the run to train with it.")


class Scheduler(Turns):
    """Answers what pages ask of the runs of one device; as `Turns`, it computes them."""

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
        watched: bool = True,
    ) -> Future:
        """Register a new run around a trainer that is made on the compute thread.

        Args:
            make_trainer: makes it.
            shipped: whether it shows a model that was trained before.
            facts: of the lesson that it is for, if any.
            watched: whether somebody looks at it from the start; pictures are made for nobody else.
        """

        def job() -> Run:
            run = Run(make_trainer(), shipped=shipped, facts=facts, watched=watched)
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

    def _begin(self, run: Run, config: TrainConfig) -> None:
        """Begin anew; what a reset threw away may still be brought back."""
        self._give(run, self._anew(run, config), thrown=None if run.is_over else run.thrown)

    def _anew(self, run: Run, config: TrainConfig) -> Trainer:
        """Make the trainer with which a run begins anew."""
        return new_trainer(config, self.device, run.facts and run.facts.lesson)


def _configured(run: Run, settings: object) -> TrainConfig:
    """Make a configuration of a run's scene."""
    return configure(settings, first_config(run.config.scene))
