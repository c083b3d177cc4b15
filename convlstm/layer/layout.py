"""How frames lie in memory where a scan is fast: channels last, on a CPU and on a GPU.

oneDNN and tensor cores read them so without reordering. Axes: T time (frames), B batch, C channels,
H height (px), W width (px). Tensors have these axes in this order, and memory in the order
(T, B, H, W, C).
"""

import torch
from torch import Tensor


def empty_frames(
    T: int, B: int, C: int, H: int, W: int, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Tensor:
    """Make frames with nothing in them, (T, B, C, H, W); whatever torch's default device is."""
    return torch.empty(T, B, H, W, C, dtype=dtype, device=device).permute(0, 1, 4, 2, 3)


def channels_last(x: Tensor) -> Tensor:
    """Return x (..., C, H, W) channels last, with strides that say so even where C is 1.

    Without a copy where it lies so already.
    """
    *others, C, H, W = x.shape
    strides, size = [1, W * C, C], C * H * W
    for n in reversed(others):
        strides.insert(0, size)
        size *= n
    if x.stride() == tuple(strides):
        return x
    x = x.movedim(-3, -1).contiguous().movedim(-1, -3)
    return x.as_strided(x.shape, strides)


def merged(frames: Tensor) -> Tensor:
    """(T, B, C, H, W) to (T * B, C, H, W), without a copy.

    `flatten` would give one channel the strides of channels first, and a convolution that sees
    them copies everything: a fifth of a training step.
    """
    T, B, C, H, W = frames.shape
    return frames.as_strided((T * B, C, H, W), (C * H * W, 1, W * C, C))
