"""A network as functions of tensors alone, as other programs call it: a whole forecast, or one step
with the states in and out.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from convlstm.networks.network import Network

PartName = Literal["forecast", "step"]
PARTS: tuple[PartName, ...] = get_args(PartName)


class Port(NamedTuple):
    """One tensor that goes in or comes out.

    Attributes:
        name: in a file.
        between: the sizes of the axes that stand between B and H.
        side: of one of its pixels, in px of a frame; 0 for a single bool without axes.
        meaning: for a person.
    """

    name: str
    between: tuple[int, ...]
    side: int
    meaning: str


class Part(nn.Module):
    """What of a network goes into a file of its own: tensors in, tensors out.

    Attributes:
        network: whose part it is.
        inputs: what goes in, in this order.
        outputs: what comes out, in this order.
    """

    network: Network
    inputs: list[Port]
    outputs: list[Port]

    def examples(self, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
        """Return inputs of zeros, and True: what a first call takes.

        Args:
            batch: sequences.
            height: of a frame, px; a multiple of the network's divisor.
            width: likewise.
        """
        dtype = next(self.network.parameters()).dtype
        return tuple(
            torch.zeros(batch, *port.between, height // port.side, width // port.side, dtype=dtype)
            if port.side
            else torch.tensor(True)
            for port in self.inputs
        )


class Forecast(Part):
    """From the context to all frames that follow, as `Network.predict`.

    Args:
        network: any.
        context_frames: frames seen.
        horizon: frames to predict.
    """

    def __init__(self, network: Network, context_frames: int, horizon: int) -> None:
        super().__init__()
        self.network, self.horizon = network, horizon
        channels = network.frames.channels
        self.inputs = [Port("context", (context_frames, channels), 1, "frames seen, in [0, 1]")]
        self.outputs = [Port("forecast", (horizon, channels), 1, "frames that follow, in [0, 1]")]

    def forward(self, context: Tensor) -> Tensor:
        """(B, T, C, H, W) to (B, horizon, C, H, W)."""
        return self.network.predict(context, self.horizon)


class Step(Part):
    """From a frame and the states to the next frame and the next states, as `Network.step`.

    Args:
        network: any.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        channels, readers = network.frames.channels, network.readers()
        frame = Port("frame", (channels,), 1, "newest frame, in [0, 1]")
        seen = Port("seen", (), 0, "True for a frame seen, False for the last prediction")
        states = [
            Port(f"{part}{n}", (cell.hidden_channels,), reader.side, f"{what} {n}")
            for n, (cell, reader) in enumerate(zip(network.cells(), readers, strict=True))
            for part, what in (("h", "state of cell"), ("c", "memory of cell"))
        ]
        if network.carries_last:
            patch = network.patch_channels, network.config.patch_size
            states.append(Port("last", patch[:1], patch[1], "last prediction, unclipped"))
        first = [each._replace(meaning=f"{each.meaning}; zeros at first") for each in states]
        self.inputs = [frame, *([seen] if network.tells_seen else []), *first]
        prediction = Port("prediction", (channels,), 1, "next frame, in [0, 1]")
        self.outputs = [prediction, *(each._replace(name=f"next_{each.name}") for each in states)]

    def forward(self, frame: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Take and give what `inputs` and `outputs` say."""
        network, rest = self.network, list(others)
        seen = rest.pop(0) if network.tells_seen else None
        last = rest.pop() if network.carries_last else None
        states = list(zip(rest[::2], rest[1::2], strict=True))
        prediction, states, values = network.step(frame, states, seen, last)
        after = [tensor for state in states for tensor in state]
        return prediction, *after, *([values] if network.carries_last else [])
