"""What a setting costs: arithmetic, seconds and memory, known before a run starts.

Steps are cut into pieces here too, by counted arithmetic and not by the clock, so that a run's
numbers never depend on how fast or how busy the machine is.
"""

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from convlstm.networks import FrameFormat, NetworkConfig, build_network
from convlstm.training.config import MAX_STEPS, TrainConfig
from convlstm.training.optimizers import Optimizer

_PIECE_GFLOP = 120  # of a piece of training on a CPU; 0.1 to 0.3 s on two cores
_PIECE_ELEMENTS = 8e6  # state values updated in a piece
_GPU_TIMES = 100  # what a GPU does in the same time

# Measured on 2 CPU cores (AVX-512 bf16), forward and backward: a GFLOP of convolution, the gates of
# a million state values (a million weights of attention take as long), and drawing and scoring a
# million pixels of a sequence.
_SECONDS_PER_GFLOP = {"float32": 0.0022, "bfloat16": 0.0010}
_SECONDS_PER_MELEMENT = {"float32": 0.0175, "bfloat16": 0.0100}
_SECONDS_PER_MPIXEL = 0.05
_SECONDS_PER_MMOVED = 0.003  # a million products of a transporting head, in float32 always
_SECONDS_PER_CELL_CALL = 0.0004  # launching some forty operations, forward and backward
_SECONDS_PER_PARAMETER = 4e-9  # reading and writing it and its moments once
_BYTES_PER_ELEMENT = {"float32": 76, "bfloat16": 44}  # kept for the backward pass
_BYTES_PER_ATTENDED = 4  # likewise
_BYTES_PER_MOVED = 2  # likewise
_BYTES_PER_RECORD = 256  # of a run's history, for each step
_BYTES_PER_JUDGED = 9  # of the validation set: observed and clean, as floats, and a mask
_SOFTMAX = (torch.ops.aten._safe_softmax.default, torch.ops.aten._softmax.default)
_MUON_ROUNDS = 5  # of Newton and Schulz, for each matrix and step


@dataclass(frozen=True)
class Cost:
    """What a run will take, about.

    Attributes:
        piece_seconds: the longest stretch of work that cannot be interrupted, s.
        step_seconds: one training step at the full horizon, s.
        run_seconds: the whole run if nothing ends it earlier, s.
        memory_mib: memory for training, MiB.
        kept_mib: what it holds of that, or comes to hold, between two steps, MiB.
    """

    piece_seconds: float
    step_seconds: float
    run_seconds: float
    memory_mib: float
    kept_mib: float

    def slowed(self, slowdown: float) -> "Cost":
        """Return the cost on a machine that takes so many times the reference machine's time."""
        times = (self.piece_seconds, self.step_seconds, self.run_seconds)
        return Cost(*(slowdown * seconds for seconds in times), self.memory_mib, self.kept_mib)


class Work(NamedTuple):
    """What predicting one sequence takes, without gradients."""

    gflop: float  # of convolutions and matrix products
    elements: float  # values of h
    cell_calls: float  # a cell's steps
    attended: float  # weights of attention, of each position for each
    moved: float  # products of a transporting head

    def plus(self, other: "Work", times: float) -> "Work":
        """Return the sum with so many times another."""
        return Work(*(one + times * more for one, more in zip(self, other, strict=True)))


def arithmetic(
    config: NetworkConfig,
    frames: FrameFormat,
    size: tuple[int, int],
    context_frames: int,
    horizon: int,
) -> Work:
    """Count what a network does for one sequence.

    Torch's own formulas count, on the meta device, where nothing is computed. Few frames are
    enough: each further one costs what the second does.

    Args:
        config: of the network.
        frames: what the frames are like.
        size: H and W, px.
        context_frames: frames seen.
        horizon: frames predicted.
    """
    one, context, future = _counted(replace(config, recompute=False), frames, size)
    return one.plus(context, context_frames - 1).plus(future, horizon - 1)


def work_of(config: TrainConfig, horizon: int | None = None) -> Work:
    """Count what predicting one sequence of a run takes, at its whole horizon or another."""
    scene = config.scene
    return arithmetic(
        config.network, scene.frames, scene.size, config.context_frames, horizon or config.horizon
    )


