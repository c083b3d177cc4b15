"""A run: one person's training, how far it is, and what its viewers look at."""

import math
import secrets
import time
from typing import Literal

from convlstm.files.checkpoint import checkpoint_bytes, network_bytes
from convlstm.pieces import Cancelled, cancellable
from convlstm.scenes.drawing import Drawing
from convlstm.server.credit import Credit
from convlstm.server.facts import Facts
from convlstm.server.loan import Loan
from convlstm.server.pins import Pins
from convlstm.server.study import Study, begin
from convlstm.server.thrown import MOST_MIB, Thrown
from convlstm.server.view import Beyond, Shown, SpeedSample, StagePicture, View
from convlstm.settings import configure
from convlstm.training.config import TrainConfig
from convlstm.training.costs import estimate
from convlstm.training.trainer import Trainer

RunState = Literal[
    "idle",
    "waiting",
    "training",
    "paused",
    "stopped",
    "goal",
    "finished",
    "patience",
    "diverged",
    "failed",
]
ACTIVE: tuple[RunState, ...] = ("waiting", "training")
OVER: tuple[RunState, ...] = ("stopped", "goal", "finished", "patience", "diverged", "failed")

_PICTURE_SECONDS = 0.25  # between two pictures of a run that trains, at least
_PICTURE_SHARE = 20  # times what drawing one takes: viewers slow a training by a twentieth
WATCHED_SECONDS = 3.0  # after the last look at a run, its pictures are no longer drawn


