"""Which device a run computes on, in which precision, and what a process of training asks of it."""

import ctypes
import sys

import torch

# glibc's numbers for mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 2**30


def pick_device(name: str) -> torch.device:
    """Return the device of that name; "auto" takes a GPU if there is one.

    Raises:
        ValueError: this machine or this build of PyTorch has no such device.
    """
    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if name == "auto":
        found = (kind for kind, is_there in available.items() if is_there())
        return torch.device(next(found, "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device is {name!r}: must be auto, cpu, cuda or mps.") from None
    if device.type != "cpu" and not available.get(device.type, bool)():
        raise ValueError(f"device is {name!r}: this machine has none; use --device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ValueError(f"device is {name!r}: must have a number under {count}, the GPUs here.")
    return device


def keep_freed_memory() -> bool:
    """Have this process keep up to 1 GiB of freed memory instead of returning it at once.

    A training step frees what the next one allocates. By default glibc gives such pieces back to
    the system, which hands them out again page by page, zeroed: a third of a step's time. For a
    process whose work is training; it concerns all of its memory, so importing does not do it.

    Returns:
        Whether it could be asked for: with glibc, on Linux.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {
        _M_MMAP_THRESHOLD: _KEPT_BYTES,
        _M_TRIM_THRESHOLD: _KEPT_BYTES,
        _M_ARENA_MAX: 1,  # a thread's own pool would be given back whenever it is empty
    }
    return all([mallopt(name, value) == 1 for name, value in settings.items()])


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return what "auto" means on a device: "float32" or "bfloat16"; others unchanged."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return "bfloat16" if fast else "float32"
