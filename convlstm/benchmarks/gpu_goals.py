"""What a GPU should reach, and whether a report says that it did."""

import statistics

from convlstm.benchmarks.contestants import PLAIN
from convlstm.benchmarks.gpu_found import (
    DigitsRun,
    ForecastRate,
    Goal,
    QuickStarts,
    Report,
    SpeedTable,
    Verdict,
)

_RATIOS = {"article": 10.0, "moving-mnist": 2.5}  # a step over the plain loop's, by size
_SIZE_NAMES = {"article": "the squares tutorial's size", "moving-mnist": "Moving MNIST's size"}
_QUICK_SECONDS = 1.0
_SSIM_OPENSTL, _MSE, _FLOP, _SEQUENCES = 0.9288, 29.8, 1.7e17, 10_000
_FRAMES_PER_SECOND = 4500.0  # ten times what the digits tutorial names, of a V100


def goals_of(report: Report) -> tuple[Goal, ...]:
    """Judge a report by the goals that a GPU has; a small size, or a CPU, measures none."""
    is_measured = report.is_gpu and report.size == "full"
    found = {name: part.found for name, part in report.parts.items()}
    goals = [_speed(size, found.get("speed")) for size in _RATIOS]
    goals += [_quick(found.get("Quick start")), _digits(found.get("Moving MNIST"))]
    goals.append(_forecasts(found.get("frames per second")))
    if is_measured:
        return tuple(goals)
    return tuple(Goal(goal.name, goal.wanted, "", "not measured") for goal in goals)


def _judged(name: str, wanted: str, found: str, is_met: bool | None) -> Goal:
    verdict: Verdict = "not measured" if is_met is None else "met" if is_met else "not met"
    return Goal(name, wanted, found, verdict)


def _speed(size: str, tables: tuple[SpeedTable, ...] | None) -> Goal:
    name = f"A training step at {_SIZE_NAMES[size]}"
    wanted = f"{_RATIOS[size]:g} times as fast as the plain float32 loop"
    rows = [row for table in tables or () if table.size == size for row in table.rows]
    ours = [row for row in rows if row.name.startswith("this project") and row.ratio is not None]
    ours = [row for row in ours if "reference" not in row.name]
    if not ours:
        return _judged(name, wanted, "", None)
    best = max(ours, key=lambda row: row.ratio)
    plain = next(row for row in rows if row.name == PLAIN)
    found = f"{best.ratio:.2f} ({best.name}: {best.train_ms:.2f} ms, {plain.train_ms:.2f})"
    return _judged(name, wanted, found, best.ratio >= _RATIOS[size])


def _quick(quick: QuickStarts | None) -> Goal:
    """Judge the better way of training."""
    name, wanted = "Quick start to a validation MSE under 0.001", f"under {_QUICK_SECONDS:g} s"
    ways = {"": quick.plain, ", captured": quick.captured} if quick else {}
    judged = []
    for how, runs in ((how, each.runs) for how, each in ways.items() if each and each.runs):
        seconds, reached = [run.seconds for run in runs], all(run.ended == "goal" for run in runs)
        median = statistics.median(seconds)
        found = f"{min(seconds):.2f} to {max(seconds):.2f} s, median {median:.2f}"
        found += f", {len(seconds)} seeds{how}" + ("" if reached else ", not from all")
        judged.append((not reached, median, found))
    if not judged:
        return _judged(name, wanted, "", None)
    missed, median, found = min(judged)
    return _judged(name, wanted, found, not missed and median < _QUICK_SECONDS)


def _digits(run: DigitsRun | None) -> Goal:
    name = f"Moving MNIST, {_SEQUENCES:,} test sequences"
    wanted = (
        f"SSIM (range 2) {_SSIM_OPENSTL} or more and MSE {_MSE} or less, for at most {_FLOP:.2g} "
        "FLOP of training"
    )
    if run is None or run.model is None:
        return _judged(name, wanted, "", None)
    scores = run.model
    found = f"SSIM {scores.ssim_openstl:.4f}, MSE {scores.mse:.1f}, {run.flop:.2g} FLOP"
    if run.scored < _SEQUENCES:
        return _judged(name, wanted, f"{found}, {run.scored:,} sequences alone", None)
    is_met = scores.ssim_openstl >= _SSIM_OPENSTL and scores.mse <= _MSE and run.flop <= _FLOP
    return _judged(name, wanted, found, is_met)


def _forecasts(rate: ForecastRate | None) -> Goal:
    name = "Forecasts of the digits tutorial's network"
    wanted = f"{_FRAMES_PER_SECOND:,.0f} frames/s or more"
    if rate is None:
        return _judged(name, wanted, "", None)
    found = f"{rate.frames_per_second:,.0f} frames/s in {rate.precision}"
    return _judged(name, wanted, found, rate.frames_per_second >= _FRAMES_PER_SECOND)