@functools.lru_cache(1024)
def _counted(
    config: NetworkConfig, frames: FrameFormat, size: tuple[int, int]
) -> tuple[Work, Work, Work]:
    """Count one frame of context and of horizon; what a further one adds of either."""
    network = build_network(config, frames, device="meta")

    def count(context_frames: int, horizon: int) -> Work:
        context = torch.zeros(1, context_frames, frames.channels, *size, device="meta")
        with torch.no_grad(), _Counter(attends=config.attention) as counter:
            network(context, horizon)
        return Work(
            counter.flop / 1e9, counter.elements, counter.calls, counter.attended, counter.moved
        )

    one = count(1, 1)  # of which the first frame finds no state: every further one does
    return one, count(2, 1).plus(one, -1), count(1, 2).plus(one, -1)


class _Counter(TorchDispatchMode):
    """Counts arithmetic by torch's own formulas, and the values of h.

    A cell takes two tanh of each value, and nothing else takes any; where there is attention, its
    weights are what a softmax gives; and a transporting head adds up products. Torch's
    `FlopCounterMode` counts likewise, but hooks itself into every module of the process for a
    while: other threads' runs would take another path.
    """

    def __init__(self, *, attends: bool) -> None:
        super().__init__()
        self._attends = attends
        self.flop, self.elements, self.calls, self.attended, self.moved = 0, 0.0, 0.0, 0.0, 0.0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if formula := flop_registry.get(function.overloadpacket):
            self.flop += formula(*args, **kwargs, out_val=result)
        if function is torch.ops.aten.tanh.default:
            self.elements += result.numel() / 2
            self.calls += 0.5
        elif function in _SOFTMAX and self._attends:
            self.attended += result.numel()
        elif function is torch.ops.aten.addcmul.default:
            self.moved += result.numel()
        return result


def training_chunk(config: TrainConfig, device: torch.device | str = "cpu") -> int:
    """Return how many sequences one piece of a training step holds."""
    return max(1, min(config.batch_size, int(_sequences_in_a_piece(config, device))))


def evaluation_chunk(config: TrainConfig, device: torch.device | str = "cpu") -> int:
    """Return how many sequences one piece of an evaluation holds."""
    # A third of a training step's work; four times as much over mirrored sequences.
    pieces = 3 * _sequences_in_a_piece(config, device) / (4 if config.augmented else 1)
    return max(1, min(16, int(pieces)))


def _sequences_in_a_piece(config: TrainConfig, device: torch.device | str) -> float:
    """Count the sequences that may be trained on in one piece."""
    work = work_of(config)
    elements = work.elements + work.attended
    limit = min(_PIECE_GFLOP / (3 * work.gflop), _PIECE_ELEMENTS / elements)
    return limit if torch.device(device).type == "cpu" else _GPU_TIMES * limit


def estimate(config: TrainConfig, precision: str) -> Cost:
    """Estimate what a run takes on the reference machine.

    Args:
        config: the run.
        precision: "float32", "bfloat16" or "float16", resolved for the device.
    """
    network, work, chunk = config.network, work_of(config), training_chunk(config)
    precision = _counted_precision(precision)
    parameters, _ = _parameters(network, config.scene.frames, config.optimizer)
    evaluated = _sequence_seconds(config, work, precision, config.horizon) / 3
    evaluated *= 4 if config.augmented else 1
    evaluations = config.total_steps // config.evaluate_every + 1
    seconds = config.total_steps * sum(_tenths(config, precision)) / 10
    seconds += evaluations * config.scene.validation_sequences * evaluated
    whole_step = step_seconds(config, precision, 1.0)
    steps = config.total_steps
    if config.max_minutes:
        seconds = 60 * config.max_minutes
        steps = min(MAX_STEPS, seconds / whole_step)
    kept = 2 / 7 if network.recompute else 1  # of the tensors that wait for the backward pass
    memory = kept * chunk * work.elements * _BYTES_PER_ELEMENT[precision]
    memory += chunk * (work.attended * _BYTES_PER_ATTENDED + work.moved * _BYTES_PER_MOVED)
    # The weights, the best ones, the gradient and its moments; perhaps an average.
    weights = 4 * (6 if config.ema else 5) * parameters
    judged = config.scene.validation_sequences * _pixels(config, config.horizon)
    keeps = weights + _BYTES_PER_RECORD * steps + _BYTES_PER_JUDGED * judged
    piece = max(_piece_seconds(config, precision, chunk, config.horizon), _update_seconds(config))
    own = config.scene.mib
    return Cost(piece, whole_step, seconds, (memory + weights) / 2**20, keeps / 2**20 + own)


