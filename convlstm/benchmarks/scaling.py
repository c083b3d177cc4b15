"""How a training step's time grows with each size, and a picture of it."""

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from convlstm.benchmarks.contestants import CONTESTANTS
from convlstm.benchmarks.modules import SIZES
from convlstm.devices import resolve_precision, wait_for

# From a step that is long enough for its own arithmetic to count, one size at a time.
_BASE = replace(SIZES["article"], batch=4, frames=8, hidden_channels=32)
_SWEEPS: dict[str, tuple[int, ...]] = {
    "frames": (8, 16, 32, 64),  # of fewer, the first with no state to convolve is a large part
    "side": (32, 48, 64, 96),
    "batch": (2, 4, 8, 16),
    "hidden_channels": (16, 32, 64, 128),
}
_LABELS = {
    "frames": "T (frames)",
    "side": "H x W (px)",
    "batch": "B (sequences)",
    "hidden_channels": "hidden channels",
}
_REPEATS = 7


@dataclass(frozen=True)
class Sweep:
    """One size's effect."""

    name: str  # the field of `Size` that was changed
    values: list[int]  # what it was; for "side" the pixels of a frame
    seconds: list[float]  # a training step's median time at each
    exponent: float  # of the power law fitted to each turn's times; the median over the turns
    ideal: int  # what the arithmetic alone would give; the most for hidden channels


def scaling(device: torch.device) -> list[Sweep]:
    """Time this project's training step over each size, the sizes in turns."""
    name = f"this project, {resolve_precision('auto', device)}"
    sweeps = []
    for field, values in _SWEEPS.items():
        steps = [CONTESTANTS[name](replace(_BASE, **{field: v}), device).train for v in values]
        seconds: list[list[float]] = [[] for _ in values]
        for repeat in range(-1, _REPEATS):  # the first is to warm up
            for step, times in zip(steps, seconds, strict=True):
                step()
                wait_for(device)
                started = time.perf_counter()
                step()
                wait_for(device)
                if repeat >= 0:
                    times.append(time.perf_counter() - started)
        medians = [statistics.median(times) for times in seconds]
        counted = [value**2 for value in values] if field == "side" else list(values)
        # A turn's own fit, and not a fit of the medians, so that the machine's swings cancel out.
        exponents = np.polyfit(np.log(counted), np.log(seconds), 1)[0]
        exponent = statistics.median(exponents.tolist())
        # What the convolutions' arithmetic grows by: of a side, H x W is what is meant.
        ideal = 2 if field == "hidden_channels" else 1
        sweeps.append(Sweep(field, counted, medians, exponent, ideal))
    return sweeps


def describe(sweeps: list[Sweep]) -> str:
    """Lay the exponents out for a terminal."""
    lines = [f"{'grows with':<18}{'exponent':>9}{'ideal':>7}   ms"]
    for sweep in sweeps:
        times = ", ".join(
            f"{1e3 * seconds:.1f} at {value}"
            for value, seconds in zip(sweep.values, sweep.seconds, strict=True)
        )
        lines.append(f"{_LABELS[sweep.name]:<18}{sweep.exponent:9.2f}{sweep.ideal:7}   {times}")
    return "\n".join(lines)


def draw(sweeps: list[Sweep], file: Path) -> None:
    """Draw the times on logarithmic axes, the ideal slope beside them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(sweeps), 4), layout="constrained")
    for axes, sweep in zip(figure.subplots(1, len(sweeps)), sweeps, strict=True):
        milliseconds = [1e3 * seconds for seconds in sweep.seconds]
        largest, slowest = sweep.values[-1], milliseconds[-1]
        ideal = [slowest * (value / largest) ** sweep.ideal for value in sweep.values]
        axes.loglog(sweep.values, ideal, "--", color="0.6", label=f"slope {sweep.ideal}")
        axes.loglog(sweep.values, milliseconds, "o-", label=f"measured, slope {sweep.exponent:.2f}")
        axes.set_xlabel(_LABELS[sweep.name])
        axes.set_ylabel("training step (ms)")
        axes.set_xticks(sweep.values, [str(value) for value in sweep.values], minor=False)
        axes.minorticks_off()
        axes.legend()
    figure.savefig(file, dpi=120)
