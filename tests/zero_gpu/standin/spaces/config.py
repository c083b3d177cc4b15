"""As in the real package: what this process's environment says."""

import os
from types import SimpleNamespace


def _is_true(value: str | None) -> bool:
    return value is not None and value.lower() in ("1", "t", "true")


Config = SimpleNamespace(
    zero_gpu=_is_true(os.getenv("SPACES_ZERO_GPU")),
    zero_device_api_url=os.getenv("SPACES_ZERO_DEVICE_API_URL"),
)

if Config.zero_gpu:
    assert Config.zero_device_api_url is not None, "SPACES_ZERO_DEVICE_API_URL env must be set"
