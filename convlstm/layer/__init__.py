"""The layer: what a ConvLSTM computes, readable; and the same, fast."""

from convlstm.layer.cell import ConvLSTMCell
from convlstm.layer.convlstm import ConvLSTM
from convlstm.layer.recurrence import State

__all__ = ["ConvLSTM", "ConvLSTMCell", "State"]
