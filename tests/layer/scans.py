"""Cases of a scan over time, and what one finds of them: outputs, states and gradients."""

import torch

from convlstm.layer.recurrence import Weights, in_one_type, reference_scan

# T, B, in, C, H, kernel, first state, bias, peephole. W is H + 1.
CASES = [
    (4, 3, 2, 5, 9, 3, True, True, True),
    (1, 1, 1, 1, 4, 1, False, False, False),
    (1, 2, 1, 3, 4, 3, False, True, True),
    (9, 8, 1, 16, 32, 3, False, True, False),
    (3, 1, 4, 8, 7, 5, True, True, False),
    (2, 2, 16, 16, 8, 7, False, False, True),
    (3, 2, 1, 1, 1, 1, True, True, True),
    (5, 7, 3, 4, 1, 3, True, True, True),
    (2, 4, 32, 32, 16, 5, True, True, False),
]
# Of the reference in float32, relative, by norm. In bfloat16 the reference itself is 0.01 away.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.03}
NAMES = ("outputs", "h", "c", "d_x", "d_h", "d_c", "d_gates", "d_bias", "d_peephole")


def draw(case: tuple) -> tuple:
    """The tensors of a case: x, h, c, gates, bias, peephole; None where it has none."""
    T, B, in_channels, C, H, kernel, has_state, has_bias, has_peephole = case
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) - 0.5

    return (
        uniform(T, B, in_channels, H, H + 1),
        uniform(B, C, H, H + 1) if has_state else None,
        uniform(B, C, H, H + 1) if has_state else None,
        uniform(4 * C, in_channels + C, kernel, kernel),
        uniform(4 * C) if has_bias else None,
        uniform(3, C, 1, 1) if has_peephole else None,
    )


def read(function, tensors: tuple, dtype: torch.dtype = torch.float32) -> tuple:
    """(outputs, h, c) of a scan, under autocast where dtype is bfloat16."""
    x, h, c, *weights = tensors
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs, last = function(x, None if h is None else (h, c), Weights(*weights))
    return outputs, *last


def results_and_gradients(function, case: tuple, dtype: torch.dtype) -> list:
    tensors = tuple(t if t is None else t.requires_grad_() for t in draw(case))
    results = read(function, tensors, dtype)
    generator = torch.Generator().manual_seed(1)
    sum((r.float() * torch.rand(r.shape, generator=generator)).sum() for r in results).backward()
    return [*results, *(None if t is None else t.grad for t in tensors)]


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.detach().float(), expected.detach()
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))


def plain(weights: Weights):
    """The reference as a scanner: it reads x and a state with weights given before."""
    return lambda x, state: reference_scan(*in_one_type(x, state, weights))


def rolled_out(make, case: tuple, dtype: torch.dtype = torch.float32) -> tuple:
    """The losses and gradients of a context, and of frames made of what was read before."""
    tensors = tuple(None if t is None else t.requires_grad_() for t in draw(case))
    x, h, c, *weights = tensors
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        scan = make(Weights(*weights))
        outputs, state = scan(x, None if h is None else (h, c))
        total, losses = 0, []
        for frame in range(5):
            total = total + (outputs.float() * (frame + 1)).square().sum()
            outputs, state = scan(outputs[-1:, :, : x.shape[2]].float() * 0.5 + x[:1], state)
            losses.append(outputs.float().square().mean())
    (total + state[1].float().sum()).backward()
    return [torch.stack(losses), *(t.grad for t in tensors if t is not None)]
