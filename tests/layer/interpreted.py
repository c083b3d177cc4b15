"""Triton's kernels beside the eager ones, in Triton's interpreter: what `test_scan_cuda` runs.

Prints how far they are apart, relative, by norm, as JSON.
"""

import itertools
import json

import torch

from convlstm.layer import kernels_eager
from convlstm.layer.recurrence import Weights
from convlstm.layer.scan_cuda import CudaScanner

# Sizes below, at and beyond a block of 1024, and channels that are no power of two.
SIZES = [(1, 1, 1, 1), (2, 3, 4, 5), (1, 16, 8, 8), (3, 7, 9, 10), (2, 24, 11, 7)]  # B, C, H, W
TOLERANCES = {"float32": 1e-6, "float64": 1e-13, "bfloat16": 0.02, "float16": 0.003}
KERNEL_CASES = [
    (size, dtype, *has)
    for size, dtype in [*((size, "float32") for size in SIZES), (SIZES[3], "float64")]
    + [(SIZES[3], "bfloat16"), (SIZES[3], "float16")]
    for has in itertools.product([False, True], repeat=3)  # a state, a bias, a peephole
]
SCAN_CASES = [("scan", has) for has in itertools.product([False, True], repeat=3)]


def uniform(generator: torch.Generator, *shape: int, dtype: torch.dtype) -> torch.Tensor:
    return (4 * torch.rand(shape, generator=generator) - 2).to(dtype)


def frames(generator: torch.Generator, *shape: int, dtype: torch.dtype) -> torch.Tensor:
    """(B, C, H, W), channels last."""
    B, C, H, W = shape
    return uniform(generator, B, H, W, C, dtype=dtype).permute(0, 3, 1, 2)


def of_kernels(kernels, size, dtype, has_state, has_bias, has_peephole) -> dict:
    """What kernels write of a case."""
    B, C, H, W = size
    drawn = torch.Generator().manual_seed(0)

    def frame(channels: int = C) -> torch.Tensor:
        return frames(drawn, B, channels, H, W, dtype=dtype)

    gates, of_h, before = frame(4 * C), frame(4 * C), frame()
    bias = uniform(drawn, 4 * C, dtype=dtype) if has_bias else None
    peephole = uniform(drawn, 3, C, 1, 1, dtype=dtype) if has_peephole else None
    of_h, before = (of_h, before) if has_state else (None, None)
    c, h, d_gates = frame(), frame(), frame(4 * C)
    quiet = before.clone() if has_state else frame()  # as without gradients: c where it was
    quiet_h = frame()
    of_quiet = gates.clone(memory_format=torch.preserve_format)
    kernels.advance(
        of_quiet,
        of_h,
        bias,
        peephole,
        quiet if has_state else None,
        quiet,
        quiet_h,
        keeps_gates=False,
    )
    kernels.advance(gates, of_h, bias, peephole, before, c, h, keeps_gates=True)
    sums = torch.promote_types(dtype, torch.float32)
    d_output, d_h, d_c = frame(), frame() if has_state else None, frame().to(sums)
    kernels.go_back(d_output, d_h, d_c, gates, before, c, peephole, d_gates)
    written = {"gates": gates, "c": c, "h": h, "quiet c": quiet, "quiet h": quiet_h}
    return {**written, "d_gates": d_gates, **({"d_c": d_c} if has_state else {})}


def of_scan(kernels, has_state, has_bias, has_peephole) -> dict:
    """The results and gradients of a scan with these kernels."""
    drawn, dtype = torch.Generator().manual_seed(0), torch.float32
    x = frames(drawn, 6, 3, 7, 5, dtype=dtype).unflatten(0, (3, 2))
    h, c = (frames(drawn, 2, 6, 7, 5, dtype=dtype) if has_state else None for _ in "hc")
    gates = uniform(drawn, 24, 9, 3, 3, dtype=dtype) / 9
    bias = uniform(drawn, 24, dtype=dtype) if has_bias else None
    peephole = uniform(drawn, 3, 6, 1, 1, dtype=dtype) if has_peephole else None
    given = {"x": x, "h": h, "c": c, "gates": gates, "bias": bias, "peephole": peephole}
    for tensor in given.values():
        if tensor is not None:
            tensor.requires_grad_()
    scanner = CudaScanner(Weights(gates, bias, peephole), kernels=kernels)
    outputs, (_, last) = scanner(x, None if h is None else (h, c))
    (outputs.square().sum() + last.square().sum()).backward()
    gradients = {f"d_{name}": t.grad for name, t in given.items() if t is not None}
    return {"outputs": outputs, "c": last, **gradients}


def compared(ours: dict, theirs: dict, tolerance: float) -> dict:
    distances = {
        name: float(
            (ours[name].double() - theirs[name].double()).norm() / theirs[name].double().norm()
        )
        for name in theirs
    }
    is_near = ours.keys() == theirs.keys() and max(distances.values()) < tolerance
    return {"is_near": is_near, **distances}


def main() -> None:
    from convlstm.layer import kernels_triton

    found = {}
    for size, dtype, *has in KERNEL_CASES:
        both = (
            of_kernels(kernels, size, getattr(torch, dtype), *has)
            for kernels in (kernels_triton, kernels_eager)
        )
        found[f"{size} {dtype} {has}"] = compared(*both, TOLERANCES[dtype])
    for case in SCAN_CASES:
        both = (of_scan(kernels, *case[1]) for kernels in (kernels_triton, kernels_eager))
        found[str(case)] = compared(*both, 1e-5)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
