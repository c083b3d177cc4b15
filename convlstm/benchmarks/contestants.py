"""What the benchmark compares: the same training step of the same network, done in different ways.

Every contestant predicts each next frame, and learns by the MSE under Adam.
"""

import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convlstm.benchmarks.modules import (
    GpuScan,
    PlainLoop,
    Project,
    Reference,
    Size,
    StepByStep,
)
from convlstm.devices import keep_freed_memory
from convlstm.layer import kernels_eager
from convlstm.layer.cell import ConvLSTMCell
from convlstm.layer.scan_cuda import CudaScanner
from convlstm.settings import configure
from convlstm.training import Trainer, train
from convlstm.training.captured import Captured
from convlstm.training.captured_trainer import CapturedTrainer
from convlstm.training.config import MAX_STEPS
from convlstm.training.optimizers import Optimizer
from convlstm.training.presets import preset

_RATE = 1e-3  # of learning


class Contestant(Protocol):
    """One way to do it. A GPU may still be at work when a call returns."""

    def train(self) -> None:
        """Do a training step."""

    def forward(self) -> None:
        """Predict, without gradients."""


@dataclass(frozen=True)
class Way:
    """How a module is computed.

    Attributes:
        make: makes the module of a size.
        keeps_memory: whether the process keeps freed memory, as this project's do.
        chooses: whether cuDNN tries its algorithms and takes the fastest.
        captured: whether a GPU repeats the steps as one graph.
    """

    make: Callable[[Size], nn.Module]
    keeps_memory: bool = False
    chooses: bool = False
    captured: bool = False


class _TorchContestant:
    """A module, trained in a precision."""

    def __init__(self, size: Size, device: torch.device, way: Way, precision: str) -> None:
        if way.keeps_memory:
            keep_freed_memory()
        _set_up(device, chooses=way.chooses)
        self.device, self.is_bfloat16 = device, precision == "bfloat16"
        frames = size.random_frames().to(device)
        self.x, self.y = frames[:, :-1], frames[:, 1:]
        self.model = way.make(size).to(device)
        self.optimizer = Optimizer("adamw", self.model, 0.0)
        self.rate = torch.full((), _RATE, device=device) if way.captured else _RATE
        both = self._step, self._quiet_step
        self.train, self.forward = (Captured(f, device) if way.captured else f for f in both)

    def _predict(self) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_bfloat16):
            return self.model(self.x)

    def _step(self) -> None:
        F.mse_loss(self._predict().float(), self.y).backward()
        self.optimizer.step(self.rate)
        self.model.zero_grad()

    @torch.no_grad()
    def _quiet_step(self) -> None:
        self._predict()


