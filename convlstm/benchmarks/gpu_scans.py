"""Whether what reads frames on a device finds what the layer's readable reference does.

Axes: T time (frames), B batch, C channels, H height (px), W width (px).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from convlstm.layer.convlstm import ConvLSTM
from convlstm.layer.recurrence import State, in_one_type, reference_scan
from convlstm.layer.scan_cuda import CudaScanner, kernels_for

Size = Literal["tiny", "full"]


class CheckFailed(AssertionError):  # noqa: N818
    """Something does not hold; the message is one sentence."""


@dataclass(frozen=True)
class _Case:
    """A layer and what it reads."""

    frames: tuple[int, int, int, int, int]  # B, T, C, H, W
    hidden_channels: int
    kernel_size: int
    options: dict[str, object] = field(default_factory=dict)


_ODD = _Case((3, 4, 5, 7, 13), 6, 3, {"peephole": True})
_CASES: dict[Size, dict[str, _Case]] = {
    "tiny": {
        "odd sides": _ODD,
        "recomputed": _Case((2, 3, 1, 8, 8), 4, 3, {"recompute": True, "bias": False}),
    },
    "full": {
        "squares": _Case((8, 9, 1, 64, 64), 16, 3),
        "Moving MNIST": _Case((4, 6, 16, 16, 16), 128, 5),
        "odd sides": _ODD,
        "recomputed": _Case((2, 5, 16, 16, 16), 64, 5, {"recompute": True, "bias": False}),
        "one frame": _Case((2, 1, 16, 16, 16), 32, 3),
    },
}
# How far the readable reference itself may lie from the truth, as a share of its norm; and how much
# farther the layer's own way may: twice that, and what another order of the sums makes.
_MOST_OF_REFERENCE = {"float32": 5e-3, "bfloat16": 0.1, "float16": 0.02}  # TF32 is float32 there
_TIMES = 2.0
_OF_SUMS = {"float32": 2e-5, "bfloat16": 4e-3, "float16": 5e-4}


_Reads = Callable[[ConvLSTM, Tensor, State], tuple[Tensor, State]]


def scan(device: torch.device, size: Size, dtype: str) -> str:
    """The layer lies no farther from the truth than its readable reference, forward and back."""
    return _against_reference(device, dtype, _CASES[size], "the layer", _layer)


def gpu_scan(device: torch.device, size: Size, dtype: str) -> str:
    """Nor does the scan that is made for a GPU, by the kernels that are there."""
    cases = {
        name: case for name, case in _CASES[size].items() if not case.options.get("recompute")
    }  # others it leaves to the reference
    kernels = kernels_for(device.type).__name__.rpartition("_")[2]
    said = _against_reference(device, dtype, cases, "the GPU scan", _gpu_scan)
    return f"by {kernels} kernels; {said}"


def _against_reference(
    device: torch.device, dtype: str, cases: dict[str, _Case], who: str, reads: _Reads
) -> str:
    said = []
    for name, case in cases.items():
        truth = _read(case, torch.device("cpu"), torch.float64, _reference)
        reference = _read(case, device, getattr(torch, dtype), _reference)
        found = _read(case, device, getattr(torch, dtype), reads)
        worst = (0.0, "", 0.0)
        for part, exact in truth.items():
            theirs, ours = (_distance(each[part], exact) for each in (reference, found))
            if not theirs <= _MOST_OF_REFERENCE[dtype]:
                raise CheckFailed(f"{name}, {part}: the reference is off by {theirs:.1e}.")
            if not ours <= _TIMES * theirs + _OF_SUMS[dtype]:
                raise CheckFailed(
                    f"{name}, {part}: {who} is off by {ours:.1e}, the reference {theirs:.1e}."
                )
            worst = max(worst, (ours, part, theirs))
        said.append("{3} {0:.1e} ({1}; the reference {2:.1e})".format(*worst, name))
    return "farthest from float64: " + ", ".join(said)


def _read(
    case: _Case,
    device: torch.device,
    dtype: torch.dtype,
    read: _Reads,
) -> dict[str, Tensor]:
    """Read a case's frames as training does, under autocast; return results and gradients."""
    drawn = torch.Generator().manual_seed(0)
    B, _, C, H, W = case.frames
    layer = ConvLSTM(C, case.hidden_channels, case.kernel_size, **case.options)
    layer.reset_parameters(drawn)
    is_exact, state = dtype == torch.float64, (B, case.hidden_channels, H, W)

    def tensor(*shape: int) -> Tensor:
        values = torch.rand(shape, generator=drawn) - 0.5
        return values.to(device, torch.float64 if is_exact else torch.float32)

    inputs = [tensor(*case.frames), tensor(*state), tensor(*state)]
    weights = [tensor(*case.frames[:2], *state[1:]), tensor(*state), tensor(*state)]
    layer = layer.to(device, torch.float64 if is_exact else torch.float32)
    for each in inputs:
        each.requires_grad_()
    is_cast = dtype in (torch.bfloat16, torch.float16)
    with torch.autocast(device.type, dtype if is_cast else torch.bfloat16, enabled=is_cast):
        outputs, (h, c) = read(layer, inputs[0], (inputs[1], inputs[2]))
    results = {"outputs": outputs, "h": h, "c": c}
    total = sum(
        (each.to(weight.dtype) * weight).sum()
        for each, weight in zip(results.values(), weights, strict=True)
    )
    total.backward()
    gradients = dict(zip(("x", "h before", "c before"), inputs, strict=True))
    gradients |= dict(layer.named_parameters())
    return {name: each.detach() for name, each in results.items()} | {
        f"the gradient of {name}": each.grad for name, each in gradients.items()
    }


def _layer(layer: ConvLSTM, x: Tensor, state: State) -> tuple[Tensor, State]:
    outputs, states = layer(x, [state])
    return outputs, states[0]


def _gpu_scan(layer: ConvLSTM, x: Tensor, state: State) -> tuple[Tensor, State]:
    outputs, last = CudaScanner(layer.cells[0].weights)(x.transpose(0, 1), state)
    return outputs.transpose(0, 1), last


def _reference(layer: ConvLSTM, x: Tensor, state: State) -> tuple[Tensor, State]:
    cell = layer.cells[0]
    outputs, last = reference_scan(*in_one_type(x.transpose(0, 1), state, cell.weights))
    return outputs.transpose(0, 1), last


def _distance(found: Tensor, truth: Tensor) -> float:
    """Return how far a tensor lies from the truth, as a share of its norm; NaN if it holds one."""
    return ((found.cpu().double() - truth).norm() / truth.norm().clamp(min=1e-12)).item()
