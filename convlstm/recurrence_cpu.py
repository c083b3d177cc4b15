"""The scan on a CPU, forward and backward written out by hand.

What it does is in `recurrence.step`, which it is tested against; this is how it is fast:

- Frames lie channels last, where oneDNN's convolutions need no reordering.
- The frame's convolution adds into the state's in place, and a zero state is not convolved.
- Each gate is copied apart from the others: elementwise kernels vectorise over contiguous memory
  only, and a channels-last gate is 4C apart (a strided sigmoid costs eight times a contiguous one).
  Their gradients are written where they lie; for 16 channels and more that costs less than a copy.
- The backward pass writes into the same few buffers for every frame, which stay in the cache.

Axes: T time (frames), B batch, C channels, H height (px), W width (px). Tensors of frames have
these axes in this order, and memory in the order (T, B, H, W, C).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_FOUND = all(  # not so in a build without oneDNN
    hasattr(torch.ops.mkldnn, name)
    for name in ("_convolution_pointwise", "_linear_pointwise", "_is_mkldnn_bf16_supported")
)
_LANES = 16  # side of the identity matrix in _tanh


def is_supported(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether a scan of x (T, B, in, H, W) on a CPU, computed in dtype, can be done here."""
    return (
        _FOUND
        and x.numel() > 0
        and torch._C._get_mkldnn_enabled()
        and (
            dtype == torch.float32
            or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
        )
        and not torch.compiler.is_compiling()
        and torch._C._functorch.maybe_current_level() is None  # vmap, jvp and their like
    )


