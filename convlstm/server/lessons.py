"""The lessons: what each begins with, leaves open, asks first, and counts as found.

A lesson is played on the real page, in a run of its own. What a person has done there are facts of
that run (`facts`), and only they decide; which controls are locked is the page's courtesy.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from convlstm.checks import SettingError, check_choice, check_integer, check_number
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.settings import configure, settings_of
from convlstm.training.at_wall import wall_error
from convlstm.training.config import TrainConfig
from convlstm.training.metrics import mean_of
from convlstm.training.presets import default_config, preset
from convlstm.training.sharpness import sharpness
from convlstm.training.trainer import Trainer
from convlstm.training.validation import baseline_tables

# One thing that happened: "kind", and plain numbers and words.
Fact = Mapping[str, object]
Facts = tuple[Fact, ...]

# docs/measurements.md says from what these were chosen, and what runs of other seeds came to.
GOOD_SKILL = 0.7
FAR_SKILL = 0.8  # that takes as much reach as the square has speed
BLACK_SSIM = 0.7
WALL_RATIO = 3.0
MEMORY_RATIO = 3.0
FOLLOWED = 0.5  # of the better baseline's error; a speed with less was followed
_SPEEDS = range(8)  # px a frame, that one may mark


@dataclass(frozen=True)
class Question:
    """Something that a person is asked.

    Attributes:
        name: of the answer.
        kind: one of some words, a number, a set of speeds, or a place on the stage.
        choices: the words.
        low: the smallest number.
        high: the largest.
    """

    name: str
    kind: Literal["choice", "number", "speeds", "place"]
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0

    def check(self, value: object) -> object:
        """Return an answer as it is kept.

        Raises:
            SettingError: it is none.
        """
        if self.kind == "choice":
            return check_choice(self.name, value, self.choices)
        if self.kind == "number":
            return check_number(self.name, value, self.low, self.high)
        if self.kind == "speeds":
            if not isinstance(value, list) or len(value) > len(_SPEEDS):
                raise SettingError(self.name, value, "speeds", high=_SPEEDS[-1])
            return sorted({check_integer(self.name, each, 0, _SPEEDS[-1]) for each in value})
        if not isinstance(value, list) or len(value) != 2:
            raise SettingError(self.name, value, "place", high=int(self.high))
        return [check_integer(self.name, each, 0, int(self.high)) for each in value]


@dataclass(frozen=True)
class Step:
    """One thing to do, and whether it was done.

    Attributes:
        name: a key of the page's texts.
        is_done: says so of the facts, and of the answers that were given after them.
    """

    name: str
    is_done: Callable[[Facts, Mapping[str, object]], bool]


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes:
        key: by which it is known.
        scene: in which it plays.
        settings: in which it differs from what the scene's page begins with.
        unlocked: the settings that it leaves open.
        guesses: what is asked before anything is done; kept, never graded.
        steps: what is to be done.
        answers: what is asked afterwards, and has to be as measured.
        shipped: the file in `checkpoints/` whose network it begins with, or empty for none.
        goes_on: whether training goes on from that, each time anew.
        sample: the sequence that it begins with, from 0.
        button: of the card: a study that it starts, or empty.
        at_start: what is noted of a training that is about to begin; empty for nothing.
        at_end: what is measured of one that has ended, besides its scores.
    """

    key: str
    scene: str
    settings: Mapping[str, object]
    unlocked: tuple[str, ...]
    guesses: tuple[Question, ...]
    steps: tuple[Step, ...]
    answers: tuple[Question, ...] = ()
    shipped: str = ""
    goes_on: bool = False
    sample: int = 0
    button: str = ""
    at_start: Callable[[Trainer], Fact] = lambda trainer: {}
    at_end: Callable[[Trainer], Fact] = lambda trainer: {}

    @property
    def config(self) -> TrainConfig:
        """What its panel begins with."""
        return configure(self.settings, default_config(self.scene))


def _trained(facts: Facts, **settings: object) -> list[Fact]:
    """Return the trainings that came to their end with these settings, oldest first."""
    return [
        fact
        for fact in facts
        if fact["kind"] == "trained" and all(fact["settings"][n] == v for n, v in settings.items())
    ]


