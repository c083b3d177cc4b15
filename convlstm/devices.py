"""Which device a run computes on."""

import torch


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
    return device
