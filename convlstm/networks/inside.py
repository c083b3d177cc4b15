"""A look inside a network while it continues one sequence: its cells, moment by moment.

Moments are counted as on the page: 0 is the newest frame of the context, 1 the first one predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from convlstm.layer.tracing import CellTrace, Intervention, trace
from convlstm.networks.network import Network, Reader


@dataclass(frozen=True)
class Inside:
    """What a network and its cells made of a sequence.

    Attributes:
        context_frames: frames seen.
        readers: what each cell is.
        cells: what each did.
        predicted: the frames that follow, (B, horizon, C, H, W), in [0, 1].
    """

    context_frames: int
    readers: list[Reader]
    cells: list[CellTrace]
    predicted: Tensor

    def time(self, cell: int, moment: int) -> int | None:
        """Return which of its frames a cell read at a moment; None if it read none then."""
        time = time_of(self.readers[cell], moment, self.context_frames)
        return time if 0 <= time < len(self.cells[cell]) else None

    @property
    def bytes(self) -> int:
        """The memory that it holds."""
        kept = [self.predicted]
        for cell in self.cells:
            kept += [*cell.x, *(each for state in cell.states if state for each in state)]
        return sum(each.nbytes for each in kept)


def time_of(reader: Reader, moment: int, context_frames: int) -> int:
    """Return which of a cell's frames, from 0, is read at a moment; less than 0 before it."""
    return moment if reader.late else moment + context_frames - 1


def look_inside(
    network: Network, context: Tensor, horizon: int, interventions: Sequence[Intervention] = ()
) -> Inside:
    """Continue a sequence by `Network.predict`, and keep what the cells do.

    Every cell also reads the last frame predicted, so that there is a look at every moment.

    Args:
        network: in float32.
        context: frames seen, (B, T, C, H, W), in [0, 1].
        horizon: number of frames to predict, 1 or more.
        interventions: what is changed in the cells, which are counted as in `Network.readers`.

    Raises:
        ValueError: an intervention does not fit, or the context.

    Example:
        >>> network = load_checkpoint("checkpoints/quick-start.safetensors")
        >>> inside = look_inside(network, frames, horizon=10)
        >>> memory = inside.cells[0].at(inside.time(0, moment=0))["c"]
    """
    predicted, cells = trace(network, lambda: network.predict(context, horizon + 1), interventions)
    return Inside(context.shape[1], network.readers(), cells, predicted[:, :horizon])