class Scan(torch.autograd.Function):
    """Reads a sequence: (again, dtype, x, h, c, gates, bias, peephole) to (outputs, c).

    `again` is the same function by differentiable operations, for gradients of gradients; dtype is
    what to compute in. x is (T, B, in, H, W); h and c are (B, C, H, W), or both None; the weights
    are as in `recurrence.Weights`. outputs are (T, B, C, H, W).
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        again: Callable,
        dtype: torch.dtype,
        x: Tensor,
        h: Tensor | None,
        c: Tensor | None,
        gates: Tensor,
        bias: Tensor | None,
        peephole: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Read the frames."""
        T, B, _, H, W = x.shape
        outputs = _frames(T, B, gates.shape[0] // 4, H, W, dtype)
        keep = any(ctx.needs_input_grad)
        steps = _read(_Inputs.made(dtype, x, h, c, gates, bias, peephole), outputs, keep=keep)
        if keep:
            ctx.again, ctx.dtype, ctx.steps = again, dtype, steps
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x, h, c, gates, bias, peephole, outputs)
        return outputs, steps[-1].c.clone()  # the backward pass needs it as it is

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, d_outputs: Tensor | None, d_c: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Go back through the frames."""
        *tensors, outputs = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the caller differentiates this again
            return None, None, *_differentiable(ctx.again, ctx.dtype, tensors, d_outputs, d_c)
        inputs = _Inputs.made(ctx.dtype, *tensors)
        d_x = _frames(*inputs.x.shape, ctx.dtype) if ctx.needs_input_grad[2] else None
        d_outputs = torch.zeros_like(outputs) if d_outputs is None else _channels_last(d_outputs)

        gradients = _go_back(inputs, outputs, ctx.steps, d_outputs, d_c, d_x)
        return (
            None,
            None,
            *(
                None if gradient is None or tensor is None else gradient.to(tensor.dtype)
                for gradient, tensor in zip(gradients, tensors, strict=True)
            ),
        )


def _differentiable(
    again: Callable,
    dtype: torch.dtype,
    tensors: list[Tensor | None],
    d_outputs: Tensor | None,
    d_c: Tensor | None,
) -> list[Tensor | None]:
    """Return the gradients as `backward` does, with a graph of their own."""
    given = [tensor for tensor in tensors if tensor is not None and tensor.requires_grad]
    results = again(*(None if tensor is None else tensor.to(dtype) for tensor in tensors))
    gradients = (d_outputs, d_c)
    pairs = [pair for pair in zip(results, gradients, strict=True) if pair[1] is not None]
    ends, weights = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(ends, given, weights, create_graph=True))
    return [next(found) if t is not None and t.requires_grad else None for t in tensors]


class _Inputs(NamedTuple):
    """What a scan reads, in the type to compute in, and apart what one convolution takes."""

    x: Tensor  # (T, B, in, H, W)
    h: Tensor | None  # (B, C, H, W)
    c: Tensor | None
    weight_x: Tensor  # (4C, in, k, k)
    weight_h: Tensor  # (4C, C, k, k)
    bias: Tensor | None  # (4C,)
    peephole: Tensor | None  # (3, C, 1, 1)

    @classmethod
    def made(
        cls,
        dtype: torch.dtype,
        x: Tensor,
        h: Tensor | None,
        c: Tensor | None,
        gates: Tensor,
        bias: Tensor | None,
        peephole: Tensor | None,
    ) -> "_Inputs":
        in_channels = x.shape[2]
        return cls(
            _channels_last(x.detach().to(dtype)),
            None if h is None else _channels_last(h.detach().to(dtype)),
            None if c is None else _channels_last(c.detach().to(dtype)),
            gates[:, :in_channels].detach().to(dtype).contiguous(),
            gates[:, in_channels:].detach().to(dtype).contiguous(),
            None if bias is None else bias.detach().to(dtype),
            None if peephole is None else peephole.detach().to(dtype),
        )


class _Step(NamedTuple):
    """What the backward pass needs of a frame, each (B, C, H, W)."""

    i: Tensor  # gates after their activation
    f: Tensor
    g: Tensor
    o: Tensor
    c: Tensor
    tanh_c: Tensor


def _read(inputs: _Inputs, outputs: Tensor, *, keep: bool) -> list[_Step]:
    """Fill outputs; return every frame's step, or only the last one."""
    T, B, C, H, W = outputs.shape
    x, h, c, weight_x, weight_h, bias, peephole = inputs
    identity = torch.eye(_LANES, dtype=x.dtype)
    steps = []
    for t in range(T):
        if h is None:
            gates = _convolve(x[t], weight_x, bias)
        else:
            gates = _convolve(h, weight_h, bias)
            _convolve_onto(gates, x[t], weight_x)
        if keep or not steps:
            i, f, g, o, new_c = _frames(5, B, C, H, W, gates.dtype).unbind()
        for gate, values in zip((i, f, g, o), gates.chunk(4, 1), strict=True):
            gate.copy_(values)
        if peephole is not None and c is not None:
            i.addcmul_(peephole[0], c)
            f.addcmul_(peephole[1], c)
        tanh_g = _tanh(g, identity)
        torch.mul(i.sigmoid_(), tanh_g, out=g)
        c = new_c.copy_(g) if c is None else torch.mul(f.sigmoid_(), c, out=new_c).add_(g)
        if peephole is not None:
            o.addcmul_(peephole[2], c)
        tanh_c = _tanh(c, identity)
        h = torch.mul(o.sigmoid_(), tanh_c, out=outputs[t])
        step = _Step(i, f, tanh_g, o, c, tanh_c)
        steps = [*steps, step] if keep else [step]
    return steps


