"""The layer: what a ConvLSTM computes, readable; and the same, fast."""

from convlstm.layer.cell import ConvLSTMCell
from convlstm.layer.convlstm import ConvLSTM
from convlstm.layer.recurrence import State
from convlstm.layer.tracing import CellTrace, Intervention, trace

__all__ = ["CellTrace", "ConvLSTM", "ConvLSTMCell", "Intervention", "State", "trace"]
