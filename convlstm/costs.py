"""What a setting costs: arithmetic, seconds and memory, known before a run starts.

Steps are cut into pieces here too, by counted arithmetic and not by the clock, so that a run's
numbers never depend on how fast or how busy the machine is.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convlstm.data import CONTEXT_FRAMES, SquaresConfig
from convlstm.predictor import ModelConfig

if TYPE_CHECKING:
    from convlstm.train_config import TrainConfig

_PIECE_GFLOP = 50  # in a piece of work; 0.1 to 0.3 s on two CPU cores
_PIECE_ELEMENTS = 8e6  # state values updated in a piece

# Measured on 2 CPU cores (AVX-512 bf16), forward and backward: a GFLOP of convolution, and the
# gates of a million state values. `slowdown` scales both to the machine at hand.
_SECONDS_PER_GFLOP = {"float32": 0.0022, "bfloat16": 0.0010}
_SECONDS_PER_MELEMENT = {"float32": 0.0175, "bfloat16": 0.0100}
SECONDS_PER_CELL_CALL = 0.0004  # launching some forty operations, forward and backward
_BYTES_PER_ELEMENT = {"float32": 76, "bfloat16": 44}  # kept for the backward pass


@dataclass(frozen=True)
class Cost:
    """What a run will take, about.

    Attributes:
        piece_seconds: the longest stretch of work that cannot be interrupted, s.
        step_seconds: one training step, s.
        run_seconds: the whole run if nothing ends it earlier, s.
        memory_mib: memory for training, MiB.
    """

    piece_seconds: float
    step_seconds: float
    run_seconds: float
    memory_mib: float


def forward_gflop(scene: SquaresConfig, model: ModelConfig) -> float:
    """Count the convolutions' arithmetic for one sequence of context frames, in GFLOP.

    A multiplication and an addition count as two; the head and the gates are left out.
    """
    hidden, gates = model.hidden_channels, 4 * model.hidden_channels
    channels = (1 + hidden) + (model.num_layers - 1) * 2 * hidden  # in, over all layers
    per_pixel = 2 * channels * gates * model.kernel_size**2
    return per_pixel * scene.canvas**2 * CONTEXT_FRAMES / 1e9


def state_elements(scene: SquaresConfig, model: ModelConfig) -> int:
    """Count the values of h that one sequence of context frames computes."""
    return model.hidden_channels * model.num_layers * scene.canvas**2 * CONTEXT_FRAMES


def training_chunk(config: "TrainConfig") -> int:
    """Return how many sequences one piece of a training step holds."""
    return max(1, min(config.batch_size, int(_sequences_in_a_piece(config))))


def evaluation_chunk(config: "TrainConfig") -> int:
    """Return how many held-out sequences one piece of an evaluation holds."""
    return max(1, int(3 * _sequences_in_a_piece(config)))  # a third of a training step's work


def _sequences_in_a_piece(config: "TrainConfig") -> float:
    """Count the sequences that may be trained on in one piece."""
    by_flop = _PIECE_GFLOP / (3 * forward_gflop(config.scene, config.model))
    by_elements = _PIECE_ELEMENTS / state_elements(config.scene, config.model)
    return min(by_flop, by_elements)


def estimate(config: "TrainConfig", precision: str, slowdown: float = 1.0) -> Cost:
    """Estimate what a run takes.

    Args:
        config: the run.
        precision: "float32" or "bfloat16", resolved for the device.
        slowdown: this machine's time for a piece of work over the reference machine's.
    """
    elements = state_elements(config.scene, config.model)
    sequence = slowdown * training_seconds(
        forward_gflop(config.scene, config.model), elements, precision
    )
    calls = slowdown * SECONDS_PER_CELL_CALL * CONTEXT_FRAMES * config.model.num_layers
    chunk = training_chunk(config)
    step = config.batch_size * sequence + -(-config.batch_size // chunk) * calls
    return Cost(
        piece_seconds=chunk * sequence + calls,
        step_seconds=step,
        run_seconds=step * config.total_steps,
        memory_mib=training_mib(chunk * elements, precision),
    )


def training_seconds(gflop: float, elements: float, precision: str) -> float:
    """Return what one sequence adds to a training step on the reference machine, in s.

    Args:
        gflop: its forward pass's convolutions.
        elements: its values of h.
        precision: "float32", "bfloat16", or "float16", which no CPU is faster with.
    """
    precision = "bfloat16" if precision == "bfloat16" else "float32"
    seconds = _SECONDS_PER_GFLOP[precision] * 3 * gflop  # the backward pass takes two forward ones
    return seconds + _SECONDS_PER_MELEMENT[precision] * elements / 1e6


def training_mib(elements: float, precision: str) -> float:
    """Return what is kept of so many values of h for the backward pass, in MiB."""
    precision = "bfloat16" if precision == "bfloat16" else "float32"
    return elements * _BYTES_PER_ELEMENT[precision] / 2**20
