"""What training a forecaster costs, known before it starts."""

from collections.abc import Iterator
from dataclasses import dataclass

from convlstm.costs import SECONDS_PER_CELL_CALL, Cost, training_mib, training_seconds
from convlstm.forecast_config import CONTEXT_FRAMES, HORIZON, ForecastConfig, horizon_at
from convlstm.forecast_validation import EVALUATED_AT_ONCE, VALIDATION_SEQUENCES

# Measured on 2 CPU cores (AVX-512 bf16): digits, heads, losses, for a million pixels of a sequence.
_SECONDS_PER_MPIXEL = 0.05
_SECONDS_PER_PARAMETER = 4e-9  # reading and writing it and its moments once
_MUON_ROUNDS = 5  # of Newton and Schulz, for each matrix and step


@dataclass(frozen=True)
class _Cell:
    """What a cell of a network is to its cost: channels, kernel, side of the grid, frames."""

    in_channels: int
    channels: int
    kernel: int
    side: int
    frames: int
    attends: bool = False

    @property
    def elements(self) -> int:
        """Values that one sequence leaves for the backward pass, in units of h."""
        positions = self.side**2
        return self.frames * (self.channels * positions + self.attends * positions**2)

    @property
    def flop(self) -> int:
        """Arithmetic of one sequence, forward; a multiplication and an addition count as two."""
        positions = self.side**2
        convolution = 2 * 4 * self.parameters_of_a_gate * positions
        attention = 4 * self.channels * positions**2 if self.attends else 0
        return self.frames * (convolution + attention)

    @property
    def parameters_of_a_gate(self) -> int:
        """Weights of one of the four gates' kernels."""
        return (self.in_channels + self.channels) * self.channels * self.kernel**2

    @property
    def muon_flop(self) -> int:
        """Arithmetic to make the kernel's update orthogonal."""
        rows, columns = 4 * self.channels, (self.in_channels + self.channels) * self.kernel**2
        short, long = sorted((rows, columns))
        return _MUON_ROUNDS * (4 * short**2 * long + 2 * short**3)


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
    # An evaluation has no backward pass; it may go four times over mirrored sequences.
    evaluated = _sequence_seconds(config, HORIZON, precision) * slowdown / 3
    evaluated *= 4 if config.augmented else 1
    evaluations = config.steps // config.evaluate_every + 1
    seconds = config.steps * mean + evaluations * VALIDATION_SEQUENCES * evaluated
    if config.max_minutes:
        seconds = 60 * config.max_minutes
    cells = list(_cells(config, HORIZON))
    kept = 2 if config.model.recompute else 7  # tensors of each h that wait for the backward pass
    elements = config.batch_size * sum(cell.elements for cell in cells)
    parameters = sum(4 * cell.parameters_of_a_gate for cell in cells)
    # The weights, the best ones, the gradient and its moments; perhaps an average.
    copies = 6 if config.ema else 5
    memory = training_mib(elements, precision) * kept / 7 + 4 * copies * parameters / 2**20
    return Cost(max(step, EVALUATED_AT_ONCE * evaluated), step, seconds, memory)


def sequence_gflop(config: ForecastConfig, horizon: int = HORIZON) -> float:
    """Count the cells' arithmetic for one sequence, forward, in GFLOP.

    What lies between the cells is left out, and the first frame counts as the others, though it
    finds no state.
    """
    return sum(cell.flop for cell in _cells(config, horizon)) / 1e9


def _step_seconds(config: ForecastConfig, horizon: int, precision: str) -> float:
    cells = list(_cells(config, horizon))
    parameters = sum(4 * cell.parameters_of_a_gate for cell in cells)
    seconds = config.batch_size * _sequence_seconds(config, horizon, precision)
    seconds += SECONDS_PER_CELL_CALL * sum(cell.frames for cell in cells)
    seconds *= 4 / 3 if config.model.recompute else 1
    seconds += _SECONDS_PER_PARAMETER * parameters
    if config.optimizer == "muon":
        seconds += training_seconds(sum(c.muon_flop for c in cells) / 3e9, 0, "bfloat16")
    return seconds


def _sequence_seconds(config: ForecastConfig, horizon: int, precision: str) -> float:
    elements = sum(cell.elements for cell in _cells(config, horizon))
    seconds = training_seconds(sequence_gflop(config, horizon), elements, precision)
    pixels = config.scene.canvas**2 * (CONTEXT_FRAMES + horizon)
    return seconds + _SECONDS_PER_MPIXEL * pixels / 1e6


def _cells(config: ForecastConfig, horizon: int) -> Iterator[_Cell]:
    model, read = config.model, CONTEXT_FRAMES + horizon - 1
    channels, side = model.patch_size**2, config.scene.canvas // model.patch_size
    if model.network == "stack":
        for layer in range(model.num_layers):
            width = model.hidden_channels
            yield _Cell(width if layer else channels, width, model.kernel_size, side, read)
        return
    widths = [model.hidden_channels * 2**scale for scale in range(model.num_layers)]
    for scale, width in enumerate(widths):
        kernel, grid = 3 if scale else model.kernel_size, side >> scale
        attends = model.attention and scale > 0
        below = widths[scale - 1] if scale else channels
        yield _Cell(below, width, kernel, grid, read, attends)
        if scale + 1 < len(widths):
            yield _Cell(widths[scale + 1], width, kernel, grid, horizon, attends)
