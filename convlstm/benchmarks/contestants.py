"""What the benchmark compares: the same network and training step, built in different ways.

Every contestant reads frames (B, T, in, H, W) with a stack of ConvLSTM layers, turns each output
into the next frame with a 1x1 convolution, and learns by the MSE under Adam.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convlstm.devices import keep_freed_memory
from convlstm.layer.convlstm import ConvLSTM
from convlstm.layer.recurrence import reference_scan


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


class Contestant(Protocol):
    """One way to do it. Both calls return when the work is done, not when it is ordered."""

    def train(self) -> None:
        """Do a training step."""

    def forward(self) -> None:
        """Predict, without gradients."""


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


class _TorchContestant:
    """A module, trained in a precision."""

    def __init__(self, size: Size, device: torch.device, module: str, precision: str) -> None:
        make, keeps_memory = _MODULES[module]
        if keeps_memory:
            keep_freed_memory()
        self.device, self.is_bfloat16 = device, precision == "bfloat16"
        frames = size.random_frames().to(device)
        self.x, self.y = frames[:, :-1], frames[:, 1:]
        self.model = make(size).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3, fused=True)

    def _predict(self) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_bfloat16):
            return self.model(self.x)

    def train(self) -> None:
        F.mse_loss(self._predict().float(), self.y).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        _wait(self.device)

    @torch.no_grad()
    def forward(self) -> None:
        self._predict()
        _wait(self.device)


class _PlainLoop(nn.Module):
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


class _Project(nn.Module):
    """This project's layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.layer = ConvLSTM(
            size.in_channels, size.hidden_channels, size.kernel_size, size.num_layers
        )
        self.head = nn.Conv2d(size.hidden_channels, size.in_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.read(x).transpose(0, 1)  # (T, B, C, H, W), as it lies in memory
        return self.head(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2]).transpose(0, 1)

    def read(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


class _Reference(_Project):
    """This project's layer by its readable reference, which every other path is tested against."""

    def read(self, x: Tensor) -> Tensor:
        frames = x.transpose(0, 1)
        for cell in self.layer.cells:
            frames, _ = reference_scan(frames, None, cell.weights)
        return frames.transpose(0, 1)


class _Ceiling:
    """The step's convolutions and nothing else, channels last: what no step can beat."""

    def __init__(self, size: Size, device: torch.device, precision: str) -> None:
        self.device, kernel = device, size.kernel_size
        dtype = getattr(torch, precision)
        self.settings = [1, 1], [kernel // 2] * 2, [1, 1], False, [0, 0], 1

        def frames(channels: int) -> Tensor:
            shape = (size.batch, size.side, size.side, channels)
            return torch.rand(shape, device=device).to(dtype).permute(0, 3, 1, 2)

        hidden = 4 * size.hidden_channels
        self.work = [
            (
                frames(channels),
                torch.rand(hidden, channels, kernel, kernel, device=device).to(dtype),
                frames(hidden),
                times,
                has_gradient,
            )
            for channels, times, has_gradient in size.convolutions()
        ]

    def train(self) -> None:
        self.forward()
        for x, weight, d_output, times, has_gradient in self.work:
            for _ in range(times):
                torch.ops.aten.convolution_backward(
                    d_output, x, weight, None, *self.settings, [has_gradient, True, False]
                )
        _wait(self.device)

    def forward(self) -> None:
        for x, weight, _, times, _ in self.work:
            for _ in range(times):
                torch.convolution(x, weight, None, *self.settings)
        _wait(self.device)


class _Keras:
    """Keras's ConvLSTM2D, in float32, on one of its back ends."""

    def __init__(self, size: Size, backend: str) -> None:
        os.environ["KERAS_BACKEND"] = backend  # read once, as Keras is imported
        import keras

        inputs = keras.Input((size.frames, size.side, size.side, size.in_channels))
        x = inputs
        for _ in range(size.num_layers):
            x = keras.layers.ConvLSTM2D(
                size.hidden_channels, size.kernel_size, padding="same", return_sequences=True
            )(x)
        self.model = keras.Model(inputs, keras.layers.Dense(size.in_channels)(x))
        self.model.compile(keras.optimizers.Adam(1e-3), "mse")
        frames = size.random_frames().movedim(2, -1).contiguous().numpy()
        self.x, self.y = frames[:, :-1], frames[:, 1:]

    def train(self) -> None:
        self.model.train_on_batch(self.x, self.y)

    def forward(self) -> None:
        self.model.predict_on_batch(self.x)


PLAIN = "plain loop, float32"  # what the others are compared with
CEILING = "convolutions alone"
# What makes the module, and whether the process keeps freed memory, as this project's do.
_MODULES = {
    "plain loop": (_PlainLoop, False),
    "plain loop, memory kept": (_PlainLoop, True),
    "plain loop, compiled": (lambda size: torch.compile(_PlainLoop(size), dynamic=False), False),
    "this project's reference": (_Reference, True),
    "this project": (_Project, True),
}

# Makes a contestant of a size on a device, in a process of its own.
CONTESTANTS: dict[str, Callable[[Size, torch.device], Contestant]] = {
    **{
        f"{name}, {precision}": partial(_TorchContestant, module=name, precision=precision)
        for name in _MODULES
        for precision in ("float32", "bfloat16")
    },
    **{
        f"{CEILING}, {precision}": partial(_Ceiling, precision=precision)
        for precision in ("float32", "bfloat16")
    },
    **{
        f"Keras on {backend}, float32": lambda size, device, backend=backend: _Keras(size, backend)
        for backend in ("jax", "torch")
    },
}
