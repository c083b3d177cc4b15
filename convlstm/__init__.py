"""ConvLSTM Playground: a convolutional LSTM to see, to teach and to use."""

from convlstm.files import load_checkpoint
from convlstm.layer import ConvLSTM, ConvLSTMCell

__all__ = ["ConvLSTM", "ConvLSTMCell", "load_checkpoint"]
