"""A stand-in for Hugging Face's package `spaces`, version 0.51.3, without its service.

What the real one's source does, it does: a process is forked for a call; what goes in and out is
pickled; asynchronous functions are refused; a closed generator ends at its next yield; CUDA looks
as if it were there, and breaks whoever uses it outside. And what its service does: a call is
refused without a visitor's request or quota, and killed when its time is over.

The service is a folder, whose address stands in SPACES_ZERO_DEVICE_API_URL: `quota` holds seconds,
`calls` gets a line of JSON for each call.
"""

import sys

# Gradio would import this package by itself, too early.
if (gradio := sys.modules.get("gradio")) is not None and not hasattr(gradio, "Blocks"):
    raise ImportError

from .config import Config
from .decorator import GPU


def gradio_auto_wrap(task: object) -> object:
    return task


if Config.zero_gpu:
    from . import cuda

    if cuda.was_touched():
        raise RuntimeError("CUDA has been initialized before importing the `spaces` package.")
    cuda.patch()

__all__ = ["GPU", "gradio_auto_wrap"]
