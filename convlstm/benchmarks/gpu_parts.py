"""The parts of a GPU's report: what each does, what it finds, and how much of it at which size.

A part runs in the process that writes the report and has its work done in another, `Apart`. It
yields how far it is, with what is found so far: whatever becomes of it, that much is known.
"""

import contextlib
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from convlstm.benchmarks.apart import Work, WorkFailed
from convlstm.benchmarks.benchmark import Row, installed, measure
from convlstm.benchmarks.contestants import CEILING, PLAIN
from convlstm.benchmarks.gpu_checks import CHECKS, Size
from convlstm.benchmarks.gpu_found import (
    CheckResult,
    ForecastRate,
    SpeedTable,
)
from convlstm.devices import resolve_precision
from convlstm.pieces import mapped
from convlstm.settings import configure
from convlstm.training.presets import preset
from convlstm.training.trainer import Trainer

_CHECKS_AT_LEAST = 3  # that there is time for
_TOGETHER = 8  # contestants that are timed in turns with each other, and with the plain loop
_FORECASTS = 10  # that are timed


@dataclass(frozen=True)
class ReportSize:
    """How much of everything a report does.

    Attributes:
        name: of the checks' sizes.
        speeds: sizes of the benchmark.
        rows: its contestants; None for all that are installed.
        repeats: timed steps of each.
        forecast: changes of the article's network whose forecasts are timed.
        forecast_batch: sequences in each.
        quick: changes of Quick start.
        quick_goal: MSE per pixel on the validation set at which it is there.
        seeds: from which it is trained.
        digits: changes of the Moving MNIST training.
        most_flop: that this training spends at most.
        sequences: test sequences that score it, if there is time.
        first_sequences: that are scored in any case.
    """

    name: Size
    speeds: tuple[str, ...]
    rows: tuple[str, ...] | None
    repeats: int
    forecast: dict[str, object]
    forecast_batch: int
    quick: dict[str, object]
    quick_goal: float
    seeds: tuple[int, ...]
    digits: dict[str, object]
    most_flop: float
    sequences: int
    first_sequences: int


SIZES = {
    "full": ReportSize(
        "full",
        speeds=("article", "moving-mnist", "wide"),
        rows=None,
        repeats=10,
        forecast={},
        forecast_batch=64,
        quick={},
        quick_goal=0.001,
        seeds=(0, 1, 2, 3, 4),
        digits={},
        most_flop=1.7e17,
        sequences=10_000,
        first_sequences=500,
    ),
    "tiny": ReportSize(
        "tiny",
        speeds=("tiny",),
        rows=(PLAIN, "this project, float32"),
        repeats=2,
        forecast={"canvas": 32, "hidden_channels": 2},
        forecast_batch=1,
        quick={
            "canvas": 16,
            "square_size": 2,
            "hidden_channels": 2,
            "small_frames": 0.0,
            "evaluate_every": 3,
        },
        quick_goal=0.02,  # a black frame's is 0.016
        seeds=(0, 1),
        digits={"canvas": 32, "hidden_channels": 2, "num_layers": 2, "batch_size": 1},
        most_flop=2e8,
        sequences=4,
        first_sequences=2,
    ),
}


class Progress(NamedTuple):
    """How far a part is."""

    done: float  # share of it, in [0, 1]
    doing: str
    found: object = None  # so far: of the part's own kind, in `gpu_found`


class Place(Protocol):
    """Where work is done."""

    def pieces(
        self, work: Work, *arguments: object, seconds: float
    ) -> Generator[object, None, bool]:
        """Do a work there, as `Apart.pieces` does."""

    def close_work(self) -> None:
        """Let the work under way end after its piece."""

    def end(self) -> None:
        """End whatever is under way."""


@dataclass(frozen=True)
class Order:
    """What a report is asked for."""

    device: str  # resolved: cpu, cuda, mps
    size: ReportSize
    folder: Path  # for what is kept


Part = Generator[Progress | None, None, bool]  # returns whether it was done whole


def can_capture(device: str) -> bool:
    """Whether a training there may be one whose steps the device repeats by itself."""
    return torch.device(device).type == "cuda"


def followed(
    pieces: Generator[Progress | None, None, bool],
) -> Generator[Progress | None, None, tuple[bool, object]]:
    """Yield what a work yields; return whether it was done whole, and what it found last."""
    found = None
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return end.value, found
        if piece is not None:
            found = piece.found
        yield piece


# What the machine is.


