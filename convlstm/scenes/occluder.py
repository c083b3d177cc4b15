"""What keeps things out of sight: a bar before them, and frames that are dropped.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

from collections.abc import Callable

import torch
from torch import Tensor

from convlstm.scenes.scene import Clip

# Grey, so that a person sees the bar and a convolution knows where it is; nearer to black than to
# what moves, which a close-up looks for.
BAR_VALUE = 0.4
_MOST_DRAWS = 32  # for one sequence more whose end is hidden


def columns_of_bar(left: int, width: int, canvas: int, device: torch.device) -> Tensor:
    """Return which columns of a frame a bar covers, bool, (W,)."""
    column = torch.arange(canvas, device=device)
    return (column >= left) & (column < left + width)


def drop_frames(frames: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Make some frames black at random, but never the first.

    Args:
        frames: (B, T, C, H, W).
        share: chance of each of the others, in [0, 1].
        generator: the only source of randomness, on the frames' device.

    Returns:
        The frames, and which were dropped, bool, (B, T).
    """
    drawn = torch.rand(frames.shape[:2], generator=generator, device=frames.device)
    dropped = drawn < share
    dropped[:, 0].fill_(False)
    return frames.masked_fill(dropped[..., None, None, None], 0), dropped


def hidden_at_the_end(draw: Callable[[], Clip], sample: int, context_frames: int) -> Clip:
    """Pick a sequence worth looking at: what moves went out of sight, and comes out again.

    Args:
        draw: gives some sequences, other ones at each call.
        sample: which of those that are hidden in the newest frame of the context, from 0.
        context_frames: frames seen.

    Returns:
        The one sequence; any other where too few come out while they are predicted.
    """
    for _ in range(_MOST_DRAWS):
        clip = draw()
        shows = ~clip.hidden
        before, after = shows[:, :context_frames], shows[:, context_frames:]
        found = (clip.unseen(context_frames) & before.any(1) & after.any(1)).nonzero()[:, 0]
        if sample < len(found):
            return clip.part(slice(found[sample], found[sample] + 1))
        sample -= len(found)
    return draw().part(slice(sample, sample + 1))
