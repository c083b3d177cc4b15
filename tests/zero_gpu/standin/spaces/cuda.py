"""CUDA that looks as if it were there, outside of decorated functions."""

import torch

_REAL = torch.cuda.is_available, torch._C.__dict__.get("_cuda_init"), torch.cuda._lazy_init


def was_touched() -> bool:
    return torch.cuda.is_initialized()


def _refuse(*arguments: object) -> None:
    raise RuntimeError("Low-level CUDA init reached, despite ZeroGPU patches.")


def patch() -> None:
    torch.cuda.is_available, torch.cuda._lazy_init = lambda: True, _refuse
    torch._C._cuda_init = _refuse


def unpatch() -> None:
    """In a forked process, which has the GPU; here that is the CPU."""
    torch.cuda.is_available, init, torch.cuda._lazy_init = _REAL
    if init:
        torch._C._cuda_init = init