def _failed_short(facts: Facts, answers: Mapping[str, object]) -> bool:
    return any(
        fact["reach"] < fact["speed"] and fact["skill"] <= FAR_SKILL for fact in _trained(facts)
    )


def _learnt_far(facts: Facts, answers: Mapping[str, object]) -> bool:
    return any(
        fact["reach"] >= fact["speed"] and fact["skill"] > FAR_SKILL for fact in _trained(facts)
    )


def _is_bright(facts: Facts, answers: Mapping[str, object]) -> bool:
    return any(fact["kind"] == "black" and fact["ssim"] < BLACK_SSIM for fact in facts)


def _black(trainer: Trainer) -> Fact:
    """Say what a black frame scores on the validation set of what is about to be trained."""
    scene, seen = trainer.config.scene, trainer.config.context_frames
    tables = baseline_tables(scene, *scene.validation(seen, 1).split(seen))
    return {"kind": "black", "ssim": round(mean_of(tables["black"]).ssim, 4)}


def _tuned(loss: str) -> Step:
    return Step(f"tuned {loss}", lambda facts, answers: bool(_trained(facts, loss=loss)))


def _says_what_was_measured(facts: Facts, answers: Mapping[str, object]) -> bool:
    newest = {loss: _trained(facts, loss=loss)[-1:] for loss in ("mse", "ssim")}
    if not all(newest.values()):
        return False
    (mse,), (ssim,) = newest["mse"], newest["ssim"]
    sharper = "mse" if mse["sharpness"] > ssim["sharpness"] else "ssim"
    lower = "mse" if mse["error"] < ssim["error"] else "ssim"
    return answers.get("sharper") == sharper and answers.get("lower") == lower


def _was_tested(facts: Facts, answers: Mapping[str, object]) -> bool:
    return any(fact["kind"] == "speeds" for fact in facts)


def _marks_what_was_measured(facts: Facts, answers: Mapping[str, object]) -> bool:
    tests, marked = [fact for fact in facts if fact["kind"] == "speeds"], answers.get("speeds")
    if not tests or marked is None:
        return False
    # Those between are followed somewhat: a person may say either.
    return set(tests[-1]["followed"]) <= set(marked) <= set(tests[-1]["beaten"])


def _forgets(facts: Facts, answers: Mapping[str, object]) -> bool:
    if not any(fact["skill"] > GOOD_SKILL for fact in _trained(facts)):
        return False
    return any(
        fact["kind"] == "inside"
        and fact["forgets"]
        and fact["after"] >= MEMORY_RATIO * fact["before"]
        for fact in facts
    )


def is_forgetting(experiment: object) -> bool:
    """Whether a checked experiment switches every forget gate off throughout, and nothing else."""
    return all(
        change.get("part") == "f"
        and change.get("how") == "off"
        and all(change.get(name) is None for name in ("channel", "start", "stop"))
        for change in experiment
    )


def _has_walls(walls: str) -> Step:
    return Step(f"trained {walls}", lambda facts, answers: bool(_trained(facts, walls=walls)))


def _bounces_better(facts: Facts, answers: Mapping[str, object]) -> bool:
    wrapped, bounced = (
        [f["wall"] for f in _trained(facts, walls=walls) if f["wall"] is not None]
        for walls in ("wrap", "bounce")
    )
    return bool(wrapped and bounced) and WALL_RATIO * min(bounced) <= max(wrapped)


def followed_speeds(result: Mapping[str, object], share: float = 1.0) -> list[int]:
    """Return the speeds that a network followed, of what a speed test told.

    At such a speed the error of its first predicted frame is less than that share of the better
    baseline's.
    """
    followed = []
    for n, speed in enumerate(result["speeds"]):
        first = {name: rows[n]["error"][0] for name, rows in result["scores"].items()}
        own = first.pop("model")
        if own is not None and speed in _SPEEDS and own < share * min(first.values()):
            followed.append(speed)
    return followed


