"""The report's Quick start: to its goal, from several seeds, by each way of training."""

import itertools
import statistics
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Literal

from convlstm.benchmarks.apart import WorkFailed
from convlstm.benchmarks.gpu_found import QuickRun, QuickStart, QuickStarts
from convlstm.benchmarks.gpu_parts import Order, Part, Place, Progress, ReportSize, can_capture
from convlstm.settings import configure
from convlstm.training.captured_trainer import CapturedTrainer
from convlstm.training.presets import preset
from convlstm.training.records import StepRecord
from convlstm.training.trainer import Trainer

_Way = Literal["captured", "plain"]


def run_quick_start(place: Place, order: Order, seconds: float) -> Part:
    """Train Quick start to its goal, from several seeds; where steps can be captured, also so.

    What cannot be captured after all is no failure: the report says why, and goes on.
    """
    ends_at, found, is_whole = time.monotonic() + seconds, QuickStarts(), True
    ways: tuple[_Way, ...] = ("captured", "plain") if can_capture(order.device) else ("plain",)
    for number, way in enumerate(ways):
        left = (ends_at - time.monotonic()) / (len(ways) - number)
        place.end()  # the first of its trainings meets a new process
        work = quick_start, order.device, order.size, way == "captured"
        done, found = yield from _trained(place.pieces(*work, seconds=left), found, way)
        yield Progress((number + 1) / len(ways), f"trained {way}", found)
        if not done:
            is_whole = False
            break
    if missed := [each for way in ways if (each := _missed(getattr(found, way), way))]:
        raise WorkFailed(" ".join(missed))
    return is_whole


def _trained(
    pieces: Generator[Progress | None, None, bool], found: QuickStarts, way: _Way
) -> Generator[Progress | None, None, tuple[bool, QuickStarts]]:
    """Yield what the trainings of one way yield; return whether they are done, and all found."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return end.value, found
        except WorkFailed as error:
            if way == "plain":
                raise
            return True, replace(found, not_captured=str(error))
        if piece is not None and piece.found is not None:
            found = replace(found, **{way: piece.found})
        yield piece and Progress(piece.done, f"{way}, {piece.doing}", found)


def _missed(quick: QuickStart | None, way: _Way) -> str:
    """Say from which seeds the goal was not reached; empty where it always was."""
    runs = quick.runs if quick else ()
    seeds = [str(run.seed) for run in runs if run.ended != "goal"]
    how = " captured" if way == "captured" else ""
    return f"The goal was not reached{how} from seed {', '.join(seeds)}." if seeds else ""


def quick_start(device: str, size: ReportSize, captured: bool) -> Iterator[Progress]:
    """Train from the first seed, and then from all of them."""
    found: QuickStart | None = None
    for number, seed in enumerate((size.seeds[0], *size.seeds)):
        done, started = number / (1 + len(size.seeds)), time.perf_counter()
        changes = {**size.quick, "seed": seed, "stop_below": size.quick_goal}
        config = configure(changes, preset("quick"))
        trainer = (CapturedTrainer if captured else Trainer)(config, device)
        for _ in trainer.pieces():
            yield Progress(done, f"seed {seed}, step {trainer.step}", found)
        seconds, last = time.perf_counter() - started, trainer.last
        evaluation = last.evaluation or trainer.evaluate()  # a diverged one went back
        run = QuickRun(
            seed,
            seconds,
            last.seconds,
            _step_ms(trainer.records),
            last.step,
            evaluation.model.mse,
            trainer.ended,
        )
        found = QuickStart(found.first, (*found.runs, run)) if found else QuickStart(run, ())
    yield Progress(1.0, f"seed {seed}", found)


def _step_ms(records: list[StepRecord]) -> float | None:
    """Return what half of the steps took at most, ms; None where each was evaluated."""
    pairs = itertools.pairwise(records)
    steps = [after.seconds - before.seconds for before, after in pairs if after.evaluation is None]
    return 1000 * statistics.median_low(steps) if steps else None
