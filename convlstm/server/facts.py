"""What a person has done in a lesson, kept with the run that it was done in."""

import math
from collections.abc import Mapping

from convlstm.checks import check_names
from convlstm.server.lessons import (
    FOLLOWED,
    Fact,
    Lesson,
    followed_speeds,
    is_forgetting,
    lesson_of,
)
from convlstm.server.study import Study
from convlstm.settings import differences, settings_of
from convlstm.training.trainer import Trainer

_MOST = 24  # facts; of more, the oldest are forgotten, but never what was found by them


class Facts:
    """The facts of one run in a lesson; on the compute thread.

    Args:
        lesson: which one.

    Attributes:
        lesson: which one.
        guess: what was answered before, or None.
        answers: what was answered last after that.
        facts: what happened, oldest first.
        done: the names of the steps that were done; they stay so.
    """

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson
        self.guess: dict[str, object] | None = None
        self.answers: dict[str, object] = {}
        self.facts: tuple[Fact, ...] = ()
        self.done: tuple[str, ...] = ()
        self._begun: Trainer | None = None  # the newest that was seen
        self._ended: Trainer | None = None  # the newest whose end was noted
        self._answered: Study | None = None  # likewise

    @property
    def is_found(self) -> bool:
        """Whether something was guessed, and everything done."""
        return self.guess is not None and len(self.done) == len(self.lesson.steps)

    def answer(self, given: object) -> None:
        """Take in a guess, or, once there is one, answers.

        Raises:
            SettingError: it does not answer what is asked; nothing changed.
        """
        questions = self.lesson.guesses if self.guess is None else self.lesson.answers
        given = check_names(given, [question.name for question in questions])
        checked = {each.name: each.check(given.get(each.name)) for each in questions}
        if self.guess is None:
            self.guess = checked
        else:
            self.answers = checked
        self._judge()

    def note(self, trainer: Trainer, study: Study | None, *, shipped: bool) -> bool:
        """Note what is new of a run; return whether anything is.

        Args:
            trainer: the run's.
            study: its newest question, or None.
            shipped: whether it shows a shipped network, untouched.
        """
        before = self.facts
        if trainer is not self._begun:
            self._begun = trainer
            if not (trainer.step or shipped) and (begun := self.lesson.at_start(trainer)):
                self._add(begun)
        if trainer.ended and not trainer.evaluation_is_due and self._ended is not trainer:
            self._ended = trainer
            self._add(self._trained(trainer))
        if study is not None and study is not self._answered and study.state == "done":
            self._answered = study
            self._add(_answered(study.told()))
        return self.facts is not before

    def experimented(self, experiment: object, before: list[float], after: list[float]) -> bool:
        """Note what a change inside the network did to its error, by lead time.

        Returns:
            Whether that is new.
        """
        known = self.facts
        means = {"before": sum(before) / len(before), "after": sum(after) / len(after)}
        self._add({"kind": "inside", "forgets": is_forgetting(experiment), **means})
        return self.facts is not known

    def told(self) -> dict[str, object]:
        """Return what viewers are told."""
        newest: dict[str, Fact] = {}
        for fact in self.facts:
            newest[_slot(fact)] = fact
        return {
            "key": self.lesson.key,
            "guess": self.guess,
            "answers": self.answers,
            "done": list(self.done),
            "found": self.is_found,
            "facts": list(newest.values()),
        }

    def kept(self) -> dict[str, object]:
        """Return all of it as JSON can say it."""
        return {
            "key": self.lesson.key,
            "guess": self.guess,
            "answers": self.answers,
            "facts": list(self.facts),
            "done": list(self.done),
        }

    @classmethod
    def of(cls, kept: Mapping[str, object]) -> "Facts":
        """Make again what was kept.

        Raises:
            SettingError: there is no such lesson.
        """
        facts = cls(lesson_of(kept["key"]))
        facts.guess, facts.answers = kept["guess"], kept["answers"]
        facts.facts, facts.done = tuple(kept["facts"]), tuple(kept["done"])
        return facts

    def _trained(self, trainer: Trainer) -> Fact | None:
        """Say how a training ended; None where its settings are not the lesson's."""
        config, unlocked = trainer.config, self.lesson.unlocked
        changed = set(differences(self.lesson.config, config)) - {"seed"}
        if not changed <= set(unlocked) or trainer.changes:
            return None
        evaluation = next((r.evaluation for r in reversed(trainer.records) if r.evaluation), None)
        if evaluation is None or not math.isfinite(evaluation.model.mse):  # diverged at once
            return None
        return {
            "kind": "trained",
            "settings": {name: settings_of(config)[name] for name in unlocked},
            "ended": trainer.ended,
            "reach": config.network.reach,
            "speed": config.scene.pace,
            "skill": evaluation.skill,
            "error": config.scene.measure.of(evaluation.model.mse),
            "ssim": evaluation.model.ssim,
            **self.lesson.at_end(trainer),
        }

    def _add(self, fact: Fact | None) -> None:
        if fact is not None and fact not in self.facts:
            self.facts = (*self.facts, fact)[-_MOST:]
            self._judge()

    def _judge(self) -> None:
        self.done = tuple(
            step.name
            for step in self.lesson.steps
            if step.name in self.done or step.is_done(self.facts, self.answers)
        )


def _answered(told: Mapping[str, object]) -> Fact | None:
    if told["kind"] != "speed":
        return None
    result = told["result"]
    return {
        "kind": "speeds",
        "followed": followed_speeds(result, FOLLOWED),
        "beaten": followed_speeds(result),
    }


def _slot(fact: Fact) -> str:
    """Facts of one slot replace each other in what is told."""
    return f"{fact['kind']} {fact.get('settings')}"
