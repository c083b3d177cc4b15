"""The layers: what a ConvLSTM and a ConvGRU compute, readable; and the first, fast."""

from convlstm.layer.cell import ConvLSTM1dCell, ConvLSTM3dCell, ConvLSTMCell
from convlstm.layer.convgru import ConvGRU, ConvGRU1d, ConvGRU3d
from convlstm.layer.convlstm import ConvLSTM, ConvLSTM1d, ConvLSTM3d
from convlstm.layer.gru_cell import ConvGRU1dCell, ConvGRU3dCell, ConvGRUCell
from convlstm.layer.recurrence import State
from convlstm.layer.tracing import CellTrace, Intervention, trace

__all__ = [
    "CellTrace",
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
    "State",
    "trace",
]