class Run:
    """One person's run: a trainer, how far it is, and what its viewers look at.

    Attributes:
        id: unguessable name; whoever has it may steer the run.
        trainer: what trains; another one after a reset.
        view: the sequences that viewers may look at.
        state: what it is doing.
        reason: why the server stopped or failed it, else empty.
        version: grows with every change that a viewer could see.
        steps_done: records that viewers may read; the trainer's last one may be unfinished.
        place: place in line while waiting, from 1.
        sample: which of the view's sequences is shown, from 0.
        instead: what is shown instead of that, or None.
        resumed: steps at which it went on after a worker had died.
        snapshot: what its viewers are told, as of some version; or None before the first.
        picture: the latest picture, or None before the first.
        shipped: whether it shows a model that was trained before, untouched.
        chosen: whether its settings are somebody's choice, and not those of the page's first model.
        told_at: when its last snapshot was made.
        watched_at: when somebody last wanted to know of it.
        looked_at: when somebody last looked at its pictures.
        loan: of another process that computes it meanwhile; None while it is computed here.
        study: the newest long question about its network, or None.
        facts: what was done in the lesson that it belongs to; None outside of lessons.
        pins: the runs that are pinned beside it; a reset leaves them.
        thrown: the training that its last reset threw away, or None.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        shipped: bool = False,
        run_id: str | None = None,
        facts: Facts | None = None,
        watched: bool = True,
    ) -> None:
        self.id = run_id or secrets.token_urlsafe(16)
        self.sample = 0
        self.instead: Drawing | SpeedSample | Beyond | None = None
        self.version = 0
        self.watched_at = self.looked_at = time.monotonic() if watched else -math.inf
        self.loan: Loan | None = None
        self.study: Study | None = None
        self.facts = facts
        self.pins = Pins()
        self.replace_trainer(trainer, shipped=shipped)
        self.chosen = not shipped

    def replace_trainer(self, trainer: Trainer, *, shipped: bool = False) -> None:
        """Begin anew with another trainer; viewers stay."""
        if self.loan:
            self.loan.desk.end()
            self.loan = None  # what it brings is of another training
        self.snapshot: tuple[int, dict[str, object]] | None = None  # the old one is another's
        self.trainer, self.shipped, self.chosen = trainer, shipped, True
        self.state: RunState = trainer.ended or ("paused" if trainer.step else "idle")
        self.reason = ""
        self.resumed: tuple[int, ...] = ()
        self._changes: dict[str, float] = {}
        self.place = 0
        self.steps_done = trainer.step - trainer.evaluation_is_due
        self.steps_wanted = 0  # by Step: train until so many more records have come
        self.step_seconds: float | None = None
        self._seconds = trainer.seconds
        self._trains, self._studies = Credit(), Credit()
        self.stop_study()
        self.study = None  # of a network that is gone
        self.picture: StagePicture | None = None
        self._pictured: tuple[object, ...] = ()
        self._pictured_at = self.told_at = -math.inf
        self._picture_pause = _PICTURE_SECONDS
        self._pieces, self._is_between = trainer.pieces(), True
        self.view = View(trainer)
        self._trainer_mib = estimate(trainer.config, trainer.precision).kept_mib
        self.thrown: Thrown | None = None
        self.version += 1

    @property
    def config(self) -> TrainConfig:
        """The settings the run has now."""
        return self.trainer.config

    @property
    def wanted(self) -> TrainConfig:
        """The settings that it will have after the step under way."""
        return configure(self._changes, self.config) if self._changes else self.config

    @property
    def kept_mib(self) -> float:
        """Memory that it holds, or comes to hold, between two steps, MiB."""
        return self._trainer_mib + self.pins.mib + (self.thrown.mib if self.thrown else 0.0)

    @property
    def shown(self) -> Shown:
        """What its viewers look at."""
        return self.sample if self.instead is None else self.instead

    def show(self, shown: Shown) -> None:
        """Show its viewers something else; a sample is what they come back to."""
        if isinstance(shown, int):
            self.sample, self.instead = shown, None
        else:
            self.instead = shown

    @property
    def is_over(self) -> bool:
        """Whether to train here means to begin anew."""
        return self.shipped or self.state in OVER

    def begins_anew_with(self, config: TrainConfig) -> bool:
        """Whether to train with these settings takes a new trainer, and throws nothing away."""
        return self.is_over or (self.state == "idle" and config != self.wanted)

    def to_throw(self) -> Thrown | None:
        """Return what is to be kept of a training before a reset; None where it learnt nothing."""
        if self.shipped or not self.trainer.step:
            return None
        thrown = Thrown(self.content(), self.state, self.reason, self.resumed)
        return thrown if thrown.mib <= MOST_MIB else None

    def keep(self, thrown: Thrown | None) -> None:
        """Keep a training that was thrown away."""
        self.thrown = thrown

    def stand_as(self, thrown: Thrown) -> None:
        """Be what a training was before it was thrown away; one that went on is paused."""
        if thrown.state in OVER and not self.trainer.ended:
            self.state, self.reason = thrown.state, thrown.reason
        self.resumed = thrown.resumed

    @property
    def wants_training(self) -> bool:
        """Whether the compute thread has something to train here."""
        return self.loan is None and (self.state == "training" or self.steps_wanted > 0)

    @property
    def is_studied(self) -> bool:
        """Whether a question about its network is being answered."""
        return self.study is not None and self.study.is_running

    @property
    def wants_work(self) -> bool:
        """Whether the compute thread has something to compute here."""
        return self.wants_training or self.is_studied

    @property
    def is_wanted_back(self) -> bool:
        """Whether what a viewer wants of a lent run has to be done here."""
        return self.state != "training" or bool(self._changes)

    def take_over(self, trainer: Trainer) -> None:
        """Be as far as another process has brought the run; all else stays as it is."""
        self._pieces.close()
        self.trainer, self._pieces, self._is_between = trainer, trainer.pieces(), True
        self.steps_done = trainer.step - trainer.evaluation_is_due
        self._seconds = trainer.seconds
        self.version += 1

    def come_back(self, *, died: bool) -> None:
        """Compute here again; what was asked for meanwhile is done now.

        Args:
            died: whether some of what was computed elsewhere is lost.
        """
        self.loan = None
        if self.trainer.ended:
            self._changes, self.steps_wanted = {}, 0
            if self.state in (*ACTIVE, "paused"):
                self.state = self.trainer.ended
        elif died:
            self.resumed = (*self.resumed, self.trainer.step)
        if self._changes:
            self._change_now()
        self.version += 1

    def take_turn(self, seconds: float) -> None:
        """Compute for so many seconds, half of them for a study where there are both."""
        trains, studies = self.wants_training, self.is_studied
        share = seconds / (trains + studies or 1)
        if trains:
            self._trains.spend(share, self.advance)
        if studies:
            self._studies.spend(share, self.advance_study)

    def ask(self, kind: str, options: object) -> None:
        """Begin a study; one that is under way ends.

        Raises:
            SettingError: an option is refused; nothing changed.
        """
        study = begin(kind, self.trainer, options)
        self.stop_study()
        self.study = study
        self.version += 1

    def advance_study(self, seconds: float) -> None:
        """Go on with the study for about so many seconds."""
        if self.is_studied:
            self.study.advance(seconds)
            self.version += 1

    def stop_study(self) -> None:
        """End the study, if one is under way."""
        if self.is_studied:
            self.study.stop()
            self.version += 1

    def note_facts(self) -> None:
        """Note what is new for the lesson that it belongs to."""
        if self.facts and self.facts.note(self.trainer, self.study, shipped=self.shipped):
            self.version += 1

    def advance(self, seconds: float) -> None:
        """Train for about so many seconds; the last piece is finished."""
        started = time.perf_counter()
        while self.wants_training and time.perf_counter() - started < seconds:
            try:
                with cancellable(lambda: self.state != "stopped"):
                    record = next(self._pieces, None)
            except Cancelled:
                self.interrupt()
                return
            self._is_between = record is not None
            if self._changes and self._is_between:
                self._change_now()
            if record is None:
                if self.trainer.ended:  # a pause or a stop crossed the last step
                    self.state, self.steps_wanted = self.trainer.ended, 0
                    self.version += 1
                continue
            taken = record.seconds - self._seconds
            self._seconds = record.seconds
            self.step_seconds = (
                taken if self.step_seconds is None else (0.9 * self.step_seconds + 0.1 * taken)
            )
            self.steps_wanted = max(0, self.steps_wanted - 1)
            self.steps_done = record.step
            if record.ended:
                self.state, self.steps_wanted = record.ended, 0
            self.version += 1

    def call_in(self, seconds: float) -> None:
        """Compute here again if nothing was heard for so long of who computes it."""
        if self.loan and time.monotonic() - self.loan.heard_at > seconds:
            self.loan.desk.end()
            self.come_back(died=True)

    def content(self) -> bytes:
        """Make the content of a checkpoint file, as of the last whole step."""
        trainer = self.trainer
        return checkpoint_bytes(trainer) if trainer.step else network_bytes(trainer)

    def interrupt(self) -> None:
        """Go back to the last whole step, so that the trainer may be left."""
        self._pieces.close()
        self._pieces = self.trainer.pieces()
        self._is_between = True

    def change(self, **settings: float) -> None:
        """Change speed or learning rate after the step under way, which nobody breaks off."""
        self._changes |= settings
        if self.loan:  # whatever comes back would know nothing of it
            return
        if self._is_between or not self.wants_training:
            if not self._is_between:
                self.interrupt()
            self._change_now()

    def _change_now(self) -> None:
        settings, self._changes = self._changes, {}
        self.trainer.change(**settings)
        if "speed" in settings:
            self.view = View(self.trainer)
        self.version += 1

    def is_watched(self, now: float) -> bool:
        """Whether somebody wants to know of it."""
        return now - self.watched_at <= WATCHED_SECONDS

    def picture_is_due(self, now: float) -> bool:
        """Whether somebody looks and would see something new."""
        if now - self.looked_at > WATCHED_SECONDS or self._pictured == self._pictures():
            return False
        if self.loan and isinstance(self.shown, int):  # whoever computes it draws it, too
            return False
        waits = self.wants_training and self._pictured[:-1] == self._pictures()[:-1]
        return not waits or now - self._pictured_at >= self._picture_pause

    def draw_picture(self) -> None:
        """Predict the sequence that viewers look at; left if the run's state changes meanwhile."""
        started, shown, state = time.monotonic(), self._pictures(), self.state
        try:
            with cancellable(lambda: self.state == state):
                self.picture = self.view.draw(self.trainer, shown[1])
        except Cancelled:
            return
        self._pictured, self._pictured_at = shown, time.monotonic()
        taken = self._pictured_at - started
        self._picture_pause = max(_PICTURE_SECONDS, _PICTURE_SHARE * taken)
        self.version += 1

    def _pictures(self) -> tuple[object, ...]:
        """What the picture depends on; the step comes last."""
        return self.config.scene, self.shown, self.trainer.step