_LOSSES = ("mse", "ssim")
# A network that draws, since SSIM makes one that moves things no sharper than MSE does; its own
# settings, and a short training at a rate that spoils nothing.
_PAINTING = "moving-mnist-painting.safetensors"
_TUNING: dict[str, object] = {
    **settings_of(preset("two-digits")),
    "patch_size": 4,
    "hidden_channels": 64,
    "output": "sigmoid",
    "epochs": 40,
    "optimizer": "adamw",
    "learning_rate": 5e-4,
    "weight_decay": 0.0,
    "curriculum": 0.0,
    "evaluate_every": 40,
    "loss": "mse",
}
# One speed, so that nothing slower is followed meanwhile; and on this canvas, after so few frames,
# no square is near where it comes in again: there it could be known without seeing it move.
_FAST: dict[str, object] = {
    "canvas": 40,
    "square_size": 5,
    "small_frames": 0.0,
    "speed": 4,
    "exact_speed": True,
    "context_frames": 4,
    "kernel_size": 3,
    "epochs": 320,
}
_SMALL: dict[str, object] = {"canvas": 32, "square_size": 5, "small_frames": 0.0}

LESSONS: dict[str, Lesson] = {
    lesson.key: lesson
    for lesson in (
        Lesson(
            "kernel",
            "squares",
            _FAST,
            ("kernel_size", "num_layers"),
            (
                Question("learns", "choice", ("yes", "no")),
                Question("reach", "choice", ("1", "2", "3", "4", "6")),
            ),
            (Step("fails", _failed_short), Step("works", _learnt_far)),
        ),
        Lesson(
            "black",
            "squares",
            {"small_frames": 0.0},
            ("canvas", "square_size"),
            (Question("ssim", "number"),),
            (Step("bright", _is_bright),),
            at_start=_black,
        ),
        Lesson(
            "blur",
            "digits",
            _TUNING,
            ("loss",),
            (Question("sharper", "choice", _LOSSES), Question("lower", "choice", _LOSSES)),
            (_tuned("mse"), _tuned("ssim"), Step("told", _says_what_was_measured)),
            (Question("sharper", "choice", _LOSSES), Question("lower", "choice", _LOSSES)),
            shipped=_PAINTING,
            goes_on=True,
            at_end=lambda trainer: {"sharpness": sharpness(trainer)},
        ),
        Lesson(
            "memory",
            "squares",
            settings_of(preset("behind-the-bar")),
            (),
            (Question("out", "choice", ("same", "late", "never")),),
            (Step("trained", lambda facts, answers: bool(_trained(facts))), Step("off", _forgets)),
        ),
        Lesson(
            "speeds",
            "squares",
            {},
            (),
            (Question("speeds", "speeds"),),
            (Step("tested", _was_tested), Step("marked", _marks_what_was_measured)),
            (Question("speeds", "speeds"),),
            shipped=CATALOGUE["squares"].shipped,
            button="speed",
        ),
        Lesson(
            "walls",
            "squares",
            {**_SMALL, "walls": "wrap"},
            ("walls",),
            (Question("place", "place", high=31),),
            (_has_walls("wrap"), _has_walls("bounce"), Step("better", _bounces_better)),
            sample=7,  # which comes to the wall six frames after the newest seen
            at_end=lambda trainer: {"wall": wall_error(trainer)},
        ),
    )
}


def lesson_of(text: object) -> Lesson:
    """Return the lesson of a link: by its number, from 1, or by its key.

    Raises:
        SettingError: there is none.
    """
    keys = list(LESSONS)
    numbers = {str(n): key for n, key in enumerate(keys, 1)}
    key = check_choice("lesson", text, (*numbers, *keys))
    return LESSONS[numbers.get(key, key)]


def told_of(lesson: Lesson) -> dict[str, object]:
    """Return what a page has to know of a lesson."""
    return {
        "key": lesson.key,
        "scene": lesson.scene,
        "unlocked": list(lesson.unlocked),
        "guesses": [asdict(question) for question in lesson.guesses],
        "answers": [asdict(question) for question in lesson.answers],
        "steps": [step.name for step in lesson.steps],
        "button": lesson.button,
        "settings": settings_of(lesson.config),
    }
