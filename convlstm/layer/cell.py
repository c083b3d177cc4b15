"""The cell: one step in time.

Axes: B batch, C channels, H height (px), W width (px). A state is (h, c), each
(B, hidden_channels, H, W).
"""

import math
from collections.abc import Mapping
from inspect import signature

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils.parametrize import is_parametrized

from convlstm.layer.recurrence import State, Weights, in_one_type, step


class ConvLSTMCell(nn.Module):
    """One step in time of a convolutional LSTM.

    With * a convolution and . a product of elements:

        i = sigmoid(Wxi * x + Whi * h + bi)      g = tanh(Wxg * x + Whg * h + bg)
        f = sigmoid(Wxf * x + Whf * h + bf)      c' = f . c + i . g
        o = sigmoid(Wxo * x + Who * h + bo)      h' = o . tanh(c')

    A peephole adds pi . c to i, pf . c to f and po . c' to o before the sigmoid.

    Args:
        in_channels: channels of the input frame.
        hidden_channels: channels of h and of c.
        kernel_size: side of the square kernel in px, odd.
        bias: whether the gates have a bias.
        peephole: whether the gates see c, with one weight for each gate and channel.
        forget_bias: initial bias of the forget gate, 0 included; None leaves it as it is drawn,
            like the other biases. A number needs `bias`.
        device: where the parameters are made.
        dtype: their type.

    Raises:
        ValueError: a size is not positive, the kernel is even, or forget_bias has no bias.

    `gates` and `peephole` may be parametrized (`torch.nn.utils.parametrize`). `gates` holds weights
    and is never called, so hooks registered on it do not fire, and what rests on them, such as
    `torch.nn.utils.prune`, is refused; register hooks on the cell.

    Source: Shi et al. 2015 (arXiv:1506.04214); the peephole weighs channels, not pixels, so that
    one model runs at any H and W.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int = 3,
        *,
        bias: bool = True,
        peephole: bool = False,
        forget_bias: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive("in_channels", in_channels)
        check_positive("hidden_channels", hidden_channels)
        check_positive("kernel_size", kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}: must be odd, to keep H and W.")
        if forget_bias is not None and not bias:
            raise ValueError(f"forget_bias is {forget_bias}: must be None where bias is False.")
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.kernel_size = kernel_size
        self.forget_bias = forget_bias
        made = {"device": device, "dtype": dtype}
        # One convolution for the four gates, packed i, f, g, o as in nn.LSTM.
        sizes = in_channels + hidden_channels, 4 * hidden_channels, kernel_size
        self.gates = nn.Conv2d(*sizes, padding=kernel_size // 2, bias=bias, **made)
        weights = torch.empty(3, hidden_channels, 1, 1, **made)  # of i, f and o
        self.register_parameter("peephole", nn.Parameter(weights) if peephole else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights: uniform within 1/sqrt(fan in), as `nn.Conv2d` and `nn.LSTM` do."""
        bound = 1 / math.sqrt(self.gates.weight[0].numel())
        self.gates.weight.uniform_(-bound, bound, generator=generator)
        if self.gates.bias is not None:
            self.gates.bias.uniform_(-bound, bound, generator=generator)
            if self.forget_bias is not None:
                self.gates.bias[self.hidden_channels : 2 * self.hidden_channels] = self.forget_bias
        if self.peephole is not None:
            bound = 1 / math.sqrt(self.hidden_channels)
            self.peephole.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """Advance the state by one frame.

        Args:
            x: input frame, (B, in_channels, H, W).
            state: previous (h, c), each (B, hidden_channels, H, W); None means zeros.

        Returns:
            The next (h, c), same shapes. h lies in (-1, 1); c is unbounded.

        Raises:
            ValueError: x or the state has another shape, or another type than the weights outside
                autocast.
        """
        self.check(x, state)
        return step(*in_one_type(x, state, self.weights))

    @property
    def weights(self) -> Weights:
        """The parameters, as the functions of `recurrence` take them.

        Raises:
            RuntimeError: a hook of `gates`, which is never called, was to compute its weights.
        """
        gates = self.gates
        is_computed = "weight" not in gates._parameters and not is_parametrized(gates, "weight")
        if is_computed and gates._forward_pre_hooks:
            raise RuntimeError(
                "gates.weight is computed in a hook of gates, which is never called:"
                " use torch.nn.utils.parametrize instead."
            )
        return Weights(gates.weight, gates.bias, self.peephole)

    def check(self, x: Tensor, state: State | None) -> None:
        """Refuse a frame or a state that does not fit.

        Raises:
            ValueError: x or the state has another shape.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: must be (B, in_channels={self.in_channels}, H, W)."
            )
        if state is None:
            return
        expected = (x.shape[0], self.hidden_channels, *x.shape[2:])
        for name, tensor in zip("hc", state, strict=True):
            if tuple(tensor.shape) != expected:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}: must be {expected}.")

    def extra_repr(self) -> str:
        """Name the sizes, and every option that is not as it is by default."""
        has = {"bias": self.gates.bias is not None, "peephole": self.peephole is not None}
        return describe(ConvLSTMCell, vars(self) | has)


def has_hooks(module: nn.Module) -> bool:
    """Whether calling the module calls anything besides its `forward`."""
    before = module._forward_pre_hooks or module._backward_pre_hooks
    after = module._forward_hooks or module._backward_hooks
    return bool(before or after or _has_any_global_hook())


def check_positive(name: str, value: int) -> None:
    """Refuse a size that is not a whole number of 1 or more.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}: must be a whole number of 1 or more.")


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
