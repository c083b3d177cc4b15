"""What the scan on a GPU is built of: cuDNN's convolutions of frames that lie channels last.

Axes: T time (frames), B batch, C channels, H height (px), W width (px). Frames have these axes in
this order, and memory in the order (T, B, H, W, C), which is what tensor cores read.
"""

import torch
from torch import Tensor


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve x (B, in, H, W) with a kernel (out, in, k, k), k odd; H and W stay."""
    return torch.conv2d(x, kernel, padding=_padding(kernel))


def gradients(
    d_output: Tensor,
    x: Tensor,
    kernel: Tensor,
    *,
    of_input: bool = False,
    of_kernel: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of a convolution's input and of its kernel, as far as asked for."""
    settings = [1, 1], _padding(kernel), [1, 1], False, [0, 0], 1
    asked = [of_input, of_kernel, False]
    return torch.ops.aten.convolution_backward(d_output, x, kernel, None, *settings, asked)[:2]


def _padding(kernel: Tensor) -> list[int]:
    return [side // 2 for side in kernel.shape[2:]]
