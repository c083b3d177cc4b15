"""Which channels a network needs: each silenced in turn, over the validation set.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

from collections.abc import Generator
from dataclasses import dataclass, replace

import torch

from convlstm.layer.tracing import Intervention, trace
from convlstm.networks import Network
from convlstm.training.config import TrainConfig
from convlstm.training.costs import evaluation_chunk

_PREDICTIONS = 1024  # of a knock-out: the more channels, the fewer sequences each is judged by
_FEWEST = 4


@dataclass(frozen=True)
class Silenced:
    """One channel without which a network was judged.

    Attributes:
        cell: in the order of `Network.cells`.
        channel: of the cell.
        mse: mean squared error per pixel without it.
    """

    cell: int
    channel: int
    mse: float


@dataclass(frozen=True)
class KnockOut:
    """What silencing each channel does.

    Attributes:
        sequences: by which each was judged.
        mse: mean squared error per pixel of the whole network.
        channels: the one that is missed most comes first.
    """

    sequences: int
    mse: float
    channels: list[Silenced]


def knock_out(network: Network, config: TrainConfig) -> Generator[float, None, KnockOut]:
    """Judge a network without each of its channels: memory and output at 0 in every frame.

    Args:
        network: it predicts where it is.
        config: of its training, whose scene's validation set judges.

    Yields:
        The share that is done, in [0, 1], after each small piece of the work.

    Returns:
        The channels, ranked.
    """
    scene, seen, horizon = config.scene, config.context_frames, config.horizon
    device = next(network.parameters()).device
    clip = scene.validation(seen, horizon)
    widths = [cell.hidden_channels for cell in network.cells()]
    every = [None, *((cell, n) for cell, width in enumerate(widths) for n in range(width))]
    count = min(len(clip.clean), max(_FEWEST, _PREDICTIONS // len(every)))
    # Frame by frame and without the fast scan: a fraction of an evaluation's piece.
    at_once = max(1, evaluation_chunk(replace(config, augmented=False), device) // 4)
    errors, total = [], len(every) * count
    for silenced in every:
        changes = []
        if silenced:
            cell, channel = silenced
            changes = [Intervention(part, cell, channel) for part in ("c", "h")]
        squares, known = torch.zeros(2, dtype=torch.float64)
        for start in range(0, count, at_once):
            part = clip.part(slice(start, min(count, start + at_once)))
            context, truth, valid = part.split(seen)
            context = context.to(device)
            predicted, _ = trace(
                network, lambda c=context: network.predict(c, horizon), changes, keep=False
            )
            scored = scene.scored
            difference = (predicted.cpu() - truth)[:, :, scored].double().square()
            counts = torch.ones_like(difference) if valid is None else valid[:, :, scored]
            squares += (difference * counts).sum()
            known += counts.sum()
            yield (len(errors) * count + start + len(truth)) / total
        errors.append((squares / known).item())
    channels = [Silenced(*place, mse) for place, mse in zip(every[1:], errors[1:], strict=True)]
    return KnockOut(count, errors[0], sorted(channels, key=lambda each: -each.mse))
