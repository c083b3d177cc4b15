"""What a GPU's report holds: plain records, as its JSON has them."""

from dataclasses import asdict, dataclass, field
from typing import Literal

from convlstm.benchmarks.benchmark import Row
from convlstm.training.metrics import Scores
from convlstm.training.records import End

State = Literal["passed", "failed", "cut short", "interrupted", "not begun"]
Verdict = Literal["met", "not met", "not measured"]


@dataclass(frozen=True)
class CheckResult:
    """How a check went."""

    name: str
    passed: bool
    said: str  # what it saw, or why it failed
    seconds: float


@dataclass(frozen=True)
class SpeedTable:
    """The benchmark at one of its sizes."""

    size: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ForecastRate:
    """How fast the article's network forecasts."""

    frames_per_second: float  # predicted frames; those that are read do not count
    batch: int  # sequences at once
    context_frames: int
    horizon: int  # frames predicted of each
    parameters: int
    precision: str


@dataclass(frozen=True)
class StepTimes:
    """What a training step takes, ms; None where that was not timed.

    Attributes:
        plain: a `Trainer`'s.
        captured: a `CapturedTrainer`'s, which a GPU repeats.
        not_captured: why a GPU did not, in one line; empty where it did, or where there is none.
    """

    plain: float | None = None
    captured: float | None = None
    not_captured: str = ""


@dataclass(frozen=True)
class QuickRun:
    """Quick start from one seed."""

    seed: int
    seconds: float  # from making the network to the evaluation that meets the goal
    computing_seconds: float  # of these, as the program counts a run's time
    step_ms: float | None  # that half of its steps took at most, without evaluations
    steps: int
    mse: float  # per pixel, on the validation set
    ended: End


@dataclass(frozen=True)
class QuickStart:
    """Quick start to its goal, trained in one way."""

    first: QuickRun  # of a process in which nothing has been computed yet
    runs: tuple[QuickRun, ...]  # after it, from every seed


@dataclass(frozen=True)
class QuickStarts:
    """Quick start to its goal, in every way; None where it was not trained so.

    Attributes:
        plain: by a `Trainer`.
        captured: by a `CapturedTrainer`, whose steps a GPU repeats.
        not_captured: why a GPU did not, or not to the end, in one line; else empty.
    """

    plain: QuickStart | None = None
    captured: QuickStart | None = None
    not_captured: str = ""


@dataclass(frozen=True)
class DigitsRun:
    """A training on Moving MNIST, and its scores on sequences of test digits.

    MSE and MAE are sums over a frame, as in the published tables.
    """

    parameters: int
    precision: str
    planned: str  # what ends it: its time, or the arithmetic that it may spend
    step_times: StepTimes = StepTimes()  # at the full horizon; captured where there is such a time
    steps: int = 0
    sequences: int = 0  # learnt from
    seconds: float = 0.0  # of computing
    flop: float = 0.0  # of convolutions and matrix products, forward and backward
    progress: float = 0.0  # share of the training that was done
    ended: End | None = None
    validation: Scores | None = None  # the newest
    scored: int = 0  # test sequences
    model: Scores | None = None
    baselines: dict[str, Scores] | None = None


@dataclass(frozen=True)
class PartReport:
    """How a part went.

    Attributes:
        state: "passed" when it was done whole and found what it should; "failed" when something
            broke, or does not hold; "cut short" when its time was up; "interrupted" while it is
            under way, and so for ever where somebody ends the report.
        reason: of a failure, one line; else empty.
        seconds: that it took.
        share_seconds: that it might take.
        found: of its own kind, above; also of a part that did not come to its end.
    """

    state: State = "not begun"
    reason: str = ""
    seconds: float = 0.0
    share_seconds: float = 0.0
    found: object = None


@dataclass(frozen=True)
class Goal:
    """Something that a GPU should reach."""

    name: str
    wanted: str
    found: str  # empty where nothing was measured
    verdict: Verdict


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes:
        version: of this layout.
        size: "full" or "tiny".
        minutes: asked for.
        device: where it computed.
        started: date and time, UTC.
        seconds: so far, or in all.
        machine: facts by name.
        parts: by name, in their order.
        goals: that a GPU has.
        files: kept beside it, by name.
    """

    version: int
    size: str
    minutes: float
    device: str
    started: str
    seconds: float = 0.0
    machine: dict[str, object] = field(default_factory=dict)
    parts: dict[str, PartReport] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def is_gpu(self) -> bool:
        """Whether it is of a GPU, of which its goals are."""
        return self.device.split(":")[0] == "cuda"

    @property
    def passed(self) -> bool:
        """Whether every part was done whole and found what it should."""
        return all(part.state == "passed" for part in self.parts.values())

    def data(self) -> dict[str, object]:
        """Return it for JSON, with what follows from it."""
        return {**asdict(self), "passed": self.passed}
