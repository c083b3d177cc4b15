"""The scan for a GPU, on a CPU, besides what every fast scan owes: by eager kernels here, and by
Triton's in Triton's interpreter.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from convlstm.layer import kernels_eager, scan_cuda, shared_cuda
from convlstm.layer.recurrence import Geometry, Weights, in_one_type, reference_scan
from convlstm.layer.scan_cuda import CudaScanner, has_triton, kernels_for
from tests.devices import DEVICES
from tests.layer import interpreted
from tests.layer.scans import CASES, NAMES, draw, read, rolled_out

ROOT = Path(__file__).parents[2]


def scan(x, state, weights):
    return CudaScanner(weights)(x, state)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_float64_too_to_the_last_digits(case):
    found = []
    for function in (reference_scan, scan):
        tensors = tuple(t if t is None else t.double().requires_grad_() for t in draw(case))
        results = read(function, tensors)
        generator = torch.Generator().manual_seed(1)
        factors = [torch.rand(r.shape, generator=generator) for r in results]
        sum((r * factor).sum() for r, factor in zip(results, factors, strict=True)).backward()
        found.append([*results, *(None if t is None else t.grad for t in tensors)])
    for name, theirs, ours in zip(NAMES, *found, strict=True):
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12, msg=name)


def on_device(function, case: tuple, device: str, dtype: torch.dtype) -> list:
    """What a scan finds on a device: by autocast, unless in float64."""
    exact = torch.promote_types(dtype, torch.float32)
    tensors = tuple(None if t is None else t.to(device, exact).requires_grad_() for t in draw(case))
    x, h, c, *weights = tensors
    is_cast = dtype.itemsize == 2
    with torch.autocast(device, dtype if is_cast else torch.bfloat16, enabled=is_cast):
        outputs, (_, last) = function(x, None if h is None else (h, c), Weights(*weights))
    generator = torch.Generator().manual_seed(1)
    factors = [torch.rand(r.shape, generator=generator).to(device) for r in (outputs, last)]
    ((outputs.to(exact) * factors[0]).sum() + (last.to(exact) * factors[1]).sum()).backward()
    found = [outputs.detach(), last.detach(), *(t.grad for t in tensors if t is not None)]
    return [t.cpu().double() for t in found]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_on_a_device_it_is_as_near_the_truth_as_the_reference(case, device, dtype):
    truth = on_device(reference_scan, case, "cpu", torch.float64)
    sums = {torch.float32: 2e-5, torch.bfloat16: 5e-3, torch.float16: 1e-3}[dtype]
    for exact, theirs, ours in zip(
        truth,
        on_device(lambda x, *rest: reference_scan(*in_one_type(x, *rest)), case, device, dtype),
        on_device(scan, case, device, dtype),
        strict=True,
    ):
        size = exact.norm().clamp(min=1e-12)
        assert (ours - exact).norm() / size <= 2 * (theirs - exact).norm() / size + sums


def test_a_rollout_finds_the_weights_gradients_together(monkeypatch):
    asked = []
    find = shared_cuda.gradients
    monkeypatch.setattr(
        shared_cuda,
        "gradients",
        lambda d, *others, **options: asked.append(len(d)) or find(d, *others, **options),
    )
    T, B = 9, 8
    rolled_out(CudaScanner, CASES[3])
    # Of x and of h: the five frames that are fed, and the context, whose first has no h before it.
    assert sorted(asked) == sorted([5 * B, 5 * B, T * B, (T - 1) * B])


@pytest.mark.parametrize("of", range(6))
def test_gradients_of_gradients_are_refused(of):
    tensors = tuple(t.requires_grad_() for t in draw(CASES[0]))
    loss = read(scan, tensors)[0].square().sum()
    (found,) = torch.autograd.grad(loss, tensors[of], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        found.sum().backward()


@pytest.mark.parametrize(
    ("options", "running"),
    [
        ({"geometry": Geometry((1, 1), (1, 1), "circular")}, None),
        ({"recompute": True}, None),
        ({}, torch.tensor([[True] * 3, [True] * 3, [True, False, True], [True, False, False]])),
    ],
    ids=["geometry", "recompute", "lengths"],
)
def test_what_it_has_no_way_for_the_reference_reads(options, running):
    x, h, c, *weights = draw(CASES[0])
    expected, (_, last) = reference_scan(
        x, (h, c), Weights(*weights), options.get("geometry", Geometry()), running
    )
    outputs, (_, found) = CudaScanner(Weights(*weights), **options)(x, (h, c), running)
    assert torch.equal(outputs, expected)
    assert torch.equal(found, last)


def test_frames_too_large_to_count_in_32_bits_take_the_reference(monkeypatch):
    monkeypatch.setattr(scan_cuda, "_MOST_ELEMENTS", 4 * 5 * 3 * 9 * 10)
    monkeypatch.setattr(scan_cuda._Scan, "apply", lambda *_: pytest.fail("took the fast way"))
    read(scan, draw(CASES[0]))


def test_without_triton_or_a_gpu_kernels_are_eager(monkeypatch):
    assert kernels_for("cpu") is kernels_eager
    monkeypatch.setattr(scan_cuda, "has_triton", lambda: False)
    assert kernels_for.__wrapped__("cuda") is kernels_eager


needs_triton = pytest.mark.skipif(not has_triton(), reason="needs Triton, though no GPU")


@needs_triton
def test_triton_s_kernels_give_the_eager_ones_numbers():
    """In a process of its own: the interpreter is chosen as Triton is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.layer.interpreted"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(interpreted.KERNEL_CASES) + len(interpreted.SCAN_CASES)
    assert not {case: distances for case, distances in found.items() if not distances["is_near"]}


@needs_triton
@pytest.mark.parametrize("pointers", ["*fp32", "*bf16"])
@pytest.mark.parametrize("channels", [16, 24])
def test_triton_s_kernels_compile_to_wide_loads_and_stores(
    pointers, channels, tmp_path, monkeypatch
):
    """Sixteen bytes at once: one by one, a kernel takes several times as long."""
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from convlstm.layer import kernels_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    sizes = {"KEEPS": True, "SUMS": tl.float32, "C": channels, "BLOCK": kernels_triton._BLOCK}
    for kernel in (kernels_triton._advance, kernels_triton._go_back):
        signature = dict.fromkeys(kernel.arg_names, pointers)
        signature |= {"size": "i32", **dict.fromkeys(sizes.keys() & signature.keys(), "constexpr")}
        places = {name: (place,) for place, name in enumerate(signature)}
        fixed = {places[name]: value for name, value in sizes.items() if name in signature}
        aligned = {
            place: [["tt.divisibility", 16]] for place in places.values() if place not in fixed
        }
        source = ASTSource(kernel, signature, fixed, aligned)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
        lines = compiled.asm["ptx"].splitlines()
        moved = [line.split()[1] for line in lines if ".global.b" in line or ".global.v" in line]
        assert set(moved) == {"ld.global.v4.b32", "st.global.v4.b32"}