def _set_up(device: torch.device, *, chooses: bool) -> None:
    """Say to this process, which is the contestant's own, whether cuDNN is to choose."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = chooses


class _Training:
    """All that this program does in a step of training: it draws sequences, too."""

    def __init__(
        self,
        size: Size,
        device: torch.device,
        precision: str,
        *,
        captured: bool,
        by_gpu_scan: bool = False,
    ) -> None:
        _set_up(device, chooses=True)
        patch = math.isqrt(size.in_channels)
        changes = {
            "canvas": patch * size.side,
            "patch_size": patch,
            "hidden_channels": size.hidden_channels,
            "kernel_size": size.kernel_size,
            "num_layers": size.num_layers,
            "batch_size": size.batch,
            "context_frames": size.frames,
            "loss": "mse",
            "targets": "all",
            "precision": precision,
            "stop_below": 0.0,
            "epochs": MAX_STEPS,
            "evaluate_every": MAX_STEPS,
        }
        config = configure(changes, preset("article"))
        self.trainer = (CapturedTrainer if captured else Trainer)(config, device)
        for cell in self.trainer.network.cells() if by_gpu_scan else ():
            cell.scanner = partial(_gpu_scanner, cell)
        records = train(config, trainer=self.trainer)
        # Captured, no record is waited for, as where nobody looks.
        self.train = self.trainer.order if captured else partial(next, records)
        frames = size.frames, *config.scene.size
        self.context = torch.rand(size.batch, frames[0], 1, *frames[1:], device=device)

    def forward(self) -> None:
        self.trainer.predict(self.context, 1)


def _gpu_scanner(cell: ConvLSTMCell, *, recompute: bool = False) -> CudaScanner:
    return CudaScanner(cell.weights, cell.geometry, recompute=recompute)


class _Ceiling:
    """The step's convolutions and nothing else, channels last: what no step can beat."""

    def __init__(self, size: Size, device: torch.device, precision: str) -> None:
        _set_up(device, chooses=True)
        kernel, dtype = size.kernel_size, getattr(torch, precision)
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

    def forward(self) -> None:
        for x, weight, _, times, _ in self.work:
            for _ in range(times):
                torch.convolution(x, weight, None, *self.settings)


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
_CUDA, _TRITON = {"device": "cuda"}, {"device": "cuda", "modules": ("triton",)}
# How a module is computed, and where that can be. On a GPU, where the layer is its reference, each
# of them adds one thing to another, so that the rows say what it brings.
_WAYS: dict[str, tuple[Way, dict[str, object]]] = {
    "plain loop": (Way(PlainLoop), {}),
    "plain loop, memory kept": (Way(PlainLoop, keeps_memory=True), {"device": "cpu"}),
    "plain loop, compiled": (
        Way(lambda size: torch.compile(PlainLoop(size), dynamic=False)),
        {},
    ),
    "plain loop, captured": (Way(PlainLoop, captured=True), _CUDA),
    "this project's reference": (Way(Reference, keeps_memory=True), {}),
    "this project": (Way(Project, keeps_memory=True), {}),
    "this project, captured": (Way(Project, captured=True), _CUDA),
    "this project, cuDNN's choice": (Way(Project, chooses=True), _CUDA),
    "this project, channels last": (Way(StepByStep), _CUDA),
    "this project, channels last, cuDNN's choice": (Way(StepByStep, chooses=True), _CUDA),
    "this project, GPU scan, eager gates": (
        Way(partial(GpuScan, kernels=kernels_eager), chooses=True),
        _CUDA,
    ),
    "this project, GPU scan": (Way(GpuScan, chooses=True), _TRITON),
    "this project, GPU scan, captured": (Way(GpuScan, chooses=True, captured=True), _TRITON),
}
_TRAININGS: dict[str, tuple[dict[str, bool], dict[str, object]]] = {
    "whole training": ({"captured": False}, _CUDA),
    "whole training, captured": ({"captured": True}, _CUDA),
    "whole training, GPU scan, captured": ({"captured": True, "by_gpu_scan": True}, _TRITON),
}


@dataclass(frozen=True)
class Entry:
    """A contestant that may take part.

    Attributes:
        make: makes it of a size on a device, in a process of its own.
        device: the only kind of device that it is for; None for any.
        modules: what must be installed for it.
    """

    make: Callable[[Size, torch.device], Contestant]
    device: str | None = None
    modules: tuple[str, ...] = ()

    def __call__(self, size: Size, device: torch.device) -> Contestant:
        """Make it."""
        return self.make(size, device)

    def is_able(self, device: torch.device) -> bool:
        """Whether it can take part on a device."""
        is_installed = all(importlib.util.find_spec(module) for module in self.modules)
        return self.device in (None, device.type) and is_installed


_PRECISIONS = "float32", "bfloat16"
CONTESTANTS: dict[str, Entry] = {
    **{
        f"{name}, {precision}": Entry(
            partial(_TorchContestant, way=way, precision=precision), **where
        )
        for name, (way, where) in _WAYS.items()
        for precision in _PRECISIONS
    },
    **{
        f"{name}, {precision}": Entry(partial(_Training, precision=precision, **how), **where)
        for name, (how, where) in _TRAININGS.items()
        for precision in _PRECISIONS
    },
    **{
        f"{CEILING}, {precision}": Entry(partial(_Ceiling, precision=precision))
        for precision in _PRECISIONS
    },
    **{  # not on a GPU, of which JAX takes all the memory
        f"Keras on {backend}, float32": Entry(
            lambda size, device, backend=backend: _Keras(size, backend),
            device="cpu",
            modules=("keras", backend),
        )
        for backend in ("jax", "torch")
    },
}
