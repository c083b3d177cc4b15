"""The optimisers of long trainings, and the learning rate over a run."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from convlstm.layer.convlstm import ConvLSTMCell

OptimizerName = Literal["adamw", "muon"]
Schedule = Literal["onecycle", "constant"]

# Of the largest rate: the defaults of torch's OneCycleLR.
_FIRST = 1 / 25
_LAST = _FIRST / 1e4


def onecycle(step: int, total_steps: float, warm_up: float) -> float:
    """Return the share of the largest rate at a step, exactly as torch's OneCycleLR has it.

    Args:
        step: counted from 0.
        total_steps: of the run; need not be whole where a run's time decides.
        warm_up: the share of the run over which the rate rises, in (0, 1).
    """
    peak, last = warm_up * total_steps - 1, total_steps - 1
    if step <= peak and peak > 0:
        start, end, part = _FIRST, 1.0, step / peak
    else:
        start, end, part = 1.0, _LAST, min(1.0, (step - peak) / (last - peak))
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
        kernels = self.kernels(model) if name == "muon" else {}
        self._matrices = list(kernels.values())
        rest = {n: p for n, p in model.named_parameters() if n not in kernels}
        decayed = {n: p for n, p in rest.items() if p.ndim > 1}
        others = {n: p for n, p in rest.items() if p.ndim < 2}
        groups = [
            {"params": list(decayed.values()), "weight_decay": weight_decay},
            {"params": list(others.values()), "weight_decay": 0.0},
        ]
        self.parts: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, fused=True)]
        # In the order of the optimisers' own numbers.
        self._names = [[*decayed, *others], list(kernels)]
        # The same memory, as Muon wants it.
        self._flat = [nn.Parameter(kernel.data.flatten(1)) for kernel in self._matrices]
        if self._flat:
            muon = torch.optim.Muon(
                self._flat, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
            self.parts.append(muon)

    def take_gradients(self) -> None:
        """See the gradients that a backward pass has left; they are changed in place from here."""
        for flat, kernel in zip(self._flat, self._matrices, strict=True):
            flat.grad = kernel.grad.flatten(1)

    def step(self, learning_rate: float | Tensor) -> None:
        """Change the weights by the gradients taken.

        Args:
            learning_rate: the rate; where it is a tensor, on the weights' device, nothing asks that
                for its value, and so the step may be captured as a part of a CUDA graph.
        """
        is_tensor = isinstance(learning_rate, Tensor)
        captures = is_tensor and learning_rate.is_cuda and torch.cuda.is_current_stream_capturing()
        for part in self.parts:
            asks = is_tensor and isinstance(part, torch.optim.Muon)
            for group in part.param_groups:
                group["lr"] = 1.0 if asks else learning_rate
                if "capturable" in group:  # which warns, if it is so and nothing is captured
                    group["capturable"] = captures
            before = [flat.detach().clone() for flat in self._flat] if asks else []
            part.step()
            # Its step is linear in the rate: of one at rate 1, that part.
            for flat, old in zip(self._flat if asks else [], before, strict=True):
                flat.data.copy_(old.lerp(flat.data, learning_rate))

    def state(self) -> dict[str, Tensor]:
        """Return all that a later step depends on, as "parameter.key"; the tensors are no copies.

        Muon's momentum is flat: (4C, in k k).
        """
        return {
            f"{names[index]}.{key}": value
            for names, part in zip(self._names, self.parts, strict=False)
            for index, entry in part.state_dict()["state"].items()
            for key, value in entry.items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for names, part in zip(self._names, self.parts, strict=False):
            entries: dict[int, dict[str, Tensor]] = {}
            for name, value in state.items():
                parameter, _, key = name.rpartition(".")
                if parameter in names:
                    entries.setdefault(names.index(parameter), {})[key] = value
            part.load_state_dict({**part.state_dict(), "state": entries})

    @classmethod
    def shapes(cls, name: OptimizerName, model: nn.Module) -> dict[str, list[int]]:
        """Return the names and shapes of what `state` holds after a step; all is float32."""
        kernels = cls.kernels(model) if name == "muon" else {}
        shapes: dict[str, list[int]] = {}
        for parameter, value in model.named_parameters():
            if parameter in kernels:
                shapes[f"{parameter}.momentum_buffer"] = [len(value), value[0].numel()]
            else:
                shapes[f"{parameter}.step"] = []
                for key in ("exp_avg", "exp_avg_sq"):
                    shapes[f"{parameter}.{key}"] = list(value.shape)
        return shapes

    @staticmethod
    def kernels(model: nn.Module) -> dict[str, nn.Parameter]:
        """Return the kernels of the ConvLSTM cells, by name."""
        return {
            f"{name}.gates.weight": module.gates.weight
            for name, module in model.named_modules()
            if isinstance(module, ConvLSTMCell)
        }