def machine(device: str) -> Iterator[Progress]:
    """Say what computes, and with what."""
    about: dict[str, object] = {
        "device": "the CPU",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "precision": resolve_precision("auto", torch.device(device)),
    }
    if torch.device(device).type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            about["triton"] = importlib.metadata.version("triton")
        about |= {
            "device": facts.name,
            "memory_gib": round(facts.total_memory / 2**30, 1),
            "capability": f"{facts.major}.{facts.minor}",
            "multiprocessors": facts.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    elif torch.device(device).type != "cpu":
        about["device"] = device
    yield Progress(1.0, "the machine", about)


# The checks.


def run_checks(place: Place, order: Order, seconds: float) -> Part:
    """Do every check; one that fails leaves the next a new process."""
    ends_at, results = time.monotonic() + seconds, ()
    for number, name in enumerate(CHECKS):
        started = time.monotonic()
        if started >= ends_at:
            break
        yield Progress(number / len(CHECKS), name, results)
        left = min(ends_at - started, seconds / _CHECKS_AT_LEAST)  # one that hangs takes not all
        work = check, name, order.device, order.size.name
        pieces = followed(place.pieces(*work, seconds=left))
        try:
            _, said = yield from mapped(lambda piece: None, pieces)
        except WorkFailed as error:
            results += (CheckResult(name, False, str(error), time.monotonic() - started),)
        else:
            if said is None:  # nobody waited for it
                break
            results += (CheckResult(name, True, said, time.monotonic() - started),)
        yield Progress((number + 1) / len(CHECKS), name, results)
    if failed := [result for result in results if not result.passed]:
        names = ", ".join(result.name for result in failed)
        count = f"{len(failed)} of {len(CHECKS)} checks failed"
        raise WorkFailed(f"{count}: {names}: {failed[0].said}")
    return len(results) == len(CHECKS)


def check(name: str, device: str, size: Size) -> Iterator[Progress]:
    """Do one of the checks."""
    if torch.device(device).type == "cpu":  # sums over other numbers of threads differ
        torch.set_num_threads(1)
    yield Progress(1.0, name, CHECKS[name](torch.device(device), size))


# Speed.


def run_speed(place: Place, order: Order, seconds: float) -> Part:
    """Time the contestants of the benchmark."""
    pieces = place.pieces(speed, order.device, order.size, seconds=seconds)
    is_whole, tables = yield from followed(pieces)
    failed = [
        f"{row.name}: {row.error}"
        for table in tables or ()
        for row in table.rows
        if row.error and not _begins_slowly(row.name)
    ]
    if failed:
        raise WorkFailed("; ".join(failed))
    return is_whole


def speed(device: str, size: ReportSize) -> Iterator[Progress]:
    """Time the contestants, a few at a time, each few at every size before the next."""
    groups = _groups(list(size.rows or installed(device)))
    jobs = [(each, names) for names in groups for each in size.speeds]
    tables: dict[str, tuple[Row, ...]] = {}
    for number, (each, names) in enumerate(jobs):
        before, done = tables.get(each, ()), number / len(jobs)
        known = {row.name for row in before}
        for rows in measure(each, names=names, device=device, repeats=size.repeats):
            new = [row for row in rows if row.name not in known and _says_something(row)]
            tables[each] = (*before, *new)
            found = tuple(SpeedTable(*table) for table in tables.items() if table[1])
            yield Progress(done, f"{each}, {len(new)} of {len(names)} contestants", found)


def _groups(names: list[str]) -> list[list[str]]:
    """Put contestants together, this program's first and those that begin slowly last.

    In each group are those that the others are compared with.
    """
    compared = [name for name in names if name == PLAIN or name.startswith(CEILING)]
    others = [name for name in names if name not in compared]
    others.sort(key=lambda name: (not name.startswith("this project"), "captured" not in name))
    groups = []
    for slow in (False, True):
        some = [name for name in others if _begins_slowly(name) == slow]
        groups += [some[start : start + _TOGETHER] for start in range(0, len(some), _TOGETHER)]
    return [[*compared, *group] for group in groups or [[]]]


def _begins_slowly(name: str) -> bool:
    return "compiled" in name or "Keras" in name


def _says_something(row: Row) -> bool:
    return row.train_ms is not None or bool(row.error)


# Frames per second.


def run_forecasts(place: Place, order: Order, seconds: float) -> Part:
    """Time the forecasts of the article's network."""
    return (yield from place.pieces(forecasts, order.device, order.size, seconds=seconds))


def forecasts(device: str, size: ReportSize) -> Iterator[Progress]:
    """Time forecasts of a network as it is drawn; what it has learnt costs no time."""
    changes = {"augmented": False, **size.forecast}
    config = configure(changes, preset("moving-mnist-article"))
    trainer = Trainer(config, device)
    frames = config.context_frames + config.horizon
    clip = config.scene.sample(size.forecast_batch, frames, trainer.generator)
    context, times = clip.split(config.context_frames)[0], []
    for number in range(-2, _FORECASTS):  # the first meet cold libraries
        started = time.perf_counter()
        trainer.predict(context, config.horizon)[0, 0, 0, 0, 0].item()  # waits for it
        if number < 0:
            continue
        times.append(time.perf_counter() - started)
        found = ForecastRate(
            size.forecast_batch * config.horizon / statistics.median(times),
            size.forecast_batch,
            config.context_frames,
            config.horizon,
            sum(each.numel() for each in trainer.network.parameters()),
            trainer.precision,
        )
        yield Progress((number + 1) / _FORECASTS, "forecasts", found)
