"""What the benchmark's modules compute, in what sizes: one network, built in different ways.

All read frames (B, T, in, H, W) with a stack of ConvLSTM layers, and turn each output into the next
frame with a 1x1 convolution.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convlstm.layer.convlstm import ConvLSTM
from convlstm.layer.layout import channels_last
from convlstm.layer.recurrence import apart, reference_scan, step
from convlstm.layer.scan_cuda import CudaScanner, Kernels


@dataclass(frozen=True)
class Size:
    """How large the network and its data are."""

    batch: int  # sequences in a step
    frames: int  # of a sequence, that are read
    side: int  # H and W, px
    in_channels: int  # of a frame
    hidden_channels: int  # of every layer
    num_layers: int  # ConvLSTM layers
    kernel_size: int  # side of their kernels, px
    repeats: int  # timed steps in the benchmark, unless another number is asked for

    def convolutions(self) -> Iterator[tuple[int, int, bool]]:
        """Yield every convolution: channels read, times done, whether its input has a gradient."""
        for layer in range(self.num_layers):
            inner = layer > 0
            yield self.hidden_channels if inner else self.in_channels, self.frames, inner
            if self.frames > 1:  # a zero state needs none
                yield self.hidden_channels, self.frames - 1, True

    def flop(self, *, training: bool) -> float:
        """Count the convolutions' arithmetic in a step; a multiplication and an addition are 2."""
        outputs = self.batch * self.side**2 * 4 * self.hidden_channels
        per_channel = 2 * outputs * self.kernel_size**2
        return sum(
            per_channel * channels * times * ((3 if has_gradient else 2) if training else 1)
            for channels, times, has_gradient in self.convolutions()
        )

    def random_frames(self) -> Tensor:
        """Return what is read, and a frame more, (B, T + 1, C, H, W)."""
        shape = (self.batch, self.frames + 1, self.in_channels, self.side, self.side)
        return torch.rand(shape, generator=torch.Generator().manual_seed(0))


SIZES = {
    "tiny": Size(2, 3, 16, 1, 4, 1, 3, repeats=3),
    "article": Size(8, 9, 64, 1, 16, 1, 3, repeats=40),
    "wide": Size(8, 9, 32, 16, 64, 2, 5, repeats=7),
    "moving-mnist": Size(16, 20, 16, 16, 128, 4, 5, repeats=3),
}


class PlainLoop(nn.Module):
    """The textbook: concatenate input and state, convolve, chunk, in a loop over the frames."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        hidden, kernel = size.hidden_channels, size.kernel_size
        self.cells = nn.ModuleList(
            nn.Conv2d(inputs + hidden, 4 * hidden, kernel, padding=kernel // 2)
            for inputs in [size.in_channels] + [hidden] * (size.num_layers - 1)
        )
        self.head = nn.Conv2d(hidden, size.in_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict the frame after each, (B, T, in, H, W)."""
        frames = list(x.unbind(1))
        for cell in self.cells:
            h = x.new_zeros(len(x), cell.out_channels // 4, *x.shape[3:])
            c = h
            for t, frame in enumerate(frames):
                i, f, g, o = cell(torch.cat([frame, h], 1)).chunk(4, 1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                frames[t] = h
        hidden = torch.stack(frames, 1)
        return self.head(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])


class Project(nn.Module):
    """This project's layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.layer = ConvLSTM(
            size.in_channels, size.hidden_channels, size.kernel_size, size.num_layers
        )
        self.head = nn.Conv2d(size.hidden_channels, size.in_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict the frame after each, (B, T, in, H, W)."""
        hidden = self.read(x).transpose(0, 1)  # (T, B, C, H, W), as it lies in memory
        return self.head(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2]).transpose(0, 1)

    def read(self, x: Tensor) -> Tensor:
        """Return every hidden frame, (B, T, C, H, W)."""
        return self.layer(x)[0]


class Reference(Project):
    """This project's layer by its readable reference, which every other path is tested against."""

    def read(self, x: Tensor) -> Tensor:
        """Return every hidden frame, (B, T, C, H, W)."""
        frames = x.transpose(0, 1)
        for cell in self.layer.cells:
            frames, _ = reference_scan(frames, None, cell.weights)
        return frames.transpose(0, 1)


class StepByStep(Project):
    """The reference's steps on frames and kernels that lie channels last, as tensor cores read."""

    def read(self, x: Tensor) -> Tensor:
        """Return every hidden frame, (B, T, C, H, W)."""
        frames = list(channels_last(x.transpose(0, 1)))
        for cell in self.layer.cells:
            kernels = apart(cell.weights.gates, frames[0].shape[1])
            kernels = tuple(k.contiguous(memory_format=torch.channels_last) for k in kernels)
            weights, state = cell.weights._replace(gates=kernels), None
            for t, frame in enumerate(frames):
                state = step(frame, state, weights)
                frames[t] = state[0]
        return torch.stack([frame.movedim(1, -1) for frame in frames], 1).movedim(-1, 2)


class GpuScan(Project):
    """This project's layer by the scan for a GPU; the gates by the fastest kernels, or eager."""

    def __init__(self, size: Size, kernels: Kernels | None = None) -> None:
        super().__init__(size)
        self.kernels = kernels

    def read(self, x: Tensor) -> Tensor:
        """Return every hidden frame, (B, T, C, H, W)."""
        frames = x.transpose(0, 1)
        for cell in self.layer.cells:
            frames, _ = CudaScanner(cell.weights, kernels=self.kernels)(frames, None)
        return frames.transpose(0, 1)
