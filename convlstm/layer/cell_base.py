"""What the cells of all kinds share: their sizes, their one convolution, and what they refuse.

Axes: B batch, C channels, H height (px), W width (px); in one dimension the last two are one, L,
and in three D, H, W.
"""

import math
from collections.abc import Callable, Mapping
from inspect import signature
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils.parametrize import is_parametrized

from convlstm.layer.recurrence import AnyState, Geometry, parts_of

PaddingMode = Literal["zeros", "circular", "reflect", "replicate"]
Sizes = int | tuple[int, ...]  # one for all axes, or one for each
AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}
_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class CellBase(nn.Module):
    """One step in time, by one convolution of the frame and the state.

    Attributes:
        ndim: axes of a frame, besides its channels.
        state_names: of the tensors of a state.
        gate_count: parts into which the convolution's channels are split.

    Args:
        in_channels: channels of the input frame.
        hidden_channels: channels of the state.
        kernel_size: sides of the kernels in px, odd.
        stride: of the input's kernels, px.
        dilation: from one of a kernel's pixels to the next, px.
        padding_mode: what lies beyond the edges.
        bias: whether the convolution has a bias.
        device: where the parameters are made.
        dtype: their type.

    Raises:
        ValueError: a size is not positive, a kernel is even, or there is no such padding mode.
    """

    ndim: ClassVar[int]
    state_names: ClassVar[str]
    gate_count: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: Sizes,
        *,
        stride: Sizes,
        dilation: Sizes,
        padding_mode: PaddingMode,
        bias: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        check_positive("in_channels", in_channels)
        check_positive("hidden_channels", hidden_channels)
        kernel = _per_axis("kernel_size", kernel_size, self.ndim)
        if any(side % 2 == 0 for side in kernel):
            raise ValueError(f"kernel_size is {kernel_size}: must be odd, to have a middle.")
        if padding_mode not in get_args(PaddingMode):
            modes = ", ".join(get_args(PaddingMode))
            raise ValueError(f"padding_mode is {padding_mode!r}: must be one of {modes}.")
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        self.padding_mode = padding_mode
        self.geometry = Geometry(
            _per_axis("stride", stride, self.ndim),
            _per_axis("dilation", dilation, self.ndim),
            padding_mode,
        )
        # One convolution for all gates; of its stride the state's kernels know nothing.
        self.gates = _CONVOLUTIONS[self.ndim](
            in_channels + hidden_channels,
            self.gate_count * hidden_channels,
            kernel,
            padding=tuple(self.geometry.padding(kernel)),
            **self.geometry._asdict(),
            bias=bias,
            device=device,
            dtype=dtype,
        )

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights: uniform within 1/sqrt(fan in), as `nn.Conv2d` and `nn.LSTM` do."""
        bound = 1 / math.sqrt(self.gates.weight[0].numel())
        self.gates.weight.uniform_(-bound, bound, generator=generator)
        if self.gates.bias is not None:
            self.gates.bias.uniform_(-bound, bound, generator=generator)

    def scanner(self, *, recompute: bool = False) -> Callable[..., tuple[Tensor, AnyState]]:
        """Return what reads sequences as `repeat` does with this cell, but without its hooks.

        For several calls with the same weights and one backward pass.

        Args:
            recompute: whether the backward pass computes the gates again instead of keeping them.
        """
        raise NotImplementedError

    def check(self, x: Tensor, state: AnyState | None) -> None:
        """Refuse a frame or a state that does not fit.

        Raises:
            ValueError: x or the state has another shape, or x is too small for the padding.
        """
        if x.ndim != self.ndim + 2 or x.shape[1] != self.in_channels:
            axes = ", ".join(["B", f"in_channels={self.in_channels}", *AXES[self.ndim]])
            raise ValueError(f"x has shape {tuple(x.shape)}: must be ({axes}).")
        sides = self.state_sides(x.shape[2:])
        if self.padding_mode in ("reflect", "circular"):
            self._check_padding("x", x.shape[2:])
            self._check_padding("the state", sides)
        if state is None:
            return
        parts, expected = parts_of(state), (x.shape[0], self.hidden_channels, *sides)
        if len(parts) != len(self.state_names):
            names = ", ".join(self.state_names)
            raise ValueError(f"state has {len(parts)} tensors: must be {names}.")
        for name, tensor in zip(self.state_names, parts, strict=True):
            if tuple(tensor.shape) != expected:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}: must be {expected}.")

    def state_sides(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """Return the sides of a state, px, for frames of these."""
        strides = self.geometry.stride
        return tuple((side + step - 1) // step for side, step in zip(sides, strides, strict=True))

    def _check_padding(self, name: str, sides: tuple[int, ...]) -> None:
        """Refuse what has less to reflect, or to wrap around, than the kernels reach over."""
        mode, over = self.padding_mode, int(self.padding_mode == "reflect")
        kernel = self.gates.kernel_size
        rows = zip(AXES[self.ndim], sides, self.geometry.padding(kernel), strict=True)
        for axis, side, padding in rows:
            if side < padding + over:
                raise ValueError(
                    f"{axis} of {name} is {side} px: must be at least {padding + over} for"
                    f" padding_mode {mode!r} with kernel_size {self.kernel_size} and dilation"
                    f" {self.dilation}."
                )


def has_hooks(module: nn.Module) -> bool:
    """Whether calling the module calls anything besides its `forward`."""
    before = module._forward_pre_hooks or module._backward_pre_hooks
    after = module._forward_hooks or module._backward_hooks
    return bool(before or after or _has_any_global_hook())


def weight_of(gates: nn.Module) -> Tensor:
    """Return the weight of a convolution that is never called.

    Raises:
        RuntimeError: a hook of it was to compute its weights.
    """
    is_computed = "weight" not in gates._parameters and not is_parametrized(gates, "weight")
    if is_computed and gates._forward_pre_hooks:
        raise RuntimeError(
            "gates.weight is computed in a hook of gates, which is never called:"
            " use torch.nn.utils.parametrize instead."
        )
    return gates.weight


def check_positive(name: str, value: int) -> None:
    """Refuse a size that is not a whole number of 1 or more.

    Raises:
        ValueError: it is not.
    """
    if not _is_positive(value):
        raise ValueError(f"{name} is {value!r}: must be a whole number of 1 or more.")


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _per_axis(name: str, value: Sizes, ndim: int) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        check_positive(name, value)
        return (value,) * ndim
    if len(value) != ndim or not all(map(_is_positive, value)):
        axes = ", ".join(AXES[ndim])
        rule = f"must be a whole number of 1 or more for each of {axes}"
        raise ValueError(f"{name} is {value}: {rule}.")
    return value


def describe(made: type[nn.Module], values: Mapping[str, object]) -> str:
    """Write the arguments that a module is made with, but for options that are as by default.

    Args:
        made: its class.
        values: the arguments by name; those that are not there are left out.
    """
    shown = []
    for name, parameter in signature(made).parameters.items():
        if parameter.default is parameter.empty:
            shown.append(f"{values[name]}")
        elif name == "kernel_size" or values.get(name, parameter.default) != parameter.default:
            shown.append(f"{name}={values[name]}")
    return ", ".join(shown)
