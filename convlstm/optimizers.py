"""The optimisers of long trainings, and the learning rate over a run."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from convlstm.layer.convlstm import ConvLSTMCell

OptimizerName = Literal["adamw", "muon"]
Schedule = Literal["onecycle", "constant"]

ONECYCLE_FIRST = 1 / 25  # of the largest rate: the defaults of torch's OneCycleLR
ONECYCLE_LAST = ONECYCLE_FIRST / 1e4


def onecycle(progress: float, warm_up: float) -> float:
    """Return the share of the largest rate at a point of a run, as torch's OneCycleLR has it.

    Args:
        progress: how much of the run is done, in [0, 1].
        warm_up: the share of the run over which the rate rises, in (0, 1).
    """
    if progress <= warm_up:
        start, end, part = ONECYCLE_FIRST, 1.0, progress / warm_up
    else:
        start, end, part = 1.0, ONECYCLE_LAST, (progress - warm_up) / (1 - warm_up)
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))


class Optimizer:
    """AdamW, or Muon for the kernels of the ConvLSTM cells and AdamW for the rest.

    Muon (K. Jordan 2024) makes the update of a matrix orthogonal, so that no direction of it is
    starved. A kernel (4C, in, k, k) is a matrix of 4C rows here, and the update has the size that
    AdamW's would have, so that both share a learning rate.

    Args:
        name: "adamw" or "muon".
        model: what learns.
        weight_decay: of kernels; biases keep what they are. Muon needs some: its updates do not
            get smaller with the gradient, and without it the weights drift until gates saturate.
    """

    def __init__(self, name: OptimizerName, model: nn.Module, weight_decay: float) -> None:
        self._matrices = _kernels(model) if name == "muon" else []
        apart = {id(kernel) for kernel in self._matrices}
        rest = [p for p in model.parameters() if id(p) not in apart]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [
                    {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
                    {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
                ],
                fused=True,
            )
        ]
        # The same memory, as Muon wants it.
        self._flat = [nn.Parameter(kernel.data.flatten(1)) for kernel in self._matrices]
        if self._flat:
            self.parts.append(
                torch.optim.Muon(
                    self._flat, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
                )
            )

    def take_gradients(self) -> None:
        """See the gradients that a backward pass has left; they are changed in place from here."""
        for flat, kernel in zip(self._flat, self._matrices, strict=True):
            flat.grad = kernel.grad.flatten(1)

    def step(self, learning_rate: float) -> None:
        """Change the weights by the gradients taken."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()

    def state(self) -> dict[str, Tensor]:
        """Return all that a later step depends on, by name; the tensors are not copies."""
        return {
            f"{number}.{index}.{key}": value
            for number, part in enumerate(self.parts)
            for index, entry in part.state_dict()["state"].items()
            for key, value in entry.items()
        }

    def shape_of_state(self) -> dict[str, list[int]]:
        """Return the names and shapes of what `state` holds after a step; all is float32."""
        shapes: dict[str, list[int]] = {}
        for number, part in enumerate(self.parts):
            keys = ("momentum_buffer",) if number else ("step", "exp_avg", "exp_avg_sq")
            parameters = [p for group in part.param_groups for p in group["params"]]
            for index, parameter in enumerate(parameters):
                for key in keys:
                    shape = [] if key == "step" else list(parameter.shape)
                    shapes[f"{number}.{index}.{key}"] = shape
        return shapes

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        entries: list[dict[int, dict[str, Tensor]]] = [{} for _ in self.parts]
        for name, value in state.items():
            number, index, key = name.split(".")
            entries[int(number)].setdefault(int(index), {})[key] = value
        for part, entry in zip(self.parts, entries, strict=True):
            part.load_state_dict({**part.state_dict(), "state": entry})


def _kernels(model: nn.Module) -> list[nn.Parameter]:
    cells: Iterable[nn.Module] = model.modules()
    return [cell.gates.weight for cell in cells if isinstance(cell, ConvLSTMCell)]
