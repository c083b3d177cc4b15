"""A GPU's report as Markdown, its figures beside what is published."""

from collections.abc import Iterable

from convlstm.benchmarks.gpu_found import (
    CheckResult,
    DigitsRun,
    ForecastRate,
    QuickRun,
    QuickStarts,
    Report,
    SpeedTable,
    StepTimes,
)
from convlstm.training.metrics import Scores

_LABELS = {"black": "black frame", "copy_last": "repeat last frame"}


def markdown(report: Report) -> str:
    """Lay a report out; what was not found has no section."""
    blocks = [f"# What {report.machine.get('device', report.device)} can do", _head(report)]
    if report.device == "cpu":
        blocks.append("No GPU took part: whatever stands here is of the CPU.")
    rows = [(goal.name, goal.wanted, goal.found, goal.verdict) for goal in report.goals]
    blocks += ["## Goals of a GPU", _table(("goal", "wanted", "found", "verdict"), rows)]
    blocks += ["## Parts", _parts(report)]
    for name, part in report.parts.items():
        if part.found and name in _SECTIONS:
            blocks += [f"## {name[0].upper()}{name[1:]}", *_SECTIONS[name](part.found)]
    if report.files:
        blocks.append("Kept beside this file: " + ", ".join(f"`{each}`" for each in report.files))
    return "\n\n".join(blocks) + "\n"


def _head(report: Report) -> str:
    facts = {**report.machine, "computed on": report.device}
    facts |= {"started": report.started, "size": report.size}
    facts |= {"minutes": f"{report.seconds / 60:.1f} of {report.minutes:g}"}
    return _table(("fact", "value"), [(name, str(value)) for name, value in facts.items()])


def _parts(report: Report) -> str:
    rows = [
        (name, part.state, f"{part.seconds:.0f}", f"{part.share_seconds:.0f}", part.reason)
        for name, part in report.parts.items()
    ]
    return _table(("part", "how it went", "s", "of at most", "why"), rows)


def _checks(results: tuple[CheckResult, ...]) -> list[str]:
    rows = [
        (each.name, "holds" if each.passed else "FAILS", f"{each.seconds:.1f}", each.said)
        for each in results
    ]
    return [_table(("check", "", "s", "seen"), rows)]


def _speed(tables: tuple[SpeedTable, ...]) -> list[str]:
    heads = ("contestant", "train ms", "spread", "forward ms", "seq/s", "ratio", "GFLOP/s")
    heads += ("ceiling", "MiB", "first s", "error")
    blocks = [
        "Ratio: the plain float32 loop's training step over this one. Ceiling: the convolutions "
        "alone, in this precision, over this step."
    ]
    for table in tables:
        rows = [
            (
                row.name,
                _number(row.train_ms, ".2f"),
                _number(row.train_spread, ".0%"),
                _number(row.forward_ms, ".2f"),
                _number(row.sequences_per_second, ".1f"),
                _number(row.ratio, ".2f"),
                _number(row.gflops, ".0f"),
                _number(row.ceiling_share, ".0%"),
                _number(row.peak_mib, ".0f"),
                _number(row.warm_up_seconds, ".2f"),
                row.error,
            )
            for row in table.rows
        ]
        blocks += [f"### {table.size}", _table(heads, rows)]
    return blocks


def _forecasts(rate: ForecastRate) -> list[str]:
    return [
        f"The digits tutorial's network ({rate.parameters:,} parameters) predicts "
        f"{rate.frames_per_second:,.0f} frames/s in {rate.precision}: {rate.horizon} frames after "
        f"{rate.context_frames}, {rate.batch} sequences at once."
    ]


def _quick(quick: QuickStarts) -> list[str]:
    def row(label: str, run: QuickRun) -> tuple[str, ...]:
        seconds = f"{run.seconds:.2f}", f"{run.computing_seconds:.2f}"
        steps = str(run.steps), _number(run.step_ms, ".2f")
        return (label, *seconds, *steps, f"{run.mse:.6f}", run.ended)

    rows = []
    for how, each in (("", quick.plain), (", captured", quick.captured)):
        if each is not None:
            rows.append(row(f"{each.first.seed}{how}, in a new process", each.first))
            rows += [row(f"{run.seed}{how}", run) for run in each.runs]
    heads = ("seed", "s", "s of computing", "steps", "ms a step", "validation MSE", "ended")
    blocks = [_table(heads, rows)] if rows else []
    return blocks + _not_captured(quick.not_captured)


def _not_captured(why: str) -> list[str]:
    return [f"Not captured, and trained without: {why}"] if why else []


def _step_times(times: StepTimes) -> list[str]:
    if times.plain is None:
        return []
    text = f"A training step at the full horizon takes {times.plain:.2f} ms"
    if times.captured is not None:
        ratio = times.plain / times.captured
        text += f", and captured {times.captured:.2f} ms: {ratio:.2f} times as fast"
    return [f"{text}.", *_not_captured(times.not_captured)]


def _digits(run: DigitsRun) -> list[str]:
    ended = run.ended or "left early"
    blocks = [
        f"{run.parameters:,} parameters, in {run.precision}; planned: {run.planned}. "
        f"{run.steps:,} steps, {run.sequences:,} sequences, {run.flop:.2g} FLOP in "
        f"{run.seconds:.0f} s of computing; ended: {ended}, {run.progress:.0%} of it done.",
        *_step_times(run.step_times),
    ]
    if run.validation:
        blocks.append("Newest scores on the validation digits: " + _in_words(run.validation) + ".")
    if run.model is None:
        return blocks
    scores = {"this training": run.model}
    scores |= {_LABELS.get(name, name): each for name, each in (run.baselines or {}).items()}
    rows = [
        (
            name,
            f"{run.flop:.2g}" if each is run.model else "",
            f"{each.mse:.1f}",
            f"{each.mae:.1f}",
            f"{each.psnr:.2f}",
            f"{each.ssim_openstl:.4f}",
            f"{each.ssim:.4f}",
        )
        for name, each in scores.items()
    ]
    published = "OpenSTL's ConvLSTM-S, 200 epochs (published)"
    rows.append((published, "6.8e17", "29.8", "90.6", "", "0.9288", ""))
    heads = ("", "training, FLOP", "MSE", "MAE", "PSNR dB", "SSIM (range 2)", "SSIM (range 1)")
    return [*blocks, f"{run.scored:,} sequences of test digits:", _table(heads, rows)]


def _in_words(scores: Scores) -> str:
    return f"MSE {scores.mse:.1f}, SSIM {scores.ssim_openstl:.4f} (range 2), {scores.ssim:.4f}"


_SECTIONS = {
    "checks": _checks,
    "speed": _speed,
    "frames per second": _forecasts,
    "Quick start": _quick,
    "Moving MNIST": _digits,
}


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a table; a bar in a cell is no border of it."""
    lines = [list(heads), *(list(row) for row in rows)]
    lines = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