def step_seconds(config: TrainConfig, precision: str, progress: float) -> float:
    """Estimate what a training step takes on the reference machine, in s.

    Args:
        config: the run.
        precision: resolved for the device.
        progress: the share of the run that lies before the step.
    """
    precision, chunks = (
        _counted_precision(precision),
        -(-config.batch_size // training_chunk(config)),
    )
    now = replace(config, scene=config.scene.at(progress))
    piece = _piece_seconds(now, precision, config.batch_size / chunks, config.horizon_at(progress))
    return chunks * piece + _update_seconds(config)


def steps_left(config: TrainConfig, precision: str, progress: float) -> float:
    """Return the rest of a run, counted in steps like the one at `progress`."""
    tenths, tenth = _tenths(config, precision), min(9, int(10 * progress))
    rest = sum(tenths[tenth + 1 :]) / 10 + tenths[tenth] * ((tenth + 1) / 10 - progress)
    return config.total_steps * max(0.0, rest) / step_seconds(config, precision, progress)


def _tenths(config: TrainConfig, precision: str) -> list[float]:
    """Return the seconds of a step in each tenth of a run: what it does may grow on the way."""
    # What somebody brought costs nothing more than an example, and must not be remembered here.
    anybody_s = config.scene.like(type(config.scene)())
    return _known_tenths(replace(config, scene=anybody_s), precision)


@functools.lru_cache(1024)
def _known_tenths(config: TrainConfig, precision: str) -> list[float]:
    return [step_seconds(config, precision, (tenth + 0.5) / 10) for tenth in range(10)]


def _counted_precision(precision: str) -> str:
    return "bfloat16" if precision == "bfloat16" else "float32"  # no CPU is faster with float16


def _piece_seconds(config: TrainConfig, precision: str, sequences: float, horizon: int) -> float:
    """Estimate a piece of a training step of so many sequences, in s."""
    work = work_of(config, horizon)
    seconds = sequences * _sequence_seconds(config, work, precision, horizon)
    again = 4 / 3 if config.network.recompute else 1
    return again * (seconds + _SECONDS_PER_CELL_CALL * work.cell_calls)


def _update_seconds(config: TrainConfig) -> float:
    """Estimate the update of the weights, in s."""
    parameters, muon_gflop = _parameters(config.network, config.scene.frames, config.optimizer)
    return _SECONDS_PER_PARAMETER * parameters + _SECONDS_PER_GFLOP["bfloat16"] * muon_gflop


def _sequence_seconds(config: TrainConfig, work: Work, precision: str, horizon: int) -> float:
    """Return what one sequence adds to a training step, in s."""
    # The backward pass takes two forward ones.
    seconds = _SECONDS_PER_GFLOP[precision] * 3 * work.gflop
    seconds += _SECONDS_PER_MELEMENT[precision] * (work.elements + work.attended) / 1e6
    seconds += _SECONDS_PER_MMOVED * work.moved / 1e6
    return seconds + _SECONDS_PER_MPIXEL * _pixels(config, horizon) / 1e6


def _pixels(config: TrainConfig, horizon: int) -> int:
    """Count the values of one sequence."""
    height, width = config.scene.size
    return config.scene.frames.channels * height * width * (config.context_frames + horizon)


@functools.lru_cache(1024)
def _parameters(config: NetworkConfig, frames: FrameFormat, optimizer: str) -> tuple[int, float]:
    """Count a network's parameters, and the arithmetic of Muon's update in GFLOP."""
    network = build_network(config, frames, device="meta")
    flop = 0
    for matrix in Optimizer.kernels(network).values() if optimizer == "muon" else ():
        short, long = sorted((len(matrix), matrix[0].numel()))
        flop += _MUON_ROUNDS * (4 * short**2 * long + 2 * short**3)
    return sum(parameter.numel() for parameter in network.parameters()), flop / 1e9