def _go_back(
    inputs: _Inputs,
    outputs: Tensor,
    steps: list[_Step],
    d_outputs: Tensor,
    d_c: Tensor | None,
    d_x: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of x (d_x, filled where it is wanted), h, c and the weights."""
    T, B, C, H, W = outputs.shape
    x, first_h, first_c, weight_x, weight_h, bias, peephole = inputs
    # In float32, over all frames.
    d_weight_x = torch.zeros_like(weight_x, dtype=torch.float32)
    d_weight_h = torch.zeros_like(weight_h, dtype=torch.float32)
    d_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
    d_peephole = None if peephole is None else torch.zeros_like(peephole, dtype=torch.float32)
    d_gates = _frames(1, B, 4 * C, H, W, x.dtype)[0]  # of the values before the activation
    d_i, d_f, d_g, d_o = d_gates.chunk(4, 1)
    new, through_c, product = _frames(3, B, C, H, W, x.dtype).unbind()
    d_h = None
    d_c = through_c.zero_() if d_c is None else through_c.copy_(d_c)
    for t in reversed(range(T)):
        i, f, g, o, c, tanh_c = steps[t]
        before = steps[t - 1].c if t else first_c
        d_h = d_outputs[t] if d_h is None else d_h.add_(d_outputs[t])
        _sigmoid_backward(torch.mul(d_h, tanh_c, out=product), o, grad_input=d_o)
        d_c.add_(_tanh_backward(torch.mul(d_h, o, out=product), tanh_c, grad_input=new))
        if peephole is not None:
            d_c.addcmul_(d_o, peephole[2])
        _sigmoid_backward(torch.mul(d_c, g, out=product), i, grad_input=d_i)
        _tanh_backward(torch.mul(d_c, i, out=product), g, grad_input=d_g)
        if before is None:
            d_f.zero_()
        else:
            _sigmoid_backward(torch.mul(d_c, before, out=product), f, grad_input=d_f)
            d_c.mul_(f)
        if peephole is not None:
            d_peephole += _peephole_gradient(d_i, d_f, d_o, before, c)
            if before is not None:
                d_c.addcmul_(d_i, peephole[0]).addcmul_(d_f, peephole[1])
        if bias is not None:
            # Apart: asked for with the weights' gradient, it doubles that one's time in float32.
            d_bias += d_gates.sum((0, 2, 3))
        d_frame, d_weight = _convolution_backward(
            d_gates, x[t], weight_x, wants_input=d_x is not None
        )
        d_weight_x += d_weight
        if d_x is not None:
            d_x[t] = d_frame
        h = outputs[t - 1] if t else first_h
        if h is not None:
            d_h, d_weight = _convolution_backward(d_gates, h, weight_h, wants_input=True)
            d_weight_h += d_weight
    d_weight = torch.cat((d_weight_x, d_weight_h), 1)
    return d_x, d_h if first_h is not None else None, d_c, d_weight, d_bias, d_peephole


def _peephole_gradient(
    d_i: Tensor, d_f: Tensor, d_o: Tensor, before: Tensor | None, c: Tensor
) -> Tensor:
    """Return (3, C, 1, 1), float32; before is the cell state that i and f saw."""
    pairs = ((d_i, before), (d_f, before), (d_o, c))
    unseen = torch.zeros(c.shape[1])
    sums = [unseen if seen is None else (d * seen).float().sum((0, 2, 3)) for d, seen in pairs]
    return torch.stack(sums)[:, :, None, None]


# The kernels.

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def _frames(n: int, B: int, C: int, H: int, W: int, dtype: torch.dtype) -> Tensor:
    """Make n empty frames, (n, B, C, H, W), each channels last."""
    return torch.empty(n, B, H, W, C, dtype=dtype).permute(0, 1, 4, 2, 3)


def _channels_last(x: Tensor) -> Tensor:
    """Return x (..., C, H, W) channels last, with strides that say so even where C is 1."""
    x = x.movedim(-3, -1).contiguous()
    strides = [x.shape[axis + 1 :].numel() for axis in range(x.ndim)]
    return x.as_strided(x.shape, strides).movedim(-1, -3)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = [weight.shape[-1] // 2] * 2
    return torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, padding, [1, 1], [1, 1], 1, "none", [], ""
    )


def _convolve_onto(total: Tensor, x: Tensor, weight: Tensor) -> None:
    padding = [weight.shape[-1] // 2] * 2
    torch.ops.mkldnn._convolution_pointwise_.binary(
        total, x, weight, None, padding, [1, 1], [1, 1], 1, "add", 1.0, None, [], ""
    )


def _convolution_backward(
    d_output: Tensor, x: Tensor, weight: Tensor, *, wants_input: bool
) -> tuple[Tensor | None, Tensor]:
    padding = [weight.shape[-1] // 2] * 2
    d_x, d_weight, _ = torch.ops.aten.convolution_backward(
        d_output, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1,
        [wants_input, True, False],
    )  # fmt: skip
    return d_x, d_weight


def _tanh(x: Tensor, identity: Tensor) -> Tensor:
    """Return tanh of a tensor of `_frames`, (B, C, H, W), by oneDNN behind a matrix product.

    With an identity matrix the product changes nothing; three times as fast as torch.tanh.
    """
    if x.numel() % _LANES:
        return x.tanh()
    B, C, H, W = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(-1, _LANES)
    rows = torch.ops.mkldnn._linear_pointwise(rows, identity, None, "tanh", [], "")
    return rows.view(B, H, W, C).permute(0, 3, 1, 2)
