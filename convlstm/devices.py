"""Which device a run computes on, in which precision, and what a process of training asks of it."""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

# glibc's numbers for mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 2**30
_LOOK_SECONDS = 1.0  # between two looks at what others use
_BAND = 0.6  # cores by which what is free must differ from what is used, before that changes


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


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was asked for; a CPU is never asked ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


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


class Threads:
    """Keeps torch to the cores that nobody else is using.

    OpenMP's threads wait for each other: where one shares its core with another program, a step of
    two threads takes twice to a hundred times as long as one of a single thread. Sums over other
    numbers of threads differ in their last bits, so on a quiet machine nothing is changed.

    Args:
        read: returns the seconds that all programs together have computed on this process's cores
            since some moment, or None where the system does not say; and those of this process.
    """

    def __init__(self, read: Callable[[], tuple[float, float] | None] | None = None) -> None:
        self._read = read or _used_seconds
        self._most = torch.get_num_threads()
        self._cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        self._before, self._looked_at = self._read(), time.monotonic()

    def adapt(self, now: float | None = None) -> int:
        """Look round, if it is time to; return how many threads this thread's work has from now on.

        Args:
            now: of the monotonic clock, s; None reads it.
        """
        now, used = time.monotonic() if now is None else now, torch.get_num_threads()
        passed = now - self._looked_at
        if self._most == 1 or self._before is None or passed < _LOOK_SECONDS:
            return used
        seen = self._read()
        (all_before, own_before), (all_now, own_now) = self._before, seen
        others = ((all_now - all_before) - (own_now - own_before)) / passed
        self._before, self._looked_at = seen, now
        free = self._cores - others
        if abs(free - used) > _BAND:
            torch.set_num_threads(max(1, min(self._most, round(free))))
        return torch.get_num_threads()


def _used_seconds() -> tuple[float, float] | None:
    try:
        lines = Path("/proc/stat").read_text().splitlines()
        mine, ticks = os.sched_getaffinity(0), os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):  # not on Linux
        return None
    cores = (line.split() for line in lines if line.startswith("cpu") and line[3].isdigit())
    # user, nice, system, idle, waiting for a disk, interrupts of two kinds, stolen
    values = [list(map(int, rest)) for name, *rest in cores if int(name[3:]) in mine]
    counted = (0, 2, 5, 6, 7)  # a nice program gives way, and OpenMP's threads need not wait for it
    if os.nice(0) > 0:  # unless this one is nice itself
        counted = (0, 1, 2, 5, 6, 7)
    used = sum(each[column] for each in values for column in counted)
    return used / ticks, time.process_time()
