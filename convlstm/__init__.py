"""ConvLSTM Playground: a convolutional LSTM to see, to teach and to use."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convlstm.files import load_checkpoint
    from convlstm.layer import (
        ConvGRU,
        ConvGRU1d,
        ConvGRU1dCell,
        ConvGRU3d,
        ConvGRU3dCell,
        ConvGRUCell,
        ConvLSTM,
        ConvLSTM1d,
        ConvLSTM1dCell,
        ConvLSTM3d,
        ConvLSTM3dCell,
        ConvLSTMCell,
        Intervention,
        trace,
    )

__all__ = [
    "ConvGRU",
    "ConvGRU1d",
    "ConvGRU1dCell",
    "ConvGRU3d",
    "ConvGRU3dCell",
    "ConvGRUCell",
    "ConvLSTM",
    "ConvLSTM1d",
    "ConvLSTM1dCell",
    "ConvLSTM3d",
    "ConvLSTM3dCell",
    "ConvLSTMCell",
    "Intervention",
    "load_checkpoint",
    "trace",
]

_HOMES = dict.fromkeys(__all__, "layer") | {"load_checkpoint": "files"}


def __getattr__(name: str) -> object:
    """Import what is asked for, and torch with it: the page's process does without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
