"""What training a forecaster costs, known before it starts."""

from collections.abc import Iterator

from convlstm.costs import SECONDS_PER_CELL_CALL, Cost, training_mib, training_seconds
from convlstm.forecast_config import CONTEXT_FRAMES, HORIZON, ForecastConfig, horizon_at
from convlstm.forecaster import ForecasterConfig
from convlstm.forecasting import VALIDATION_SEQUENCES

# Measured on 2 CPU cores (AVX-512 bf16): digits, heads, losses, for a million pixels of a sequence.
_SECONDS_PER_MPIXEL = 0.05


def estimate_forecast(config: ForecastConfig, precision: str, slowdown: float = 1.0) -> Cost:
    """Estimate what a run takes.

    Args:
        config: the run.
        precision: "float32", "bfloat16" or "float16", resolved for the device.
        slowdown: this machine's time for a piece of work over the reference machine's.
    """
    step = slowdown * _step_seconds(config, HORIZON, precision)
    # The curriculum's short horizons come first; ten points of it are enough.
    horizons = [horizon_at(config, (tenth + 0.5) / 10) for tenth in range(10)]
    mean = slowdown * sum(_step_seconds(config, h, precision) for h in horizons) / len(horizons)
    seconds = config.steps * mean
    if config.max_minutes:
        seconds = 60 * config.max_minutes
    else:  # an evaluation has no backward pass, and nothing is kept
        evaluations = config.steps // config.evaluate_every + 1
        seconds += evaluations * step / config.batch_size * VALIDATION_SEQUENCES / 3
    elements = sum(C * side**2 * T for _, C, _, side, T in _cells(config.model, config, HORIZON))
    kept = 2 if config.model.recompute else 7  # tensors of each h that wait for the backward pass
    memory = training_mib(config.batch_size * elements, precision) * kept / 7
    return Cost(step, step, seconds, memory)


def sequence_gflop(config: ForecastConfig, horizon: int = HORIZON) -> float:
    """Count the cells' convolutions for one sequence, forward, in GFLOP.

    A multiplication and an addition count as two. What lies between the cells is left out, and the
    first frame counts as the others, though it finds no state.
    """
    total = 0
    for in_channels, C, kernel, side, frames in _cells(config.model, config, horizon):
        total += 2 * (in_channels + C) * 4 * C * kernel**2 * side**2 * frames
    return total / 1e9


def _step_seconds(config: ForecastConfig, horizon: int, precision: str) -> float:
    cells = list(_cells(config.model, config, horizon))
    elements = sum(C * side**2 * frames for _, C, _, side, frames in cells)
    sequence = training_seconds(sequence_gflop(config, horizon), elements, precision)
    sequence += _SECONDS_PER_MPIXEL * config.scene.canvas**2 * (CONTEXT_FRAMES + horizon) / 1e6
    calls = SECONDS_PER_CELL_CALL * sum(frames for *_, frames in cells)
    repeated = 4 / 3 if config.model.recompute else 1
    return repeated * config.batch_size * sequence + calls


def _cells(
    model: ForecasterConfig, config: ForecastConfig, horizon: int
) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (input channels, hidden channels, kernel, side of the grid, frames) of each cell."""
    channels, side = model.patch_size**2, config.scene.canvas // model.patch_size
    read = CONTEXT_FRAMES + horizon - 1
    if model.network == "stack":
        for layer in range(model.num_layers):
            width = model.hidden_channels
            yield (width if layer else channels), width, model.kernel_size, side, read
        return
    widths = [model.hidden_channels * 2**scale for scale in range(model.num_layers)]
    for scale, width in enumerate(widths):
        kernel = 3 if scale else model.kernel_size
        yield (widths[scale - 1] if scale else channels), width, kernel, side >> scale, read
        if scale + 1 < len(widths):
            yield widths[scale + 1], width, kernel, side >> scale, horizon
