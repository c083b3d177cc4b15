"""What the scan on a CPU is built of: oneDNN's convolutions and tanh, on channels-last frames.

Axes: T time (frames), B batch, C channels, H height (px), W width (px). Frames have these axes in
this order, and memory in the order (T, B, H, W, C), where oneDNN needs no reordering.
"""

import torch
from torch import Tensor

_FOUND = all(  # not so in a build without oneDNN
    hasattr(torch.ops.mkldnn, name)
    for name in (
        "_convolution_pointwise",
        "_convolution_pointwise_",
        "_is_mkldnn_bf16_supported",
        "_linear_pointwise",
        "_reorder_convolution_weight",
    )
)
_LANES = 16  # side of the identity matrix in tanh


def is_supported(dtype: torch.dtype) -> bool:
    """Whether these kernels are there, and compute in this type."""
    if not (_FOUND and torch._C._get_mkldnn_enabled()):
        return False
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32


class Convolution:
    """A convolution that keeps H and W, for many frames of one shape.

    Its weights are packed once, as oneDNN wants them. The gradient of its input is a convolution
    with the weights turned, which packs as well.

    Args:
        weight: (out, in, k, k), k odd.
        B: sequences of the frames it reads.
        H: their height, px.
        W: their width, px.
    """

    def __init__(self, weight: Tensor, B: int, H: int, W: int) -> None:
        self.weight = weight.contiguous()
        self._shape = B, H, W
        self._padding = [weight.shape[-1] // 2] * 2
        self._packed = self._pack(self.weight)
        self._turned: Tensor | None = None

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve x (B, in, H, W) to (B, out, H, W)."""
        return self._convolve(x, self._packed, bias)

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Convolve x (B, in, H, W) and add that to total (B, out, H, W)."""
        torch.ops.mkldnn._convolution_pointwise_.binary(
            total, x, self._packed, None, self._padding, [1, 1], [1, 1], 1, "add", 1.0, None, [], ""
        )

    def input_gradient(self, d_output: Tensor) -> Tensor:
        """Return the gradient of the input, (B, in, H, W), given the output's."""
        if self._turned is None:
            self._turned = self._pack(self.weight.flip(2, 3).transpose(0, 1).contiguous())
        return self._convolve(d_output, self._turned, None)

    def weight_gradient(
        self, d_output: Tensor, x: Tensor, *, wants_bias: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of the weight, (out, in, k, k), and of the bias, (out,)."""
        # In float32 the bias's, asked for with the weight's, doubles that one's time.
        together = wants_bias and d_output.dtype == torch.bfloat16
        _, d_weight, d_bias = torch.ops.aten.convolution_backward(
            d_output, x, self.weight, [len(self.weight)] if together else None, [1, 1],
            self._padding, [1, 1], False, [0, 0], 1, [False, True, together],
        )  # fmt: skip
        if wants_bias and not together:
            d_bias = d_output.sum((0, 2, 3))
        return d_weight, d_bias

    def _convolve(self, x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(
            x, packed, bias, self._padding, [1, 1], [1, 1], 1, "none", [], ""
        )

    def _pack(self, weight: Tensor) -> Tensor:
        B, H, W = self._shape
        return torch.ops.mkldnn._reorder_convolution_weight(
            weight, self._padding, [1, 1], [1, 1], 1, [B, weight.shape[1], H, W]
        )


def identity(dtype: torch.dtype) -> Tensor:
    """Make the matrix that `tanh` multiplies by."""
    return torch.eye(_LANES, dtype=dtype, device="cpu")


def tanh(x: Tensor, identity: Tensor) -> Tensor:
    """Return tanh of frames (B, C, H, W) that lie channels last, by oneDNN behind a matrix product.

    With an identity matrix the product changes nothing; three times as fast as torch.tanh.
    """
    if x.numel() % _LANES:
        return x.tanh()
    B, C, H, W = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(-1, _LANES)
    rows = torch.ops.mkldnn._linear_pointwise(rows, identity, None, "tanh", [], "")
    return rows.view(B, H, W, C).permute(0, 3, 1, 2)
